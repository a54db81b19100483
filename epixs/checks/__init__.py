"""Whether a store is as it was written, and what is odd about what it holds."""
