"""One run, anywhere: sealed here, executed wherever its envelope is opened."""
