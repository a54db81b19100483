"""Networks that read the tracks observed around a bin."""
