"""How fast things are: ``python -m experiments bench``."""
