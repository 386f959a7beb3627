"""Label selectors and field selectors: parsing and matching. Which fields of a kind can be selected says `selectable`.

Called by list and watch (texts from query parameters), by controllers (`spec.selector`), by the scheduler and by printers.
Error texts are upstream's (apimachinery labels, fields); all are ValueError. Selectors are immutable and hashable.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pinnace.kit import remembered

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)

_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_BINARY_OPERATORS = "in, notin, =, ==, !=, gt, lt"


def too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def qualified_name_errors(name: str) -> list[str]:
    """What is wrong with `name` as a label or annotation key; empty when nothing is."""
    prefix, slash, last = name.rpartition("/")
    errors = []
    if "/" in prefix:
        return [
            f"a qualified name {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if slash:
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            if len(prefix.encode()) > 253:
                errors.append(f"prefix part {too_long(253)}")
            if not _SUBDOMAIN.fullmatch(prefix):
                errors.append(f"prefix part {_SUBDOMAIN_RULE}")
    if not last:
        errors.append("name part must be non-empty")
    elif len(last.encode()) > 63:
        errors.append(f"name part {too_long(63)}")
    if not _NAME.fullmatch(last):
        errors.append(f"name part {_NAME_RULE}")
    return errors


def label_value_errors(text: str) -> list[str]:
    """What is wrong with `text` as the value of a label; empty when nothing is."""
    errors = []
    if len(text.encode()) > 63:
        errors.append(too_long(63))
    if text and not _NAME.fullmatch(text):
        errors.append(_VALUE_RULE)
    return errors


@dataclasses.dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str
    """`=`, `==`, `!=`, `in`, `notin`, `exists`, `!`, `gt`, `lt`."""
    values: tuple[str, ...] = ()
    """Sorted, without doubles."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        has = self.key in labels
        match self.operator:
            case "=" | "==" | "in":
                return has and labels[self.key] in self.values
            case "!=" | "notin":
                return not has or labels[self.key] not in self.values
            case "exists":
                return has
            case "!":
                return not has
            case _:
                return has and self._is_beyond(labels[self.key])

    def _is_beyond(self, label: str) -> bool:
        if not _INTEGER.fullmatch(label):
            return False
        return int(label) > int(self.values[0]) if self.operator == "gt" else int(label) < int(self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclasses.dataclass(frozen=True, slots=True)
class LabelSelector:
    requirements: tuple[Requirement, ...] = ()
    """All must hold; none selects everything."""
    is_nothing: bool = False
    """Selects no object, not even one without labels."""

    @staticmethod
    def parse(text: str) -> "LabelSelector":
        """From kubectl's syntax: `a=b,c!=d,e in (x,y),f notin (z),g,!h,i>1`. Raises ValueError."""
        return _parse_labels(text)

    @property
    def is_everything(self) -> bool:
        return not self.requirements and not self.is_nothing

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.is_nothing:
            return False
        present = labels or {}
        return all(requirement.matches(present) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelSelector()
NOTHING = LabelSelector(is_nothing=True)

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """From a metav1.LabelSelector: None selects nothing, {} everything. Raises ValueError."""
    if selector is None:
        return NOTHING
    labels: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Sequence[Mapping[str, Any]] = selector.get("matchExpressions") or ()
    requirements = [_checked(key, "=", (labels[key],)) for key in sorted(labels)]
    for expression in expressions:
        operator = expression.get("operator", "")
        if operator not in _OPERATORS:
            raise ValueError(f'"{operator}" is not a valid label selector operator')
        requirements.append(
            _checked(expression.get("key", ""), _OPERATORS[operator], tuple(expression.get("values") or ()))
        )
    return LabelSelector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def from_labels(labels: Mapping[str, str] | None) -> LabelSelector:
    """From a plain map, as Services and ReplicationControllers have: no or an empty map selects everything."""
    return LabelSelector(tuple(Requirement(key, "=", (value,)) for key, value in sorted((labels or {}).items())))


def _checked(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    """The requirement, or ValueError with everything that is wrong with it."""
    errors = [f'key: Invalid value: "{key}": {"; ".join(wrong)}'] if (wrong := qualified_name_errors(key)) else []
    shown = "[" + ",".join(f'"{value}"' for value in values) + "]"
    if operator in ("in", "notin") and not values:
        errors.append("values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")
    if operator in ("exists", "!") and values:
        errors.append(f"values: Invalid value: {shown}: values set must be empty for exists and does not exist")
    if operator in ("gt", "lt") and not _INTEGER.fullmatch(values[0]):
        errors.append(
            f"values[0]: Invalid value: \"{values[0]}\": for 'Gt', 'Lt' operators, the value must be an integer"
        )
    for position, text in enumerate(values):
        if wrong := label_value_errors(text):
            errors.append(f'values[{position}][{key}]: Invalid value: "{text}": {"; ".join(wrong)}')
    if errors:
        raise ValueError(errors[0] if len(errors) == 1 else "[" + ", ".join(errors) + "]")
    return Requirement(key, operator, tuple(sorted(set(values))))


@remembered.short(256)
def _parse_labels(text: str) -> LabelSelector:
    return LabelSelector(tuple(sorted(_LabelParser(text).parse(), key=lambda requirement: requirement.key)))


_SYMBOLS = frozenset("=!(),><")
_TOKENS = frozenset(("=", "==", "!=", "!", "(", ")", ",", ">", "<"))
_END = ""


class _LabelParser:
    """Upstream's grammar: `requirement {, requirement}`. A token is its text; the end is the empty text."""

    def __init__(self, text: str) -> None:
        self._tokens = _scan(text)
        self._position = 0

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            word = self._peek()
            if word == _END:
                return found
            if word != "!" and _is_symbol(word):
                raise ValueError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            word = self._next()
            if word == _END:
                return found
            if word != ",":
                raise ValueError(f"found '{word}', expected: ',' or 'end of string'")
            after = self._peek()
            if after == _END or (after != "!" and _is_symbol(after)):
                raise ValueError(f"found '{after}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        word = self._next()
        negated = word == "!"
        key = self._next() if negated else word
        if key == _END or _is_symbol(key):
            raise ValueError(f"found '{key}', expected: identifier")
        if wrong := qualified_name_errors(key):
            raise ValueError(f'<nil>: Invalid value: "{key}": {"; ".join(wrong)}')
        if negated:
            return _checked(key, "!", ())
        if self._peek() in (_END, ","):
            return _checked(key, "exists", ())
        operator = self._next()
        if operator in ("in", "notin"):
            return _checked(key, operator, tuple(sorted(self._values())))
        if operator in ("=", "==", "!="):
            return _checked(key, operator, (self._exact_value(),))
        if operator in (">", "<"):
            return _checked(key, "gt" if operator == ">" else "lt", (self._exact_value(),))
        raise ValueError(f"found '{operator}', expected: {_BINARY_OPERATORS}")

    def _exact_value(self) -> str:
        if self._peek() in (_END, ","):
            return ""
        word = self._next()
        if _is_symbol(word):
            raise ValueError(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> set[str]:
        if (word := self._next()) != "(":
            raise ValueError(f"found '{word}' expected: '('")
        first = self._peek()
        if first == ")":
            self._next()
            return {""}
        if first == _END or (first != "," and _is_symbol(first)):
            raise ValueError(f"found '{first}', expected: ',', ')' or identifier")
        values = self._identifiers()
        if self._next() != ")":
            raise ValueError(f"found '{first}', expected: ')'")
        return values

    def _identifiers(self) -> set[str]:
        values: set[str] = set()
        while True:
            word = self._next()
            if word == ",":
                if not values:
                    values.add("")
                after = self._peek()
                if after == ")":
                    return values | {""}
                if after == ",":
                    self._next()
                    values.add("")
            elif word == _END or _is_symbol(word):
                raise ValueError(f"found '{word}', expected: ',', or identifier")
            else:
                values.add(word)
                after = self._peek()
                if after == ")":
                    return values
                if after != ",":
                    raise ValueError(f"found '{after}', expected: ',' or ')'")

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else _END

    def _next(self) -> str:
        word = self._peek()
        self._position += 1
        return word


def _is_symbol(word: str) -> bool:
    return word[:1] in _SYMBOLS


def _scan(text: str) -> list[str]:
    tokens = []
    position = 0
    while position < len(text):
        character = text[position]
        if character in " \t\r\n":
            position += 1
        elif character in _SYMBOLS:
            width = 2 if text[position : position + 2] in _TOKENS else 1
            tokens.append(text[position : position + width])
            position += width
        else:
            start = position
            while position < len(text) and text[position] not in _SYMBOLS and text[position] not in " \t\r\n":
                position += 1
            tokens.append(text[start:position])
    return tokens


@dataclasses.dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    operator: str
    """`=` or `!=`."""
    value: str


@dataclasses.dataclass(frozen=True, slots=True)
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    @staticmethod
    def parse(text: str) -> "FieldSelector":
        """From `a.b=c,d!=e`; a backslash escapes `\\`, `,` and `=` in values. Raises ValueError."""
        return _parse_fields(text)

    @property
    def is_everything(self) -> bool:
        return not self.requirements

    def matches(self, values: Mapping[str, str]) -> bool:
        """`values` as `selectable.Fields.of` returns them; a field that is not there counts as empty."""
        for requirement in self.requirements:
            equal = values.get(requirement.field, "") == requirement.value
            if equal is not (requirement.operator == "="):
                return False
        return True

    def required_value(self, field: str) -> str | None:
        """The one value that `field` must have; None when several are possible."""
        for requirement in self.requirements:
            if requirement.field == field and requirement.operator == "=":
                return requirement.value
        return None

    def renamed(self, rename: Callable[[str], str]) -> "FieldSelector":
        """The same with the fields' names as `rename` has them."""
        return FieldSelector(tuple(dataclasses.replace(each, field=rename(each.field)) for each in self.requirements))


@remembered.short(256)
def _parse_fields(text: str) -> FieldSelector:
    requirements = []
    for term in sorted(_split_terms(text)):
        if not term:
            continue
        match = re.search(r"!=|==|=", term)
        if match is None:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{term}'")
        operator = "!=" if match.group() == "!=" else "="
        requirements.append(FieldRequirement(term[: match.start()], operator, _unescape(term[match.end() :])))
    return FieldSelector(tuple(requirements))


def _split_terms(text: str) -> list[str]:
    terms = []
    start = 0
    escaped = False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(text[start:position])
            start = position + 1
    terms.append(text[start:])
    return terms


def _unescape(text: str) -> str:
    if not any(character in text for character in "\\,="):
        return text
    characters = []
    escaped = False
    for character in text:
        if escaped:
            if character not in "\\,=":
                raise ValueError(f"invalid field selector: invalid escape sequence: \\{character}")
            characters.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in ",=":
            raise ValueError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            characters.append(character)
    if escaped:
        raise ValueError("invalid field selector: invalid escape sequence: \\")
    return "".join(characters)


def escape(text: str) -> str:
    """`text` as a value inside a field selector."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
