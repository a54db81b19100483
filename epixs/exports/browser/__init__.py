"""Serve a page that shows observed and imputed tracks on a genome, computed while one scrolls."""
