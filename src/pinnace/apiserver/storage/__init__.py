"""Objects over the store: where they lie, their bytes, versions and filters."""
