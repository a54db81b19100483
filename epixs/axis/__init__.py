"""The joint axis of several compendia: labels, positions, and what is set aside."""
