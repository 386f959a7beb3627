"""Commands: parsing and printing only; what they do lives in `assemble`."""
