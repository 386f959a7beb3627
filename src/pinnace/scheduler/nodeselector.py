"""Node selectors and node affinity: parsed once, then evaluated over all nodes at a time. Pure.

A requirement looks at one label of every node. Nodes are rows: `LabelColumn` gives each row a small number for its value, so a
requirement is decided once for each distinct value and looked up for each row.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
NAME_FIELD = "metadata.name"


@dataclasses.dataclass(frozen=True, slots=True)
class LabelColumn:
    """One label of all nodes: `ids[row]` is the position in `values`; 0 is `values[0]`, None: the label is missing."""

    ids: npt.NDArray[np.int32]
    values: tuple[str | None, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str
    values: tuple[str, ...]

    def holds(self, value: str | None) -> bool:
        """For a node whose label (or name) is `value`; None: it has no such label."""
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
        raise ValueError(f"unknown node selector operator {self.operator!r}")

    def _compares(self, value: str | None) -> bool:
        try:
            left, right = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return left > right if self.operator == "Gt" else left < right


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """All requirements must hold; a term without any matches no node."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSelector:
    all_of: tuple[Requirement, ...]
    """The pod's `nodeSelector`: must hold beside the terms."""
    any_of: tuple[Term, ...] | None
    """None: there is no such restriction."""

    def mask(self, column: Callable[[str], LabelColumn], names: LabelColumn) -> Mask:
        """For each row, whether the node matches. `column` gives a label's column, `names` that of the nodes' names."""
        result = np.ones(len(names.ids), dtype=np.bool_)
        for requirement in self.all_of:
            result &= _rows(requirement, column(requirement.key))
        if self.any_of is not None:
            terms = np.zeros(len(names.ids), dtype=np.bool_)
            for term in self.any_of:
                terms |= _term_rows(term, column, names)
            result &= terms
        return result

    def pinned_names(self) -> frozenset[str] | None:
        """The only nodes that can match, when every term names its nodes (as those of a DaemonSet's pods do); else None."""
        if not self.any_of:
            return None
        pinned: set[str] = set()
        for term in self.any_of:
            named = [set(field.values) for field in term.fields if field.operator == "In"]
            if not named:
                return None
            pinned |= set.intersection(*named)
        return frozenset(pinned)


def required(labels: Mapping[str, str], affinity: Mapping[str, Any] | None) -> NodeSelector | None:
    """From a pod's `nodeSelector` and required node affinity; None: any node will do."""
    if not labels and affinity is None:
        return None
    all_of = tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items()))
    return NodeSelector(all_of, None if affinity is None else parse_terms(affinity))


def parse_terms(selector: Mapping[str, Any]) -> tuple[Term, ...]:
    """A core/v1 NodeSelector."""
    return tuple(_term(term) for term in selector.get("nodeSelectorTerms") or ())


def parse_term(preference: Mapping[str, Any]) -> NodeSelector:
    """One core/v1 NodeSelectorTerm."""
    return NodeSelector((), (_term(preference),))


def _term(term: Mapping[str, Any]) -> Term:
    return Term(_requirements(term.get("matchExpressions")), _requirements(term.get("matchFields")))


def _requirements(expressions: Sequence[Mapping[str, Any]] | None) -> tuple[Requirement, ...]:
    return tuple(Requirement(e["key"], e["operator"], tuple(e.get("values") or ())) for e in expressions or ())


def _term_rows(term: Term, column: Callable[[str], LabelColumn], names: LabelColumn) -> Mask:
    result = np.full(len(names.ids), bool(term.labels or term.fields))
    for requirement in term.labels:
        result &= _rows(requirement, column(requirement.key))
    for field in term.fields:
        result &= _rows(field, names) if field.key == NAME_FIELD else False
    return result


def _rows(requirement: Requirement, column: LabelColumn) -> Mask:
    table = np.fromiter((requirement.holds(value) for value in column.values), dtype=np.bool_, count=len(column.values))
    result: Mask = table[column.ids]
    return result
