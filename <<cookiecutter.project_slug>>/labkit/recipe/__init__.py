"""From simple to complex: steps, each an experiment followed by its checks."""
