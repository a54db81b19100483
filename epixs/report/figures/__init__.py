"""Draw figures for pages and papers with matplotlib (the `viz` extra), one kind of figure per module."""
