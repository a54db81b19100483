"""A page that shows observed and imputed tracks on a genome, computed as one scrolls."""
