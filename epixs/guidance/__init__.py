"""What to expect of a panel of tracks before it is measured, and what to measure next."""
