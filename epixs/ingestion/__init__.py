"""From a catalog and its tracks to a compendium."""
