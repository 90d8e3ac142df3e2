"""The bench: what every experiment needs and no experiment should have to write."""
