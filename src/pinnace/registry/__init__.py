"""An OCI distribution registry (not built yet)."""
