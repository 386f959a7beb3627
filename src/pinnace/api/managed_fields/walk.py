"""What a schema makes of values: which fields are there, what differs, what remains without some of them.

The rules are those of structured merge and diff: structs and granular maps are walked by name, lists of type `map` by their
keys and of type `set` by their values; everything else (scalars, atomic lists and maps, empty containers) is one leaf.
What the schema does not know is treated as granular maps and atomic lists.
"""

from typing import Any

from pinnace.api import schema as schemas
from pinnace.api.managed_fields import fieldset

Schema = schemas.Schema
FieldSet = fieldset.FieldSet

LEAF = fieldset.LEAF
MEMBER = fieldset.MEMBER


class Unkeyed(ValueError):
    """An item of a keyed list lacks a key that has no default, or an item of a set is no scalar."""


def child_schema(schema: Schema | None, name: str) -> Schema | None:
    if schema is None:
        return None
    return schema.properties.get(name) or schema.additional


def is_granular_map(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, dict) and (schema is None or schema.map_type != "atomic")


def is_associative(value: Any, schema: Schema | None) -> bool:
    return isinstance(value, list) and schema is not None and schema.list_type != "atomic"


def item_element(item: Any, schema: Schema) -> str:
    """The path element of an item of an associative list. Raises Unkeyed."""
    if not schema.list_map_keys:
        if item is None or isinstance(item, dict | list):
            raise Unkeyed("associative list without keys has an element that is not a scalar")
        return fieldset.value_element(item)
    if not isinstance(item, dict):
        raise Unkeyed("associative list with keys may not have non-map elements")
    keys = schema.list_map_keys
    if len(keys) == 1 and type(item.get(keys[0])) is str:
        return fieldset.key_element(keys, (item[keys[0]],))
    present = []
    values = []
    for key in keys:
        value = item.get(key)
        if value is None:
            known = schema.items.properties.get(key) if schema.items is not None else None
            value = known.default if known is not None else None
        if value is None:
            raise Unkeyed(
                f'associative list with keys has an element that omits key field "{key}" (and doesn\'t have default value)'
            )
        present.append(key)
        values.append(value)
    return fieldset.key_element(present, values)


def by_element(items: list[Any], schema: Schema) -> dict[str, Any]:
    """The items of an associative list by their path element, in their order.

    Items that share an element are one value together: a list of all of them. Raises Unkeyed.
    """
    found: dict[str, Any] = {}
    shared: set[str] = set()
    for item in items:
        element = item_element(item, schema)
        if element not in found:
            found[element] = item
        elif element in shared:
            found[element] = [*found[element], item]
        else:
            shared.add(element)
            found[element] = [found[element], item]
    return found


# Fields of built-in kinds that upstream holds as embedded structs rather than behind pointers.
_EMBEDDED = frozenset(
    {
        "daemonEndpoints",
        "kubeletEndpoint",
        "lastState",
        "loadBalancer",
        "metadata",
        "nodeInfo",
        "podSelector",
        "resources",
        "source",
        "spec",
        "state",
        "status",
        "strategy",
        "updateStrategy",
    }
)


def _exists_when_empty(schema: Schema | None, name: str) -> bool:
    """Whether an object without the field `name` counts as having it empty.

    Upstream compares its own structs, in which required fields and embedded structs are always there. Custom resources have
    no structs: their schemas have no name.
    """
    return schema is not None and bool(schema.name) and (name in _EMBEDDED or name in schema.required)


def added(value: Any, schema: Schema | None, *, existed_empty: bool = False) -> FieldSet | None:
    """The fields that come into being with `value`: every leaf and every container; None when there are none.

    With `existed_empty`, `value` replaces its own empty form, which is then not among the fields. Raises Unkeyed.
    """
    if isinstance(value, dict):
        if not value or (schema is not None and schema.map_type == "atomic"):
            return None if existed_empty and not value else LEAF
        node: FieldSet = {} if existed_empty else {MEMBER: LEAF}
        for name, child in value.items():
            if child.__class__ is str and not existed_empty:
                node["f:" + name] = LEAF
                continue
            below = added(
                child, child_schema(schema, name), existed_empty=existed_empty and _exists_when_empty(schema, name)
            )
            if below is not None:
                node["f:" + name] = below
        return node or None
    if isinstance(value, list):
        if not value or schema is None or schema.list_type == "atomic":
            return None if existed_empty and not value else LEAF
        node = {} if existed_empty else {MEMBER: LEAF}
        for element, item in by_element(value, schema).items():
            node[element] = LEAF if isinstance(item, list) else (added(item, schema.items) or LEAF)
        return node
    if value is None or (existed_empty and not value):
        return None
    return LEAF


