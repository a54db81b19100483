"""Export compendia to files of other programs, such as bigWigs and track hubs."""
