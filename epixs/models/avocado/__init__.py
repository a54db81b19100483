"""Deep tensor factorization (Schreiber et al. 2020), joint over species."""
