"""Runs as Jobs of Kubernetes."""
