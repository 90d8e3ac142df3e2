"""The study's tests; those of the bench are in ``tests/labkit``."""