def compare(old: dict[str, Any], new: dict[str, Any], schema: Schema | None) -> tuple[FieldSet, FieldSet]:
    """(fields that are new or changed, fields that are gone) from `old` to `new`. Raises Unkeyed."""
    changed: FieldSet = {}
    removed: FieldSet = {}
    for name, value in new.items():
        before = old.get(name)
        if before is value or value is None:
            continue
        _compare_field("f:" + name, before, value, child_schema(schema, name), schema, changed, removed)
    for name, before in old.items():
        if before is not None and new.get(name) is None:
            below = added(before, child_schema(schema, name), existed_empty=_exists_when_empty(schema, name))
            if below is not None:
                removed["f:" + name] = below
    return changed, removed


def _compare_field(
    element: str,
    before: Any,
    value: Any,
    schema: Schema | None,
    owner: Schema | None,
    changed: FieldSet,
    removed: FieldSet,
) -> None:
    if before is None:
        below = added(value, schema, existed_empty=_exists_when_empty(owner, element[2:]))
        if below is not None:
            changed[element] = below
        return
    if before == value:
        return
    if not before and not value:
        changed[element] = LEAF
    elif is_granular_map(before, schema) and is_granular_map(value, schema):
        _note(element, compare(before, value, schema), changed, removed)
    elif is_associative(before, schema) and is_associative(value, schema):
        assert schema is not None
        _note(element, _compare_items(before, value, schema), changed, removed)
    else:
        changed[element] = LEAF


def _note(element: str, found: tuple[FieldSet, FieldSet], changed: FieldSet, removed: FieldSet) -> None:
    if found[0]:
        changed[element] = found[0]
    if found[1]:
        removed[element] = found[1]


def _compare_items(old: list[Any], new: list[Any], schema: Schema) -> tuple[FieldSet, FieldSet]:
    changed: FieldSet = {}
    removed: FieldSet = {}
    before, after = by_element(old, schema), by_element(new, schema)
    for element, item in after.items():
        if element not in before:
            changed[element] = LEAF if isinstance(item, list) else (added(item, schema.items) or LEAF)
        elif isinstance(item, dict) and isinstance(before[element], dict):
            _note(element, compare(before[element], item, schema.items), changed, removed)
        elif before[element] != item:
            changed[element] = LEAF
    for element, item in before.items():
        if element not in after:
            removed[element] = LEAF if isinstance(item, list) else (added(item, schema.items) or LEAF)
    return changed, removed


def applied(value: dict[str, Any], schema: Schema | None) -> FieldSet:
    """The fields that a configuration states: leaves, items of lists and of maps, but no structs for their own sake. Raises Unkeyed."""
    node: FieldSet = {}
    for name, child in value.items():
        below = _applied_value(child, child_schema(schema, name))
        is_declared = schema is not None and name in schema.properties
        if below is None:
            if not is_declared:
                node["f:" + name] = LEAF
        elif is_declared or fieldset.is_member(below):
            node["f:" + name] = below
        else:
            node["f:" + name] = {MEMBER: LEAF, **below}
    return node


def _applied_value(value: Any, schema: Schema | None) -> FieldSet | None:
    if is_granular_map(value, schema) and value:
        return applied(value, schema) or None
    if is_associative(value, schema):
        assert schema is not None
        node: FieldSet = {}
        for element, item in by_element(value, schema).items():
            node[element] = {MEMBER: LEAF, **applied(item, schema.items)} if isinstance(item, dict) else LEAF
        return node or None
    return LEAF


def with_named_parents(fields: FieldSet, schema: Schema | None) -> FieldSet:
    """`fields` and every declared field on the way to them."""
    node: FieldSet = {}
    for element, child in fields.items():
        if element == MEMBER or not child:
            node[element] = child
            continue
        if element.startswith("f:"):
            name = element[2:]
            below = with_named_parents(child, child_schema(schema, name))
            is_declared = schema is not None and name in schema.properties
        else:
            below = with_named_parents(child, schema.items if schema is not None else None)
            is_declared = False
        node[element] = {MEMBER: LEAF, **below} if is_declared else below
    return node


