"""Runs and sessions as jobs of Slurm."""
