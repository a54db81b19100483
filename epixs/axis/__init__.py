"""The joint axis of several compendia: labels, positions, and the experiments that are set aside."""
