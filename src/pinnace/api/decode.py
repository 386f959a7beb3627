"""From bytes to an object of its kind, and back.

`decode` is called once for every write. Well-formed input costs one parse and one walk of compiled predicates (`decode_strict`); anything
else takes the thorough road (`decode_lenient`). Every error is a 400 `StatusError` in upstream's words; nothing else is raised.
"""

import dataclasses
import json
import re
from typing import Any, Literal

import orjson

from pinnace.api import decode_lenient, decode_strict, errors, gojson, json_text, kinds, omitempty, protobuf, yaml_input
from pinnace.api import schema as schemas

FieldValidation = Literal["Strict", "Warn", "Ignore"]
ContentType = Literal["json", "yaml", "protobuf"]

_SHOWN_BYTES = 30
TOO_DEEP = "exceeded max depth"
_BACKSLASH = b'\\\\":'
# A name followed by white space before its colon: legal, rare, and it defeats the counting of names.
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


@dataclasses.dataclass(frozen=True, slots=True)
class Decoded:
    obj: kinds.Object
    warnings: tuple[str, ...] = ()
    """For `Warning` headers: `unknown field "spec.foo"`."""


def decode(
    data: bytes,
    kind: kinds.Kind,
    *,
    field_validation: FieldValidation = "Warn",
    content_type: ContentType = "json",
) -> Decoded:
    """The object in `data`, which must be of `kind`, without unknown fields, in canonical form; not yet defaulted."""
    raw, complaints = parse(
        data, kind.kind, look_for_duplicates=field_validation != "Ignore", content_type=content_type
    )
    try:
        if not kind.schema.is_typed and field_validation != "Ignore":
            complaints = (*complaints, *decode_lenient.duplicates(raw))
        return convert(raw, kind, field_validation=field_validation, complaints=complaints)
    except RecursionError:
        raise errors.bad_request(TOO_DEEP) from None


def convert(
    raw: Any,
    kind: kinds.Kind,
    *,
    field_validation: FieldValidation = "Warn",
    complaints: tuple[str, ...] = (),
) -> Decoded:
    """The same for a value that is parsed already: the outcome of a patch. `raw` may be returned as it is or in part."""
    if not isinstance(raw, dict):
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; json parse error: "
            f"json: cannot unmarshal {decode_lenient.shown(raw, is_number=False)} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    _check_kind(raw, kind)
    schema = kind.schema
    if not complaints and not isinstance(raw, decode_lenient.Duplicates) and decode_strict.is_clean(schema, raw):
        found = Decoded(raw)
    else:
        found = _repaired(raw, kind, schema, field_validation, complaints)
    omitempty.complete(schema.name, found.obj)
    return found


def parse(
    data: bytes, expected: str, *, look_for_duplicates: bool, content_type: ContentType = "json"
) -> tuple[Any, tuple[str, ...]]:
    """The value that `data` spells, and complaints about how it does (YAML's duplicate keys)."""
    complaints: tuple[str, ...] = ()
    try:
        if content_type == "yaml":
            value, complaints = yaml_input.load(data)
            orjson.dumps(value)
        elif content_type == "protobuf":
            value = protobuf.parse(data)
        else:
            try:
                value = orjson.loads(data)
            except ValueError:
                data = json_text.replaced(data)
                value = orjson.loads(data)
            # What cannot be written again cannot be stored: the writer's limit of depth is lower than the reader's.
            left = orjson.dumps(value)
            if look_for_duplicates and may_have_duplicates(data, left):
                value = json.loads(data, object_pairs_hook=decode_lenient.from_pairs)
    except protobuf.ProtobufError as error:
        raise _unrecognized(data, expected, str(error)) from None
    except yaml_input.YamlError as error:
        raise _unrecognized(data, expected, f"error converting YAML to JSON: {error}") from None
    except ValueError as error:
        why = f"couldn't get version/kind; json parse error: {_json_wrong(data, error)}"
        raise _unrecognized(data, expected, why) from None
    except (RecursionError, TypeError):
        raise _unrecognized(data, expected, TOO_DEEP) from None
    return value, complaints


def may_have_duplicates(data: bytes, left: bytes) -> bool:
    """Whether some object in `data` may give a name twice. `left` is what it parsed to, written again: only one of them is there.

    Names are counted, before and after, by what only follows a name: `":`, unless the quote is an escaped one. A name that ends in a
    backslash, which is escaped itself, looks like that: rare, and then looked at.
    """
    return _names(data) != _names(left) or _BACKSLASH in data or _SPACED_COLON.search(data) is not None


