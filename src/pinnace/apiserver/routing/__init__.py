"""Which path means what, and who answers it."""
