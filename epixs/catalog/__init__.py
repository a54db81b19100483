"""Which experiments there are: catalogs, portal tables, pairs."""