def without(value: Any, fields: FieldSet, schema: Schema | None) -> Any:
    """`value` without the map entries and list items that `fields` names; None when nothing is left of it."""
    if is_granular_map(value, schema):
        kept = {}
        for name, child in value.items():
            node = fields.get("f:" + name)
            if node is None:
                kept[name] = child
            elif not fieldset.is_member(node):
                rest = without(child, node, child_schema(schema, name))
                if rest is not None:
                    kept[name] = rest
        return kept or None
    if is_associative(value, schema):
        assert schema is not None
        items = []
        for item in value:
            node = fields.get(item_element(item, schema))
            if node is None:
                items.append(item)
            elif not fieldset.is_member(node):
                rest = without(item, node, schema.items)
                if rest is not None:
                    items.append(rest)
        return items or None
    return value


def merge(live: Any, config: Any, schema: Schema | None) -> Any:
    """`live` with everything that `config` states. Raises Unkeyed.

    A list that `config` changes follows the order of `config`; items that only `live` has keep their place among those they share.
    """
    if is_granular_map(config, schema) and is_granular_map(live, schema):
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(live[name], value, child_schema(schema, name)) if live.get(name) is not None else value
        return merged
    if is_associative(config, schema) and is_associative(live, schema):
        assert schema is not None
        return _merge_items(live, config, schema)
    if config is None and (is_granular_map(live, schema) or is_associative(live, schema)):
        return live
    return config


def _merge_items(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    left, right = by_element(live, schema), by_element(config, schema)
    left_order, right_order = list(left), list(right)
    shared = [element for element in right_order if element in left]
    merged: list[Any] = []
    i = j = next_shared = 0
    while i < len(left_order) or j < len(right_order):
        ours = left_order[i] if i < len(left_order) else None
        theirs = right_order[j] if j < len(right_order) else None
        if ours is not None and ours == theirs:
            merged.extend(_merge_item(left[ours], right[ours], schema))
            i, j, next_shared = i + 1, j + 1, next_shared + 1
        elif (
            ours is not None
            and theirs is not None
            and ours in right
            and ours not in shared[next_shared : next_shared + 1]
        ):
            i += 1
        elif ours is not None and ours not in right:
            merged.extend(_as_items(left[ours]))
            i += 1
        elif theirs is not None:
            merged.extend(
                _merge_item(left[theirs], right[theirs], schema) if theirs in left else _as_items(right[theirs])
            )
            if shared[next_shared : next_shared + 1] == [theirs]:
                next_shared += 1
            j += 1
        else:
            i += 1
    return merged


def _merge_item(live: Any, config: Any, schema: Schema) -> list[Any]:
    if isinstance(live, list) or isinstance(config, list):
        return _as_items(config)
    return [merge(live, config, schema.items)]


def _as_items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def problems(value: Any, schema: Schema | None, path: str = "") -> list[str]:
    """What is wrong with a configuration, in upstream's words: unknown fields, wrong types, missing and double keys of lists."""
    if schema is None or value is None:
        return []
    if isinstance(value, dict):
        return _problems_of_map(value, schema, path)
    if isinstance(value, list):
        return _problems_of_list(value, schema, path)
    if schema.properties or schema.additional is not None:
        return [f"{path}: expected map, got {_shown(value)}"]
    if schema.type == "array":
        return [f"{path}: expected list, got {_shown(value)}"]
    return []


def _problems_of_map(value: dict[str, Any], schema: Schema, path: str) -> list[str]:
    if schema.type == "array" or (schema.type in ("string", "integer", "number", "boolean")):
        kind = "list" if schema.type == "array" else schema.type
        return [f"{path}: expected {kind}, got {_shown(value)}"]
    is_closed = bool(schema.properties) and schema.additional is None and not schema.preserve_unknown
    found = []
    for name, child in value.items():
        if name in schema.properties or not is_closed:
            found.extend(problems(child, child_schema(schema, name), f"{path}.{name}"))
        else:
            found.append(f"{path}.{name}: field not declared in schema")
    return found


def _problems_of_list(value: list[Any], schema: Schema, path: str) -> list[str]:
    if schema.type in ("object", "string", "integer", "number", "boolean") and not schema.preserve_unknown:
        kind = "map" if schema.type == "object" else schema.type
        return [f"{path}: expected {kind}, got {_shown(value)}"]
    found: list[str] = []
    seen: set[str] = set()
    for position, item in enumerate(value):
        step = f"[{position}]"
        if schema.list_type != "atomic":
            try:
                element = item_element(item, schema)
            except Unkeyed as error:
                found.append(f"{path}: element {position}: {error}")
                continue
            step = fieldset.element_text(element)
            if element in seen:
                found.append(f"{path}: duplicate entries for key {step}")
            seen.add(element)
        found.extend(problems(item, schema.items, path + step))
    return found


def _shown(value: Any) -> str:
    return "&{" + str(value) + "}"
