"""PURE. Kinds, decoding, defaulting, validation, selectors, quantities, patches, Status errors. No I/O, no clock."""
