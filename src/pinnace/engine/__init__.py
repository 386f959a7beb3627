"""Containers and sandboxes: lifecycle, one file per verb, OCI runtime driver, logs, stats. Knows no cluster."""
