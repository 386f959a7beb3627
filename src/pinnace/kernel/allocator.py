"""Memory that the C library keeps although nobody uses it any more."""

from pinnace.kernel import libc


def give_back() -> None:
    """Return free memory to the system, from the middle of the heap too (malloc_trim(3)); nothing where the library has no such call.

    Threads that allocate meanwhile wait for it, some milliseconds for each 100 MB: for moments at which there is little to do.
    """
    try:
        libc.call("malloc_trim", 0)
    except AttributeError:
        return  # musl gives back by itself.
