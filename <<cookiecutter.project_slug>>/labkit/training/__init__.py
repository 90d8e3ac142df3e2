"""From a batch to a checkpoint."""
