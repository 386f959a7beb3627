"""Strategic merge patch: a merge patch that knows which lists are maps in disguise.

The schema says of each field how it merges (`patch_strategy`) and by which key the items of a list are the same item
(`patch_merge_key`). Directives in the patch: `$patch: replace|delete` (in a map or in an item of a list),
`$deleteFromPrimitiveList/<field>`, `$setElementOrder/<field>`, `$retainKeys`.
See the community's design proposals "strategic-merge-patch" and "preserve-order-in-strategic-merge-patch".
"""

from typing import Any, Protocol

from pinnace.api import errors
from pinnace.api.patch import merge

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM_LIST = "$deleteFromPrimitiveList"
ELEMENT_ORDER = "$setElementOrder"

BAD_PRIMITIVE_LIST = "invalid patch format of primitive list"
BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
BAD_ELEMENT_ORDER = "invalid patch format of setElementOrder list"
LISTS_OF_LISTS = "lists of lists are not supported"

_MISSING: Any = object()


class Schema(Protocol):
    """What of `api.schema.Schema` matters here."""

    @property
    def name(self) -> str: ...
    @property
    def properties(self) -> Any: ...
    @property
    def additional(self) -> Any: ...
    @property
    def items(self) -> Any: ...
    @property
    def patch_strategy(self) -> tuple[str, ...]: ...
    @property
    def patch_merge_key(self) -> str: ...


def apply(obj: dict[str, Any], patch: Any, schema: Schema) -> dict[str, Any]:
    """`obj` with `patch` merged into it as `schema` says.

    Raises StatusError: 400 for a malformed patch, 422 for lists of lists, 500 (as upstream) where the patch does not fit the
    kind, such as an item without its merge key.
    """
    if not isinstance(patch, dict):
        raise errors.bad_request("invalid JSON document")
    return _merge_map(obj, patch, schema)


def _mismatch(message: str) -> errors.StatusError:
    # Upstream returns these as plain errors, which the server answers with 500 and no reason.
    return errors.StatusError(500, "", message)


def _no_merge_key(item: Any, key: str) -> errors.StatusError:
    return _mismatch(f"map: {_go_map(item)} does not contain declared merge key: {key}")


def _field(schema: Schema | None, key: str) -> Schema | None:
    if schema is None:
        return None
    found: Schema | None = schema.properties.get(key, schema.additional)
    return found


def _strategy(field: Schema | None) -> str:
    """`merge`, `replace` or "": how the field as a whole is treated; `retainKeys` is a matter of the client that makes a patch."""
    if field is None:
        return ""
    return next((strategy for strategy in field.patch_strategy if strategy != "retainKeys"), "")


def _merge_map(original: dict[str, Any], patch: dict[str, Any], schema: Schema | None) -> dict[str, Any]:
    directive = patch.get(DIRECTIVE, _MISSING)
    if directive is not _MISSING:
        return _directed_map(original, patch, schema, directive)
    merged = _retained(original, patch)
    ordered = _merge_ordered_lists(merged, patch, schema)
    for key, value in patch.items():
        if key == RETAIN_KEYS or key in ordered or key.startswith(ELEMENT_ORDER):
            continue
        if key.startswith(DELETE_FROM_LIST):
            _delete_from_list(merged, key, value)
        elif value is None:
            merged.pop(key, None)
        elif key not in merged or merged[key] is None:
            merged[key] = _plain(value)
        else:
            merged[key] = _merge_value(merged[key], value, _field(schema, key))
    return merged


