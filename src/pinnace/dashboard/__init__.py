"""The web interface (not built yet)."""
