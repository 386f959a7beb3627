"""The Docker Engine API over the engine (not built yet)."""
