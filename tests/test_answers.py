"""Answers come out as they were typed, or are refused."""
