"""A planted world, and the whole path on it."""