def _directed_map(
    original: dict[str, Any], patch: dict[str, Any], schema: Schema | None, directive: Any
) -> dict[str, Any]:
    rest = {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "replace":
        return rest
    if directive == "delete":
        return {}
    if directive == "merge":
        return _merge_map(original, rest, schema)
    raise _mismatch(f"unknown patch type: {directive} in map: {_go_map(patch)}")


def _merge_value(original: Any, value: Any, field: Schema | None) -> Any:
    strategy = _strategy(field)
    if isinstance(original, dict) and isinstance(value, dict):
        return _plain(value) if strategy == "replace" else _merge_map(original, value, field)
    if isinstance(original, list) and isinstance(value, list):
        return _merge_list(original, value, field) if strategy == "merge" else value
    return value


def _retained(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A copy of `original`, reduced to what `$retainKeys` names, where the patch has one."""
    keys = patch.get(RETAIN_KEYS, _MISSING)
    if keys is _MISSING:
        return dict(original)
    if not isinstance(keys, list):
        raise errors.bad_request(BAD_RETAIN_KEYS)
    for key, value in patch.items():
        if value is None or key == RETAIN_KEYS or key.startswith((DELETE_FROM_LIST, ELEMENT_ORDER)):
            continue
        if key not in keys:
            raise errors.bad_request(BAD_RETAIN_KEYS)
    return {key: value for key, value in original.items() if key in keys}


def _delete_from_list(merged: dict[str, Any], key: str, value: Any) -> None:
    prefix, slash, name = key.partition("/")
    if prefix != DELETE_FROM_LIST or not slash or not isinstance(value, list | None):
        raise errors.bad_request(BAD_PRIMITIVE_LIST)
    if value and isinstance(merged.get(name), list):
        unwanted = {_identity(item) for item in value}
        merged[name] = [item for item in merged[name] if _identity(item) not in unwanted]


def _merge_ordered_lists(merged: dict[str, Any], patch: dict[str, Any], schema: Schema | None) -> set[str]:
    """Merge each list for which the patch gives an order; returns the keys that are thereby done."""
    done = set()
    for key, order in patch.items():
        if not key.startswith(ELEMENT_ORDER):
            continue
        prefix, slash, name = key.partition("/")
        if prefix != ELEMENT_ORDER or not slash or not isinstance(order, list):
            raise errors.bad_request(BAD_ELEMENT_ORDER)
        field = _field(schema, name)
        if field is None:
            owner = schema.name.rpartition(".")[2] if schema is not None else ""
            raise _mismatch(f'unable to find api field in struct {owner} for the json field "{name}"')
        live, change = merged.get(name), patch.get(name)
        for found in (live, change):
            if not isinstance(found, list | None):
                raise errors.bad_request(BAD_ELEMENT_ORDER)
        if name in patch and change is None:
            continue
        done.add(name)
        if live is None and change is None:
            continue
        merge_key = field.patch_merge_key
        _check_order(change or [], order, merge_key)
        if change is None:
            result = live
        elif live is None:
            result = _plain(change)
        else:
            result = _merge_list(live, change, field) if _strategy(field) == "merge" else change
        merged[name] = _arranged(result or [], order, live or [], merge_key)
    return done


def _check_order(change: list[Any], order: list[Any], merge_key: str) -> None:
    """The items of the patch must appear in the order that the patch itself demands."""
    wanted = [_item_key(item, merge_key) for item in order]
    position = 0
    for item in change:
        if isinstance(item, dict) and DIRECTIVE in item:
            continue
        key = _item_key(item, merge_key)
        while position < len(wanted) and wanted[position] != key:
            position += 1
        if order and position == len(wanted):
            raise _mismatch(
                f"The order in patch list:\n{_go_value(change)}\n doesn't match {ELEMENT_ORDER} list:\n{_go_value(order)}\n"
            )
        position += 1


def _merge_list(original: list[Any], patch: list[Any], field: Schema | None) -> list[Any]:
    if any(isinstance(item, list) for item in (*original, *patch)):
        raise errors.StatusError(422, "Invalid", "the server rejected our request due to an error in our request")
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        return _arranged(_without_doubles([*original, *patch]), patch, original, "")
    merge_key = field.patch_merge_key if field is not None else ""
    if not merge_key:
        raise _mismatch("cannot merge lists without merge key for type struct")
    for item in (*original, *patch):
        if not isinstance(item, dict):
            raise _mismatch("expected a map[string]interface {}, but received a " + _go_kind(item))
    original, patch, replaced = _apply_item_directives(original, patch, merge_key)
    if replaced:
        return original
    merged = list(original)
    places = {_identity(item.get(merge_key)): place for place, item in reversed(list(enumerate(merged)))}
    for item in patch:
        identity = _item_key(item, merge_key)
        place = places.get(identity)
        if place is None:
            places[identity] = len(merged)
            merged.append(_plain(item))
        else:
            merged[place] = _merge_map(merged[place], item, field.items if field is not None else None)
    # What is new stands before what the patch does not name, as upstream puts it.
    return _arranged(merged, patch, original, merge_key)


def _apply_item_directives(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any], bool]:
    """(what is left of `original`, the items of `patch` that are no directives, whether they replace the list)."""
    rest = []
    replaced = False
    for item in patch:
        directive = item.get(DIRECTIVE, _MISSING)
        if directive is _MISSING:
            rest.append(item)
        elif directive == "delete":
            unwanted = _item_key(item, merge_key)
            original = [old for old in original if _identity(old.get(merge_key)) != unwanted]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise _mismatch("merging lists cannot yet be specified in the patch")
        else:
            raise _mismatch(f"unknown patch type: {directive} in map: {_go_map(item)}")
    if replaced:
        return [_plain(item) for item in rest], [], True
    return original, rest, False


def _arranged(items: list[Any], order: list[Any], live: list[Any], merge_key: str) -> list[Any]:
    """`items` sorted: those named by `order` in its order, the others in the order of `live`, interleaved as in `live`."""
    wanted = _places(order, merge_key)
    lived = _places(live, merge_key)
    keyed = [(_item_key(item, merge_key), item) for item in items]
    named = sorted((pair for pair in keyed if pair[0] in wanted), key=lambda pair: wanted[pair[0]])
    others = sorted((pair for pair in keyed if pair[0] not in wanted), key=lambda pair: lived.get(pair[0], len(lived)))
    arranged = []
    left = 0
    for key, item in named:
        while left < len(others) and others[left][0] in lived and key in lived and lived[others[left][0]] < lived[key]:
            arranged.append(others[left][1])
            left += 1
        arranged.append(item)
    arranged.extend(item for _, item in others[left:])
    return arranged


def _places(items: list[Any], merge_key: str) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for place, item in enumerate(items):
        places.setdefault(_item_key(item, merge_key), place)
    return places


def _item_key(item: Any, merge_key: str) -> Any:
    if not merge_key:
        return _identity(item)
    if not isinstance(item, dict):
        raise _mismatch("expected a map[string]interface {}, but received a " + _go_kind(item))
    if merge_key not in item:
        raise _no_merge_key(item, merge_key)
    return _identity(item[merge_key])


def _identity(value: Any) -> Any:
    """Something hashable that is equal for equal JSON scalars only (true is not 1)."""
    return (type(value), value) if not isinstance(value, dict | list) else (type(value), repr(value))


def _without_doubles(items: list[Any]) -> list[Any]:
    return list({_identity(item): item for item in reversed(items)}.values())[::-1]


def _plain(value: Any) -> Any:
    """A part of a patch for which there is nothing to merge with: without nulls and without directives."""
    if isinstance(value, dict):
        return {
            key: _plain(child)
            for key, child in value.items()
            if child is not None
            and key not in (DIRECTIVE, RETAIN_KEYS)
            and not key.startswith((DELETE_FROM_LIST, ELEMENT_ORDER))
        }
    if isinstance(value, list):
        kept = (item for item in value if not (isinstance(item, dict) and _is_spent(item)))
        return [_plain(item) for item in kept]
    return merge.without_nulls(value)


def _is_spent(item: dict[str, Any]) -> bool:
    """An item of a list that only deletes, or only marks its list as replaced."""
    return item.get(DIRECTIVE) == "delete" or item.keys() == {DIRECTIVE}


def _go_value(value: Any) -> str:
    if isinstance(value, dict):
        return _go_map(value)
    if isinstance(value, list):
        return "[" + " ".join(map(_go_value, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _go_map(value: Any) -> str:
    return "map[" + " ".join(f"{key}:{_go_value(value[key])}" for key in sorted(value)) + "]"


def _go_kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case _:
            return "<nil>"
