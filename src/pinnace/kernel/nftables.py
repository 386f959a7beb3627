"""libnftables in process: rules are changed without starting a program.

One command text is one transaction: all of it or nothing. The only user of libnftables; a handle is not thread-safe, so
each `Nftables` belongs to one thread at a time.
"""

import ctypes
import ctypes.util

_LIBRARY = "libnftables.so.1"


class NftablesError(Exception):
    """The kernel or the parser refused; carries libnftables' own words and the command (shortened)."""

    def __init__(self, answer: str, command: str) -> None:
        shown = command if len(command) < 400 else command[:400] + " …"
        super().__init__(f"nftables: {answer.strip()} (command: {shown})")
        self.answer = answer


class Nftables:
    def __init__(self) -> None:
        """Raises OSError where the library is not installed."""
        library = ctypes.CDLL(_LIBRARY)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_free.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
        library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
        library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        library.nft_ctx_get_output_buffer.argtypes = [ctypes.c_void_p]
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._context = library.nft_ctx_new(0)
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, command: str) -> str:
        """Run one transaction (nft(8) syntax); returns what it prints. Raises NftablesError, and then nothing has changed."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, command.encode())
        printed = self._library.nft_ctx_get_output_buffer(self._context) or b""
        error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise NftablesError(error.decode(errors="replace") or "refused without a reason", command)
        return str(printed.decode())

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
