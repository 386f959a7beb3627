"""What a write must pass between decoding and the store: one plug-in per file, mutating ones first."""
