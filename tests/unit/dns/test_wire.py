"""What other servers say is read without trust: a name is expanded or refused, and nothing runs for ever."""

import struct

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.dns import wire


def test_records_come_out_without_pointers() -> None:
    answer = dnslib.DNSRecord.question("a.example.org").reply()
    answer.add_answer(*dnslib.RR.fromZone("a.example.org 60 IN CNAME b.example.org\nb.example.org 60 IN A 10.0.2.1"))
    answer.add_answer(*dnslib.RR.fromZone('example.org 60 IN MX 10 mail.example.org\nexample.org 60 IN TXT "x"'))
    answer.add_answer(*dnslib.RR.fromZone("example.org 60 IN SOA ns.example.org me.example.org 1 2 3 4 5"))
    found = wire.answers_of(bytes(answer.pack()))
    assert len(found) == 5
    whole = dnslib.DNSRecord.parse(wire._HEADER.pack(1, 0x81, 0x80, 0, len(found), 0, 0) + b"".join(found))
    assert [str(entry) for entry in whole.rr] == [str(entry) for entry in answer.rr]
    assert all(b"\xc0" not in record for record in found)


HEAD = struct.pack("!HBBHHHH", 1, 0x81, 0x80, 0, 1, 0, 0)


@pytest.mark.parametrize(
    "record",
    [
        b"\xc0\x0c",  # a pointer to itself
        b"\xc0\x0e\xc0\x0c",  # two that lead to each other
        b"\x01a\xc0\x0c",  # a name that continues with itself
        b"\xc0",
        b"\x40abc\0",
        b"\0" + struct.pack("!HHIH", 1, 1, 0, 4) + b"abc",  # shorter than it says
        b"\0" + struct.pack("!HHIH", wire.CNAME, 1, 0, 1) + b"\x03abc\0",  # a name beyond its record
        b"\0" + struct.pack("!HH", 1, 1),
    ],
)
def test_what_cannot_be_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError):
        wire.answers_of(HEAD + record)


@given(st.binary(max_size=300))
def test_nothing_but_a_value_error(data: bytes) -> None:
    try:
        wire.answers_of(HEAD + data)
    except ValueError:
        return
