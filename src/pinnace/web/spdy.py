"""SPDY/3.1 frames: bytes in, frames out, and back. No I/O; `spdy_session` puts it on a connection.

Spoken by kubectl and other Go clients for exec, attach and port-forward (`Upgrade: SPDY/3.1`, or inside a WebSocket). Their
implementation (moby/spdystream) never updates flow-control windows, so windows are decoded and disregarded.
Specification: SPDY Protocol, Draft 3.1, 2.2 (framing) and 2.6 (control frames).
"""

import dataclasses
import struct
import zlib
from collections.abc import Iterator, Mapping

VERSION = 3
MAX_CONTROL_BYTES = 64 * 1024
MAX_HEADER_BYTES = 256 * 1024
"""Of one header block, decompressed."""
MAX_DATA_BYTES = 64 * 1024
"""Of one data frame that we send; received ones are handed on as they arrive."""

_DICTIONARY_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow authorization"
    " cache-control connection content-base content-encoding content-language content-length content-location content-md5"
    " content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range"
    " if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after"
    " server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status"
)
_DICTIONARY_NAMES = [
    *_DICTIONARY_WORDS.split(),
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
]
_DICTIONARY_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information"
    "204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error"
    "501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, "
    "Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack(">I", len(name)) + name.encode() for name in _DICTIONARY_NAMES) + _DICTIONARY_REST.encode()
)
"""What both sides' header compressors start from (2.6.10.1)."""

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FLAG_FIN = 0x01
_FLAG_UNIDIRECTIONAL = 0x02

RST_PROTOCOL_ERROR, RST_INVALID_STREAM, RST_REFUSED_STREAM, RST_CANCEL = 1, 2, 3, 5

Headers = Mapping[str, str]


class ProtocolError(Exception):
    """The peer's bytes are not SPDY/3.1, or beyond our limits. The connection is of no more use."""


