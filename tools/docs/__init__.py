"""Generators of the docs pages that are made from the code. `make docs` runs them."""
