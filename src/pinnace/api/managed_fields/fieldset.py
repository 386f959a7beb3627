"""Sets of field paths, kept in the very form in which objects carry them (FieldsV1).

A set is a trie of dicts: `{"f:spec": {"f:replicas": {}}}` holds the one path `.spec.replicas`. Keys are path elements:
`f:<field>`, `k:{"name":"web"}` (item of a keyed list), `v:"x"` (item of a set), `i:0`. A node is a member when it is empty
or has the key "."; so `{"f:labels": {".": {}, "f:app": {}}}` holds `.labels` and `.labels.app`. The root is never a
member: `{}` as a whole set is the empty set.

Nothing here changes its arguments; results share nodes with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

FieldSet = dict[str, Any]

MEMBER = "."
LEAF: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    return not node or MEMBER in node


def canonical(fields: FieldSet) -> FieldSet:
    """The same set in the order in which upstream writes it: fields, items by key, values, positions, each kind by its value."""
    if len(fields) > 1:
        return {key: canonical(fields[key]) for key in sorted(fields, key=_order)}
    return {key: canonical(child) for key, child in fields.items()}


def _order(element: str) -> tuple[Any, ...]:
    prefix, _, rest = element.partition(":")
    match prefix:
        case "f":
            return 1, rest.encode()
        case "k":
            keys: Mapping[str, Any] = orjson.loads(rest)
            return 2, [(name.encode(), *_value_order(keys[name])) for name in sorted(keys)]
        case "v":
            return 3, *_value_order(orjson.loads(rest))
        case "i":
            return 4, int(rest)
    return (0,)


def _value_order(value: Any) -> tuple[Any, ...]:
    """Numbers, texts, flags, lists, maps, null: as structured-merge-diff orders them."""
    if isinstance(value, bool):
        return 3, value
    if isinstance(value, (int, float)):
        return 1, value
    if isinstance(value, str):
        return 2, value.encode()
    return 4, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    if not b:
        return a
    merged = dict(a)
    for key, theirs in b.items():
        ours = a.get(key)
        merged[key] = theirs if ours is None else _union_node(ours, theirs)
    return merged


def _union_node(a: FieldSet, b: FieldSet) -> FieldSet:
    if a and b:
        return union(a, b)
    other = a or b
    return other if is_member(other) else {MEMBER: LEAF, **other}


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """The paths of `a` that are not in `b`; what lies below a path of `b` stays."""
    if not b or a.keys().isdisjoint(b):
        return a
    left: FieldSet = {}
    for key, ours in a.items():
        theirs = b.get(key)
        node = ours if theirs is None else _difference_node(ours, theirs)
        if node is not None:
            left[key] = node
    return left


def _difference_node(a: FieldSet, b: FieldSet) -> FieldSet | None:
    stays = is_member(a) and not is_member(b)
    below = difference(_below(a), _below(b))
    if below:
        return {MEMBER: LEAF, **below} if stays else below
    return LEAF if stays else None


def recursive_difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """The paths of `a` that neither are in `b` nor lie below a path of `b`."""
    if not b or a.keys().isdisjoint(b):
        return a
    left: FieldSet = {}
    for key, ours in a.items():
        theirs = b.get(key)
        if theirs is None:
            left[key] = ours
        elif not is_member(theirs):
            below = recursive_difference(_below(ours), theirs)
            if below:
                left[key] = {MEMBER: LEAF, **below} if MEMBER in ours else below
            elif is_member(ours):
                left[key] = LEAF
    return left


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    both: FieldSet = {}
    for key in a.keys() & b.keys():
        node = _intersection_node(a[key], b[key])
        if node is not None:
            both[key] = node
    return both


def _intersection_node(a: FieldSet, b: FieldSet) -> FieldSet | None:
    stays = is_member(a) and is_member(b)
    below = intersection(_below(a), _below(b))
    if below:
        return {MEMBER: LEAF, **below} if stays else below
    return LEAF if stays else None


def _below(node: FieldSet) -> FieldSet:
    return {key: child for key, child in node.items() if key != MEMBER} if MEMBER in node else node


def paths(fields: FieldSet, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member as a sequence of path elements, parents before children, elements in alphabetical order."""
    for key in sorted(fields):
        if key == MEMBER:
            continue
        path = (*above, key)
        if is_member(fields[key]):
            yield path
        yield from paths(fields[key], path)


def has(fields: FieldSet, path: Sequence[str]) -> bool:
    node: FieldSet | None = fields
    for key in path:
        node = node.get(key) if node is not None else None
    return node is not None and bool(path) and is_member(node)


def path_text(path: Sequence[str]) -> str:
    """As conflicts print it: `.spec.containers[name="web"].image`, `.metadata.finalizers[="x"]`."""
    return "".join(map(element_text, path))


def element_text(element: str) -> str:
    prefix, _, rest = element.partition(":")
    match prefix:
        case "f":
            return f".{rest}"
        case "k":
            keys: Mapping[str, Any] = orjson.loads(rest)
            return "[" + ",".join(f"{name}={orjson.dumps(keys[name]).decode()}" for name in sorted(keys)) + "]"
        case "v":
            return f"[={rest}]"
        case _:
            return f"[{rest}]"


def key_element(keys: Sequence[str], values: Sequence[Any]) -> str:
    """`k:{"name":"web"}`; names in alphabetical order."""
    if len(keys) == 1:
        return f'k:{{"{keys[0]}":{orjson.dumps(values[0]).decode()}}}'
    return "k:" + orjson.dumps(dict(zip(keys, values, strict=True)), option=orjson.OPT_SORT_KEYS).decode()


def value_element(value: Any) -> str:
    return "v:" + orjson.dumps(value).decode()


def is_valid(fields: Any) -> bool:
    """Whether `fields` (from a client) has the form described above."""
    if not isinstance(fields, dict):
        return False
    return all(_is_element(key) and is_valid(child) for key, child in fields.items())


def _is_element(key: str) -> bool:
    prefix, colon, rest = key.partition(":")
    if key == MEMBER or (colon and prefix == "f"):
        return True
    if not colon or prefix not in ("k", "v", "i"):
        return False
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, {"k": dict, "i": int}.get(prefix, object))
