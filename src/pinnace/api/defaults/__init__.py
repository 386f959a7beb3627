"""Defaults that several kinds share, and those of the core group; every other kind's are in its `rules`."""
