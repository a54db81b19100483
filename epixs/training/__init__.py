"""The training run: joint fit, its logs and checkpoints; extension; genome factors block by block."""
