"""Elements by netlink, in a network namespace of the test's own, read back by libnftables."""

import pathlib
import struct
from collections.abc import Iterator

import pytest

from pinnace.kernel import elements, namespaces, nftables

pytestmark = pytest.mark.privileged

TABLE = """
add table ip t
add chain ip t c
add map ip t numbers { type ipv4_addr . inet_service : mark; }
add map ip t verdicts { type ipv4_addr : verdict; }
add set ip t plain { type ipv4_addr; }
add set ip t blocks { type ipv4_addr; flags interval; }
add set ip t pairs { type ipv4_addr . ipv4_addr; flags interval; }
"""


class Opened:
    def __init__(self) -> None:
        self.nft = nftables.Nftables()
        self.writer = elements.Writer()
        self.nft.run(TABLE)

    def listing(self, kind: str, name: str) -> str:
        return self.nft.run(f"list {kind} ip t {name}")


@pytest.fixture
def opened(tmp_path: pathlib.Path) -> Iterator[Opened]:
    pin = tmp_path / "net"
    namespaces.pin_new({"net": pin})
    found = namespaces.run_in_network(pin, Opened)
    yield found
    found.nft.close()
    found.writer.close()
    namespaces.unpin(pin)


def numbers(count: int) -> list[elements.Element]:
    return [
        (struct.pack("!IH2x", 0x0A000000 + index, 80), elements.data(struct.pack("=I", index)))
        for index in range(count)
    ]


def test_every_element_of_many_messages_arrives(opened: Opened) -> None:
    opened.writer.write("t", [elements.Change("numbers", True, numbers(20_000))])
    assert opened.listing("map", "numbers").count(" : ") == 20_000 + 1
    assert "10.0.0.77 . 80 : 0x0000004d" in opened.listing("map", "numbers")


def test_verdicts_sets_and_flushes(opened: Opened) -> None:
    verdicts = [(b"\x0a\0\0\1", elements.goto("c")), (b"\x0a\0\0\2", elements.DROP)]
    plain = [(b"\x0a\0\0\3", b"")]
    opened.writer.write("t", [elements.Change("verdicts", True, verdicts), elements.Change("plain", True, plain)])
    assert "10.0.0.1 : goto c" in opened.listing("map", "verdicts")
    assert "10.0.0.2 : drop" in opened.listing("map", "verdicts")
    assert "elements = { 10.0.0.3 }" in opened.listing("set", "plain")
    again = [elements.Change("verdicts", False, is_flush=True), elements.Change("verdicts", True, verdicts[:1])]
    opened.writer.write("t", again)
    assert "10.0.0.2" not in opened.listing("map", "verdicts")


def test_a_refused_transaction_changes_nothing_says_where_and_the_next_one_works(opened: Opened) -> None:
    first, second, missing = numbers(3)
    opened.writer.write("t", [elements.Change("numbers", True, [first])])
    changes = [elements.Change("numbers", True, [second]), elements.Change("numbers", False, [(missing[0], b"")])]
    with pytest.raises(nftables.NftablesError, match="delete from t numbers"):
        opened.writer.write("t", changes)
    assert "10.0.0.1" not in opened.listing("map", "numbers")
    with pytest.raises(nftables.NftablesError, match="File exists"):
        opened.writer.write("t", [elements.Change("numbers", True, [(first[0], second[1])])])
    opened.writer.write("t", [elements.Change("numbers", True, [second])])
    assert "10.0.0.1 . 80 : 0x00000001" in opened.listing("map", "numbers")


def test_intervals_of_one_field_and_of_several(opened: Opened) -> None:
    blocks = [*elements.bounds(0x0A000000, 0x0A00FFFF, 4), *elements.bounds(0xE0000000, 0xFFFFFFFF, 4)]
    pod, first, last = b"\x0a\x2a\0\5", b"\xc0\0\2\0", b"\xc0\0\2\x7f"
    pair = (elements.Range(pod + first, pod + last), b"")
    opened.writer.write("t", [elements.Change("blocks", True, blocks), elements.Change("pairs", True, [pair])])
    assert "elements = { 10.0.0.0/16, 224.0.0.0/3 }" in opened.listing("set", "blocks")
    assert "elements = { 10.42.0.5 . 192.0.2.0/25 }" in opened.listing("set", "pairs")
    gone = [elements.Change("blocks", False, blocks[:2]), elements.Change("pairs", False, [pair])]
    opened.writer.write("t", gone)
    assert "elements = { 224.0.0.0/3 }" in opened.listing("set", "blocks")
    assert "elements" not in opened.listing("set", "pairs")


def test_a_table_that_is_gone_is_an_error(opened: Opened) -> None:
    with pytest.raises(nftables.NftablesError):
        opened.writer.write("u", [elements.Change("numbers", True, numbers(3))])
