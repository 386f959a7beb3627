"""One verb per file: what happens between an authorised request and its answer."""
