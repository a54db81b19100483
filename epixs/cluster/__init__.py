"""Run tasks in this process, on threads or on a Dask client, a bounded number at a time."""
