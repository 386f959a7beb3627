"""Versioned keys and bytes. Knows revisions, no kinds."""