def _names(data: bytes) -> int:
    return data.count(b'":') - data.count(b'\\":')


def pruned(obj: kinds.Object, schema: schemas.Schema) -> kinds.Object:
    """`obj` without what `schema` does not know; what is inside may be that of `obj` itself."""
    if decode_strict.is_clean(schema, obj):
        return obj
    made: kinds.Object = decode_lenient.Walk(is_typed=schema.is_typed).run(schema, obj)
    return made


def encode(obj: kinds.Object) -> bytes:
    """What is stored and sent: apiVersion, kind and metadata first, so that `"metadata":{` is the first such text in it."""
    rest = dict(obj)
    head = {name: rest.pop(name) for name in ("apiVersion", "kind", "metadata") if name in rest}
    return gojson.dumps(head | rest)


def _check_kind(raw: dict[str, Any], kind: kinds.Kind) -> None:
    api_version = raw.get("apiVersion") or kind.api_version
    name = raw.get("kind") or kind.kind
    if api_version == kind.api_version and name == kind.kind:
        raw["apiVersion"], raw["kind"] = api_version, name
        return
    if not isinstance(api_version, str) or not isinstance(name, str):
        wrong = "apiVersion" if not isinstance(api_version, str) else "kind"
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; json parse error: "
            f"json: cannot unmarshal {decode_lenient.shown(raw[wrong], is_number=False)} into Go struct field .{wrong} of type string"
        )
    group, _, version = api_version.rpartition("/")
    is_known = kinds.is_known(group, version, name)
    if name == kind.kind and group == kind.group and (is_known or not kind.schema.is_typed):
        raise errors.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({kind.api_version})"
        )
    if is_known:
        own = f"{kind.version}.{name}" if version == kind.version else f"{version}.{name}"
        raise errors.bad_request(
            f'{name} in version "{version}" cannot be handled as a {kind.kind}: '
            f"converting ({own}) to ({kind.group.partition('.')[0] or 'core'}.{kind.kind}): unknown conversion"
        )
    raise errors.bad_request(
        f'{name} in version "{version}" cannot be handled as a {kind.kind}: no kind "{name}" is registered for version '
        f'"{api_version}" in scheme "pkg/api/legacyscheme/scheme.go:30"'
    )


def _repaired(
    raw: dict[str, Any],
    kind: kinds.Kind,
    schema: schemas.Schema,
    field_validation: FieldValidation,
    complaints: tuple[str, ...],
) -> Decoded:
    walk = decode_lenient.Walk(is_typed=schema.is_typed)
    prefix = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
    try:
        made = walk.run(schema, raw)
    except decode_lenient.Mismatch as error:
        raise errors.bad_request(prefix + str(error)) from None
    made["apiVersion"], made["kind"] = kind.api_version, kind.kind
    # Of a custom resource the parser tells what is there twice, then pruning what is unknown, sorted.
    unknown = walk.strict_errors if schema.is_typed else sorted(walk.strict_errors)
    found = tuple(dict.fromkeys((*complaints, *unknown)))
    if found and field_validation == "Strict":
        raise errors.bad_request(f"{prefix}strict decoding error: {', '.join(found)}")
    return Decoded(made, found if field_validation == "Warn" else ())


def _unrecognized(data: bytes, expected: str, why: str) -> errors.StatusError:
    if not data:
        shown = "<empty>"
    else:
        more = " ..." if len(data) > _SHOWN_BYTES else ""
        head = data[:_SHOWN_BYTES]
        shown = (head.decode("utf-8", "replace") if data.startswith(b"{") else head.hex()) + more
    return errors.bad_request(f"the object provided is unrecognized (must be of type {expected}): {why} ({shown})")


def _json_wrong(data: bytes, error: ValueError) -> str:
    """The parser's complaint in Go's words, as far as its position tells."""
    if not data.strip():
        return "unexpected end of JSON input"
    at = getattr(error, "pos", None)
    if not isinstance(at, int):
        return str(error)
    text = data.decode("utf-8", "replace")
    if at >= len(text.rstrip()):
        return "unexpected end of JSON input"
    return f"invalid character {text[at]!r} at offset {at}"