@dataclasses.dataclass(frozen=True, slots=True)
class SynStream:
    stream: int
    headers: Headers
    is_fin: bool = False
    is_unidirectional: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class SynReply:
    stream: int
    headers: Headers
    is_fin: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class StreamHeaders:
    stream: int
    headers: Headers
    is_fin: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """A part of a data frame; `is_fin` with the last part of the stream's last frame."""

    stream: int
    data: bytes
    is_fin: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    values: Mapping[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclasses.dataclass(frozen=True, slots=True)
class GoAway:
    last_stream: int
    status: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class WindowUpdate:
    stream: int
    delta: int


Frame = SynStream | SynReply | StreamHeaders | Data | Reset | Settings | Ping | GoAway | WindowUpdate


class Decoder:
    """One direction's bytes to frames. What is held is bounded by MAX_CONTROL_BYTES and by the largest `feed`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data_left = 0
        self._data_stream = 0
        self._data_fin = False
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises ProtocolError; nothing may be fed afterwards."""
        self._buffer += data
        while True:
            if self._data_left:
                if not self._buffer:
                    return
                yield self._take_data()
                continue
            if len(self._buffer) < 8:
                return
            first, second = struct.unpack_from(">II", self._buffer)
            flags, length = second >> 24, second & 0xFFFFFF
            if not first & 0x80000000:
                frame = self._start_data(first, flags, length)
            else:
                if length > MAX_CONTROL_BYTES:
                    raise ProtocolError(f"a control frame of {length} bytes: at most {MAX_CONTROL_BYTES} are taken")
                if len(self._buffer) < 8 + length:
                    return
                payload = bytes(self._buffer[8 : 8 + length])
                del self._buffer[: 8 + length]
                frame = self._control(first, flags, payload)
            if frame is not None:
                yield frame

    def _start_data(self, stream: int, flags: int, length: int) -> Frame | None:
        if stream == 0:
            raise ProtocolError("a data frame on stream 0")
        del self._buffer[:8]
        self._data_stream, self._data_left, self._data_fin = stream, length, bool(flags & _FLAG_FIN)
        return None if length else Data(stream, b"", self._data_fin)

    def _take_data(self) -> Frame:
        piece = bytes(self._buffer[: self._data_left])
        del self._buffer[: len(piece)]
        self._data_left -= len(piece)
        return Data(self._data_stream, piece, self._data_fin and not self._data_left)

    def _control(self, first: int, flags: int, payload: bytes) -> Frame | None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise ProtocolError(f"SPDY version {version}: only {VERSION} is spoken")
        try:
            return self._parse(kind, flags, payload)
        except struct.error:
            raise ProtocolError(f"a control frame of type {kind} with {len(payload)} bytes is too short") from None

    def _parse(self, kind: int, flags: int, payload: bytes) -> Frame | None:
        is_fin = bool(flags & _FLAG_FIN)
        match kind:
            case 1:  # SYN_STREAM
                stream, _associated, _priority, _slot = struct.unpack_from(">IIBB", payload)
                headers = self._headers(payload[10:])
                return SynStream(_nonzero(stream), headers, is_fin, bool(flags & _FLAG_UNIDIRECTIONAL))
            case 2:
                (stream,) = struct.unpack_from(">I", payload)
                return SynReply(_nonzero(stream), self._headers(payload[4:]), is_fin)
            case 3:
                stream, status = struct.unpack_from(">II", payload)
                return Reset(_nonzero(stream), status)
            case 4:
                (count,) = struct.unpack_from(">I", payload)
                if len(payload) != 4 + 8 * count:
                    raise ProtocolError("a SETTINGS frame whose length does not fit its entries")
                pairs = [struct.unpack_from(">II", payload, 4 + 8 * index) for index in range(count)]
                return Settings({key & 0xFFFFFF: value for key, value in pairs})
            case 6:
                return Ping(struct.unpack_from(">I", payload)[0])
            case 7:
                stream, status = struct.unpack_from(">II", payload)
                return GoAway(stream & 0x7FFFFFFF, status)
            case 8:
                (stream,) = struct.unpack_from(">I", payload)
                return StreamHeaders(_nonzero(stream), self._headers(payload[4:]), is_fin)
            case 9:
                stream, delta = struct.unpack_from(">II", payload)
                return WindowUpdate(stream & 0x7FFFFFFF, delta & 0x7FFFFFFF)
            case _:
                return None  # unknown control frames are skipped (2.2.1)

    def _headers(self, block: bytes) -> dict[str, str]:
        """Name/value header block (2.6.10): names in lower case, several values joined by NUL (here by `, `)."""
        try:
            data = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise ProtocolError(f"a header block that cannot be decompressed: {error}") from None
        if self._inflate.unconsumed_tail or self._inflate.eof:
            raise ProtocolError(f"a header block of more than {MAX_HEADER_BYTES} bytes, or one that ends its stream")
        headers: dict[str, str] = {}
        (count,) = struct.unpack_from(">I", data)
        offset = 4
        for _ in range(count):
            name, offset = _take_string(data, offset)
            value, offset = _take_string(data, offset)
            headers[name.lower()] = value.replace("\0", ", ")
        return headers


class Encoder:
    """Frames of one direction to bytes. Header blocks depend on those before: send what it returns, in order."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=zlib.MAX_WBITS, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        match frame:
            case Data(stream, data, is_fin):
                return struct.pack(">II", stream, is_fin << 24 | len(data)) + data
            case SynStream(stream, headers, is_fin, is_unidirectional):
                flags = is_fin * _FLAG_FIN | is_unidirectional * _FLAG_UNIDIRECTIONAL
                return _control(SYN_STREAM, struct.pack(">IIBB", stream, 0, 0, 0) + self._headers(headers), flags)
            case SynReply(stream, headers, is_fin):
                return _control(SYN_REPLY, struct.pack(">I", stream) + self._headers(headers), is_fin)
            case StreamHeaders(stream, headers, is_fin):
                return _control(HEADERS, struct.pack(">I", stream) + self._headers(headers), is_fin)
            case Reset(stream, status):
                return _control(RST_STREAM, struct.pack(">II", stream, status))
            case Settings(values):
                entries = b"".join(struct.pack(">II", key, value) for key, value in values.items())
                return _control(SETTINGS, struct.pack(">I", len(values)) + entries)
            case Ping(number):
                return _control(PING, struct.pack(">I", number))
            case GoAway(last_stream, status):
                return _control(GOAWAY, struct.pack(">II", last_stream, status))
            case WindowUpdate(stream, delta):
                return _control(WINDOW_UPDATE, struct.pack(">II", stream, delta))

    def _headers(self, headers: Headers) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                parts += [struct.pack(">I", len(text)), text]
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, payload: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload


def _nonzero(stream: int) -> int:
    stream &= 0x7FFFFFFF
    if stream == 0:
        raise ProtocolError("a stream's frame on stream 0")
    return stream


def _take_string(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", data, offset)
    end = offset + 4 + length
    if end > len(data):
        raise ProtocolError("a header block that ends early")
    return data[offset + 4 : end].decode("utf-8", "replace"), end
