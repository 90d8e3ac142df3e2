"""What to normalise by: mean, deviation, least and greatest value of each channel, and the number of each class."""

from labkit.data.statistics.statistics import Statistics, data_analyze, measure_statistics, read_statistics

__all__ = ["Statistics", "data_analyze", "measure_statistics", "read_statistics"]
