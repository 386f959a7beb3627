"""One serializer per media type: how objects, lists and events of a watch are written in it. Chosen once per request (`negotiate`).

What is stored is JSON, so that JSON hands on the stored bytes themselves, and protobuf the message that was made of them: once for
all that read them while they are read (`Messages`). Errors and what is made when asked for go through `encode`.
"""

import collections
from collections.abc import Sequence
from typing import Any, Protocol

import orjson
import yaml

from pinnace.api import decode, errors, gojson, kinds, protobuf

Object = dict[str, Any]
Pieces = Sequence[bytes]
"""Bytes that follow each other: of stored bytes nothing is copied."""

_MOST_BYTES = 16 * 1024 * 1024
_LONGEST = 256 * 1024


class Messages:
    """Protobuf messages by the stored bytes that they were made of: the most recently made, up to a number of bytes.

    Every watcher of an event asks for the same ones, in the same turn of the loop; lists ask for most of them again.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._made: collections.OrderedDict[tuple[str, str, bytes], bytes] = collections.OrderedDict()
        self._left = most_bytes

    def get(self, kind: kinds.Kind, data: bytes) -> bytes:
        """The object that `data` holds, which is of `kind`, without its envelope. Raises 406."""
        key = (kind.api_version, kind.kind, data)
        found = self._made.get(key)
        if found is None:
            found = message(kind, orjson.loads(data))
            if len(data) <= _LONGEST:
                self._keep(key, found)
        return found

    def _keep(self, key: tuple[str, str, bytes], made: bytes) -> None:
        self._made[key] = made
        self._left -= len(key[2]) + len(made)
        while self._left < 0:
            (_, _, data), old = self._made.popitem(last=False)
            self._left += len(data) + len(old)


class Serializer(Protocol):
    content_type: decode.ContentType
    """As the decoder of bodies names it."""
    media: str
    stream_media: str
    """The Content-Type of a watch; "" where none can be written."""

    def encode(self, obj: Object) -> bytes:
        """Raises 406 for what has no form in this media type."""
        ...

    def stored(self, kind: kinds.Kind, data: bytes, made: Messages) -> bytes:
        """An object of `kind` as it is stored."""
        ...

    def listed(self, kind: kinds.Kind, metadata: Object, stored: Sequence[bytes], made: Messages) -> Pieces: ...

    def frame(self, kind_of_event: bytes, obj: Object) -> bytes:
        """An event of a watch around an object that was made for it."""
        ...

    def stored_frame(self, kind_of_event: bytes, kind: kinds.Kind, data: bytes, made: Messages) -> Pieces:
        """The same around an object as it is stored."""
        ...


class Json:
    content_type: decode.ContentType = "json"
    media = "application/json"
    stream_media = "application/json"

    def encode(self, obj: Object) -> bytes:
        return gojson.dumps(obj)

    def stored(self, kind: kinds.Kind, data: bytes, made: Messages) -> bytes:
        return data

    def listed(self, kind: kinds.Kind, metadata: Object, stored: Sequence[bytes], made: Messages) -> Pieces:
        pieces: list[bytes] = [
            b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":['
            % (f"{kind.kind}List".encode(), kind.api_version.encode(), orjson.dumps(metadata))
        ]
        for data in stored:
            pieces.append(data)
            pieces.append(b",")
        if stored:
            pieces.pop()
        pieces.append(b"]}\n")
        return pieces

    def frame(self, kind_of_event: bytes, obj: Object) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind_of_event, gojson.dumps(obj))

    def stored_frame(self, kind_of_event: bytes, kind: kinds.Kind, data: bytes, made: Messages) -> Pieces:
        return _HEADS[kind_of_event], data, b"}\n"


_HEADS = {kind: b'{"type":"%b","object":' % kind for kind in (b"ADDED", b"MODIFIED", b"DELETED")}


class Yaml:
    """For people: nothing is kept, nothing is streamed."""

    content_type: decode.ContentType = "yaml"
    media = "application/yaml"
    stream_media = ""

    def encode(self, obj: Object) -> bytes:
        text: str = yaml.dump(obj, Dumper=yaml.CSafeDumper, default_flow_style=False, allow_unicode=True)
        return text.encode()

    def stored(self, kind: kinds.Kind, data: bytes, made: Messages) -> bytes:
        return self.encode(orjson.loads(data))

    def listed(self, kind: kinds.Kind, metadata: Object, stored: Sequence[bytes], made: Messages) -> Pieces:
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        return (self.encode({**head, "items": [orjson.loads(data) for data in stored]}),)

    def frame(self, kind_of_event: bytes, obj: Object) -> bytes:
        raise errors.internal("a watch has no form in YAML")

    def stored_frame(self, kind_of_event: bytes, kind: kinds.Kind, data: bytes, made: Messages) -> Pieces:
        raise errors.internal("a watch has no form in YAML")


class Protobuf:
    content_type: decode.ContentType = "protobuf"
    media = "application/vnd.kubernetes.protobuf"
    stream_media = "application/vnd.kubernetes.protobuf;stream=watch"

    def encode(self, obj: Object) -> bytes:
        try:
            return protobuf.encode(obj)
        except KeyError:
            raise _no_message(obj.get("apiVersion", ""), obj.get("kind", "")) from None

    def stored(self, kind: kinds.Kind, data: bytes, made: Messages) -> bytes:
        return protobuf.envelope(kind.api_version, kind.kind, made.get(kind, data))

    def listed(self, kind: kinds.Kind, metadata: Object, stored: Sequence[bytes], made: Messages) -> Pieces:
        items = [made.get(kind, data) for data in stored]
        if not items and not has_message(kind):
            raise _no_message(kind.api_version, kind.kind)
        return (protobuf.envelope(kind.api_version, f"{kind.kind}List", protobuf.list_message(metadata, items)),)

    def frame(self, kind_of_event: bytes, obj: Object) -> bytes:
        return protobuf.watch_frame(kind_of_event, self.encode(obj))

    def stored_frame(self, kind_of_event: bytes, kind: kinds.Kind, data: bytes, made: Messages) -> Pieces:
        return (protobuf.watch_frame(kind_of_event, self.stored(kind, data, made)),)


def has_message(kind: kinds.Kind) -> bool:
    """Custom kinds have none."""
    return kind.own_schema is None and protobuf.has_form(kind.api_version, kind.kind)


def message(kind: kinds.Kind, obj: Object) -> bytes:
    if not has_message(kind):
        raise _no_message(kind.api_version, kind.kind)
    return protobuf.message(kind.api_version, kind.kind, obj)


def _no_message(api_version: str, kind: str) -> errors.StatusError:
    name = f"{api_version.rpartition('/')[2]}.{kind}"
    return errors.StatusError(
        406,
        "NotAcceptable",
        f"object *{name} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message",
    )


JSON: Serializer = Json()
YAML: Serializer = Yaml()
PROTOBUF: Serializer = Protobuf()
ALL = (JSON, YAML, PROTOBUF)
"""In the order in which upstream offers them."""
WITHOUT_MESSAGES = (JSON, YAML)
