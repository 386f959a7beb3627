"""Pinnace: a Kubernetes-compatible cluster and the container platform under it."""
