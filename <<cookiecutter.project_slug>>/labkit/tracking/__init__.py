"""What is remembered of a run."""
