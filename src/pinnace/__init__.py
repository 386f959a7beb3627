"""Pinnace: a Kubernetes-compatible cluster and the container platform under it."""

__version__ = "0.1.0"
"""The same as in pyproject.toml; reading it costs no look at installed packages."""
