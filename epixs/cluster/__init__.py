"""Where tasks run: a Dask client, and bounded runs of tasks on it."""
