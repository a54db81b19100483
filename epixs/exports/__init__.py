"""From compendia to what other programs open: bigWigs and track hubs."""
