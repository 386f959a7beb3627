"""What the kernel says of nftables by netlink (linux/netfilter/nf_tables.h): that somebody changed something, and what stands of a table.

Cheap whatever the number of elements: of a transaction only its end is heard (a filter in the kernel drops the rest), and what is asked
for is the table and its chains.
"""

import ctypes
import dataclasses
import errno
import socket
import struct

from pinnace.kernel import netlink

_GET_TABLE, _GET_CHAIN = 0x0A01, 0x0A04
_NEW_GENERATION = 0x0A0F
_TABLE_NAME, _TABLE_HANDLE = 1, 4
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_RULES = 1, 3, 6
_CHANGES_GROUP = 7
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    handle: int
    """Another one when the table was deleted and made anew."""
    uses: dict[str, int]
    """Chain -> how many rules it has and how many jumps lead to it."""


class Tables:
    """For one thread at a time; of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = netlink.Socket()

    def close(self) -> None:
        self._socket.close()

    def state(self, family: int, table: str) -> State | None:
        """None: there is no such table. Raises OSError."""
        name = netlink.attribute(_TABLE_NAME, table.encode() + b"\0")
        request = netlink.message(_GET_TABLE, netlink.REQUEST, 0, name, family=family)
        try:
            found = dict(netlink.attributes(self._socket.ask(request)[netlink.FAMILY_BYTES :]))
        except FileNotFoundError:
            return None
        (handle,) = struct.unpack("!Q", found[_TABLE_HANDLE])
        of_table = netlink.attribute(_CHAIN_TABLE, table.encode() + b"\0")
        request = netlink.message(_GET_CHAIN, netlink.REQUEST | netlink.DUMP, 0, of_table, family=family)
        uses = {}
        for body in self._socket.dump(request):
            chain = dict(netlink.attributes(body))
            if _text(chain[_CHAIN_TABLE]) == table:
                uses[_text(chain[_CHAIN_NAME])] = struct.unpack("!I", chain[_CHAIN_RULES])[0]
        return State(handle, uses)


def _text(data: memoryview) -> str:
    return bytes(data).rstrip(b"\0").decode()


class Transactions:
    """Readable whenever a transaction of anybody has ended in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 12
        )
        # The filter first: between the two the other messages of a large transaction would fill the buffer.
        steps = _only(_NEW_GENERATION)
        place = ctypes.create_string_buffer(steps, len(steps))
        program = struct.pack("@HP", len(steps) // _INSTRUCTION.size, ctypes.addressof(place))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _CHANGES_GROUP)

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """What they were does not matter; nor that some were lost."""
        while True:
            try:
                self._socket.recv(1 << 12)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        self._socket.close()


def _only(kind: int) -> bytes:
    """A filter (linux/filter.h) that lets pass what begins with a message of this type. The end of a transaction is a datagram of its own."""
    load_half, jump_if_equal, answer = 0x28, 0x15, 0x06
    seen = int.from_bytes(struct.pack("=H", kind), "big")
    steps = ((load_half, 0, 0, 4), (jump_if_equal, 0, 1, seen), (answer, 0, 0, 0xFFFFFFFF), (answer, 0, 0, 0))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)
