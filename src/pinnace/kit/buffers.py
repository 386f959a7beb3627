"""Bytes that are kept for long, in as much memory as they need."""


def trimmed(data: bytes) -> bytes:
    """`data` in a buffer of its own size. What orjson writes lies in a buffer of at least 4 KiB for as long as it lives: for what is sent
    that costs nothing, for thousands of short texts that are kept it is most of their memory."""
    return bytes(memoryview(data))
