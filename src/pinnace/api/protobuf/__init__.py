"""Objects in Kubernetes' protobuf form and back: what typed Go clients speak unless they are told otherwise.

The envelope is four bytes, `k8s\\0`, then `runtime.Unknown`, which carries the type and the object's message (apimachinery,
runtime/serializer/protobuf). Reading and writing agree with upstream's Go types to the byte; the values in between are those of JSON's form.
"""

from pinnace.api.protobuf.fields import MAGIC
from pinnace.api.protobuf.reading import ProtobufError, parse
from pinnace.api.protobuf.writing import encode, envelope, has_form, list_message, message, watch_frame

__all__ = [
    "MAGIC",
    "ProtobufError",
    "encode",
    "envelope",
    "has_form",
    "list_message",
    "message",
    "parse",
    "watch_frame",
]
