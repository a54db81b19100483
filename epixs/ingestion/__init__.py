"""Make a compendium from a catalog and its tracks."""
