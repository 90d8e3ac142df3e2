"""From a bucket to a batch."""
