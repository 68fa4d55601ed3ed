"""A page to look through clips and their rows."""
