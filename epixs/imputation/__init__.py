"""From a trained model to an imputed compendium."""
