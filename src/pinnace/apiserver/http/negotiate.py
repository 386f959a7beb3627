"""Which form of an answer a client asked for, and which form of a body it sent."""

import dataclasses
from collections.abc import Sequence

from pinnace.api import errors, kinds
from pinnace.apiserver.http import serializers
from pinnace.kit import remembered

# Other names of the same media types.
_ALIASES = {"text/yaml": "application/yaml", "application/x-yaml": "application/yaml"}


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """`transform` is "" for the object itself, or `Table`, `PartialObjectMetadata`, `PartialObjectMetadataList` …"""

    serializer: serializers.Serializer = serializers.JSON
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


_LONGEST = 1024
"""What is longer is not remembered: clients choose it."""


def form(
    accept: str,
    transforms: frozenset[Transform] = OF_OBJECTS,
    offered: tuple[serializers.Serializer, ...] = serializers.ALL,
) -> Form:
    """The first form of `accept` that can be given, by its weights; `transforms` are those that exist of what is asked. Raises 406."""
    if not accept:
        return PLAIN
    return _chosen(accept, transforms, offered)


def _choose(accept: str, transforms: frozenset[Transform], offered: tuple[serializers.Serializer, ...]) -> Form:
    for media, parameters in _clauses(accept):
        found = _offer(media, parameters, transforms, offered)
        if found is not None:
            return found
    raise not_acceptable([serializer.media for serializer in offered])


_chosen = remembered.short(256, _LONGEST)(_choose)


def object_form(accept: str, kind: kinds.Kind) -> Form:
    """The form of an object of `kind`, or of a list of them. Raises 406."""
    found = form(accept)
    return found if found.serializer is not serializers.PROTOBUF else form(accept, OF_OBJECTS, _offered(kind))


def _offered(kind: kinds.Kind) -> tuple[serializers.Serializer, ...]:
    return serializers.ALL if serializers.has_message(kind) else serializers.WITHOUT_MESSAGES


def document_form(accept: str) -> Form:
    """The form of what is of no kind. Raises 406."""
    return form(accept, NONE, serializers.WITHOUT_MESSAGES)


def stream_form(accept: str, kind: kinds.Kind) -> Form:
    """The form of a watch. Raises 406."""
    found = object_form(accept, kind)
    if not found.serializer.stream_media:
        raise not_acceptable(
            [f"{serializer.media};stream=watch" for serializer in _offered(kind) if serializer.stream_media]
        )
    return found


def error_form(accept: str) -> Form:
    """The form of a Status: there are no tables of it, and whoever accepts nothing that there is gets JSON."""
    try:
        return Form(form(accept).serializer)
    except errors.StatusError:
        return PLAIN


def not_acceptable(offered: Sequence[str]) -> errors.StatusError:
    return errors.StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(offered),
    )


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """What `accept` lists, best first: by weight, then what is named before what is meant by `*`."""
    clauses = [clause for clause in map(_clause, accept.split(",")) if clause is not None]
    clauses.sort(key=lambda clause: (-clause[0], clause[1].count("*")))
    return [(media, parameters) for _, media, parameters in clauses]


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


def _offer(
    media: str,
    parameters: dict[str, str],
    transforms: frozenset[Transform],
    offered: tuple[serializers.Serializer, ...],
) -> Form | None:
    if media in ("*/*", "application/*"):
        serializer = serializers.JSON
    else:
        named = [one for one in offered if one.media == _ALIASES.get(media, media)]
        if not named:
            return None
        serializer = named[0]
    transform = (parameters.get("as", ""), parameters.get("g", ""), parameters.get("v", ""))
    if not transform[0]:
        return Form(serializer)
    return Form(serializer, *transform) if transform in transforms else None


def body_form(content_type: str) -> serializers.Serializer:
    """The form of a body that is an object. Raises 415."""
    media = content_type.partition(";")[0].strip().lower()
    if media in ("", "*/*"):
        return serializers.JSON
    for serializer in serializers.ALL:
        if serializer.media == _ALIASES.get(media, media):
            return serializer
    raise unsupported([serializer.media for serializer in serializers.ALL])


def unsupported(offered: Sequence[str]) -> errors.StatusError:
    return errors.StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered),
    )
