"""Cross-validation: fit each model with each seed on each training set without each fold, and score it."""
