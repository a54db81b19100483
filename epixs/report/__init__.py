"""Make tables, figures and pages for people to read."""
