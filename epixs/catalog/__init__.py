"""Lists of experiments: catalogs, portal tables, pairs."""
