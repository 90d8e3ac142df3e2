"""Runs on a machine without a scheduler, in containers of Apptainer."""
