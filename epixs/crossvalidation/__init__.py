"""Cross-validation: fit each model on each training set without each fold, with each seed; impute and score."""
