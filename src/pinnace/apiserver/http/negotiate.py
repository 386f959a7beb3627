"""Which form of an answer a client asked for, and which form of a body it sent."""

import dataclasses
import functools
from typing import Literal

from pinnace.api import decode, errors

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
"""Understood in requests, as typed Go clients send them; answers are JSON, which those clients accept too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """`transform` is "" for the object itself, or `Table`, `PartialObjectMetadata`, `PartialObjectMetadataList` …"""

    media: Literal["json", "yaml"] = "json"
    transform: str = ""
    group: str = ""
    version: str = ""


PLAIN = Form()
Transform = tuple[str, str, str]
"""(as, group, version)."""

OF_OBJECTS: frozenset[Transform] = frozenset(
    (kind, "meta.k8s.io", version)
    for kind in ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
    for version in ("v1", "v1beta1")
)
OF_DISCOVERY: frozenset[Transform] = frozenset(
    ("APIGroupDiscoveryList", "apidiscovery.k8s.io", version) for version in ("v2", "v2beta1")
)
OF_MADE: frozenset[Transform] = frozenset(one for one in OF_OBJECTS if one[0] == "Table")
"""Of what is not stored but made when asked for."""
NONE: frozenset[Transform] = frozenset()


@functools.lru_cache(maxsize=256)
def form(accept: str, transforms: frozenset[Transform] = OF_OBJECTS) -> Form:
    """The first form of `accept` that can be given, by its weights; `transforms` are those that exist of what is asked. Raises 406."""
    if not accept:
        return PLAIN
    clauses = [clause for clause in (_clause(part) for part in accept.split(",")) if clause is not None]
    for _, media, parameters in sorted(clauses, key=lambda clause: -clause[0]):
        found = _offer(media, parameters, transforms)
        if found is not None:
            return found
    raise not_acceptable(("application/json", "application/json;stream=watch", "application/yaml"))


def not_acceptable(offered: tuple[str, ...]) -> errors.StatusError:
    return errors.StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(offered),
    )


def _clause(text: str) -> tuple[float, str, dict[str, str]] | None:
    media, *rest = (part.strip() for part in text.split(";"))
    if not media:
        return None
    parameters = {}
    for part in rest:
        key, _, value = part.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    try:
        weight = float(parameters.pop("q", "1"))
    except ValueError:
        weight = 1.0
    return (weight, media.lower(), parameters) if weight > 0 else None


def _offer(media: str, parameters: dict[str, str], transforms: frozenset[Transform]) -> Form | None:
    if media in (JSON, "*/*", "application/*"):
        kind: Literal["json", "yaml"] = "json"
    elif media in (YAML, "text/yaml", "application/x-yaml"):
        kind = "yaml"
    else:
        return None
    transform = (parameters.get("as", ""), parameters.get("g", ""), parameters.get("v", ""))
    if not transform[0]:
        return Form(kind)
    return Form(kind, *transform) if transform in transforms else None


@functools.lru_cache(maxsize=64)
def body_type(content_type: str) -> decode.ContentType:
    """The form of a body that is an object. Raises 415."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", JSON, "*/*"):
        return "json"
    if media in (YAML, "text/yaml", "application/x-yaml"):
        return "yaml"
    if media == PROTOBUF:
        return "protobuf"
    raise unsupported((JSON, YAML, PROTOBUF))


def unsupported(offered: tuple[str, ...]) -> errors.StatusError:
    return errors.StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered),
    )
