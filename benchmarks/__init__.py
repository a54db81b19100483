"""Measurements that are run by hand, never by the tests. Each prints or writes numbers shown in `docs/`."""
