"""Write an imputed compendium with a trained model."""
