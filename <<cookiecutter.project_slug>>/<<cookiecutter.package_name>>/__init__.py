"""The study: the data, the models and the experiments."""
