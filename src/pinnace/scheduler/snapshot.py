"""The cluster as columns: one row for each node, numpy arrays over all rows. No I/O, no clock.

Fed by the informers' events and by the scheduler's own assumptions; read by filters and scores. Every change is noted in a
log of rows, so that what was computed for a class of pods can be brought up to date row by row (`changes_since`).
"""

import dataclasses
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pinnace.api import labels as api_labels
from pinnace.api import selectors
from pinnace.scheduler import nodeselector, pods

K = TypeVar("K")

Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Rows = slice | npt.NDArray[np.intp]
"""Which rows to look at: an index into any of the arrays."""
ALL: Rows = slice(None)

CPU, MEMORY, EPHEMERAL, PODS = range(4)
FIRST_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")
KEPT_CHANGES = 20_000
KEPT_COUNTERS = 64


@dataclasses.dataclass(slots=True, eq=False)
class Group:
    """Pods with the same namespace and labels: label selectors are decided once for all of them."""

    namespace: str
    labels: Mapping[str, str]
    rows: Counter[int] = dataclasses.field(default_factory=Counter)
    """How many of them each row has."""
    terminating: Counter[int] = dataclasses.field(default_factory=Counter)
    """Of these, how many are being deleted."""


@dataclasses.dataclass(slots=True, eq=False)
class TermUse:
    """Pods that are placed and bear the same term of pod affinity or anti-affinity."""

    term: pods.PodTerm
    kind: str
    """`affinity`, `anti-affinity` or `preferred`."""
    rows: Counter[int] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(slots=True, eq=False)
class Counting:
    """How many pods of some kind each row has."""

    matches: Callable[[str, Mapping[str, str]], bool]
    """(namespace, labels)"""
    with_terminating: bool
    rows: Integers | None = None


class Snapshot:
    def __init__(self) -> None:
        self.names: list[str] = []
        """By row; "": the row is free."""
        self.row_of: dict[str, int] = {}
        self.resource_names: list[str] = list(FIRST_RESOURCES)
        self.allocatable: Integers = np.zeros((0, len(FIRST_RESOURCES)), dtype=np.int64)
        self.requested: Integers = np.zeros((0, len(FIRST_RESOURCES)), dtype=np.int64)
        self.scored: Integers = np.zeros((0, 2), dtype=np.int64)
        """cpu and memory as they count for scores: containers without requests count as something."""
        self.is_node: Mask = np.zeros(0, dtype=np.bool_)
        self.is_unschedulable: Mask = np.zeros(0, dtype=np.bool_)
        self.taint_ids: npt.NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self.taint_sets: list[tuple[pods.Taint, ...]] = [()]
        self.ports: dict[tuple[str, int], dict[int, Counter[str]]] = {}
        """(protocol, port) -> row -> how often each address is used."""
        self.images: dict[str, dict[int, int]] = {}
        """name -> row -> size in bytes."""
        self.placed: dict[str, tuple[pods.Pod, int]] = {}
        """By uid: pods on nodes, assumed ones included."""
        self.on_row: list[dict[str, pods.Pod]] = []
        self.groups: dict[tuple[str, tuple[tuple[str, str], ...]], Group] = {}
        self.term_uses: dict[tuple[str, pods.PodTerm], TermUse] = {}
        self.namespace_labels: dict[str, Mapping[str, str]] = {}
        self.priorities: Counter[int] = Counter()
        """How many placed pods have each."""
        self.claims_in_use: Counter[tuple[str, str]] = Counter()
        """(namespace, name) of persistent volume claims -> pods that use them."""
        self.version = 0
        self.layout_version = 0
        """Grows when nodes come, go or change: everything computed before is void."""
        self.terms_version = 0
        """Grows when a term of pod affinity comes into use or falls out of it: who cares about whom may have changed."""
        self._changes: list[int] = []
        self._labels: list[Mapping[str, str]] = []
        self._columns: dict[str, nodeselector.LabelColumn] = {}
        self._reserved_ports: dict[int, frozenset[int]] = {}
        self._free: list[int] = []
        self._counters: OrderedDict[Hashable, Counting] = OrderedDict()
        self._unplaced: dict[str, dict[str, pods.Pod]] = {}

    @property
    def size(self) -> int:
        """Rows, free ones included."""
        return len(self.names)

    @property
    def node_count(self) -> int:
        return len(self.row_of)

    def rows(self, selected: Rows) -> Iterable[int]:
        return range(*selected.indices(self.size)) if isinstance(selected, slice) else map(int, selected)

    # Nodes

    def put_node(self, node: pods.Object) -> None:
        """A node that is new or has changed."""
        name = node["metadata"]["name"]
        row = self.row_of.get(name)
        if row is None:
            row = self._take_row(name)
        spec, status = node.get("spec", {}), node.get("status", {})
        amounts = {key: pods.amount(key, text) for key, text in (status.get("allocatable") or {}).items()}
        for resource in amounts:
            self._resource_column(resource)
        self.allocatable[row] = [amounts.get(resource, 0) for resource in self.resource_names]
        self.is_unschedulable[row] = bool(spec.get("unschedulable"))
        self.taint_ids[row] = self._intern_taints(spec.get("taints") or ())
        self._labels[row] = node["metadata"].get("labels") or {}
        self._put_images(row, status.get("images") or ())
        self._reserve_ports(row, api_labels.reserved_host_ports(node))
        self._columns.clear()
        self._note_layout()
        for pod in tuple(self._unplaced.pop(name, {}).values()):
            self.put_pod(pod)

    def remove_node(self, name: str) -> None:
        row = self.row_of.get(name)
        if row is None:
            return
        for pod in tuple(self.on_row[row].values()):
            self.remove_pod(pod.uid)
            self._unplaced.setdefault(name, {})[pod.uid] = pod
        del self.row_of[name]
        self.names[row] = ""
        self.is_node[row] = False
        self._labels[row] = {}
        self._put_images(row, ())
        self._reserve_ports(row, frozenset())
        self._columns.clear()
        self._free.append(row)
        self._note_layout()

    def _reserve_ports(self, row: int, ports: frozenset[int]) -> None:
        """Those of the node's own servers count like those of pods."""
        before = self._reserved_ports.pop(row, frozenset())
        for port in before ^ ports:
            uses = self.ports.setdefault(("TCP", port), {}).setdefault(row, Counter())
            _count_in(uses, "0.0.0.0", 1 if port in ports else -1)  # noqa: S104 - counted, not bound
        if ports:
            self._reserved_ports[row] = ports

    def column(self, key: str) -> nodeselector.LabelColumn:
        """The label `key` of all rows."""
        if key not in self._columns:
            self._columns[key] = _column([labels.get(key) for labels in self._labels])
        return self._columns[key]

    def name_column(self) -> nodeselector.LabelColumn:
        # No label is called like this.
        key = "/name"
        if key not in self._columns:
            self._columns[key] = _column([name or None for name in self.names])
        return self._columns[key]

    def node_mask(self, selector: nodeselector.NodeSelector) -> Mask:
        return selector.mask(self.column, self.name_column())

    # Pods

    def put_pod(self, pod: pods.Pod) -> None:
        """A pod that is on the node that it names: new, changed, or assumed to be there."""
        self.place(pod, pod.node_name)

    def place(self, pod: pods.Pod, node: str) -> None:
        self.remove_pod(pod.uid)
        row = self.row_of.get(node)
        if row is None:
            self._unplaced.setdefault(node, {})[pod.uid] = pod
            return
        self.placed[pod.uid] = (pod, row)
        self.on_row[row][pod.uid] = pod
        self._count(pod, row, 1)

    def replace_object(self, pod: pods.Pod) -> None:
        """A newer object of a placed pod, with which nothing counts differently."""
        _, row = self.placed[pod.uid]
        self.placed[pod.uid] = (pod, row)
        self.on_row[row][pod.uid] = pod

    def remove_pod(self, uid: str) -> None:
        for waiting in self._unplaced.values():
            waiting.pop(uid, None)
        found = self.placed.pop(uid, None)
        if found is None:
            return
        pod, row = found
        del self.on_row[row][uid]
        self._count(pod, row, -1)

    def _count(self, pod: pods.Pod, row: int, sign: int) -> None:
        demand = pod.demand
        for name, amount in demand.requests.items():
            self.requested[row, self._resource_column(name)] += sign * amount
        self.requested[row, PODS] += sign
        self.scored[row, 0] += sign * demand.scored_cpu
        self.scored[row, 1] += sign * demand.scored_memory
        for port in demand.host_ports:
            _count_in(self.ports.setdefault((port.protocol, port.port), {}).setdefault(row, Counter()), port.ip, sign)
        _count_in(self.priorities, demand.priority, sign)
        for claim in demand.claims:
            _count_in(self.claims_in_use, (demand.namespace, claim), sign)
        self._count_group(pod, row, sign)
        for kind, terms in (
            ("affinity", demand.affinity),
            ("anti-affinity", demand.anti_affinity),
            ("preferred", demand.preferred_pods),
        ):
            for term in terms:
                self._count_term(kind, term, row, sign)
        self._note_row(row)

    def _count_term(self, kind: str, term: pods.PodTerm, row: int, sign: int) -> None:
        use = self.term_uses.get((kind, term))
        if use is None:
            use = self.term_uses[kind, term] = TermUse(term, kind)
            self.terms_version += 1
        _count_in(use.rows, row, sign)
        if not use.rows:
            del self.term_uses[kind, term]
            self.terms_version += 1

    def _count_group(self, pod: pods.Pod, row: int, sign: int) -> None:
        demand = pod.demand
        key = (demand.namespace, tuple(sorted(demand.labels.items())))
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(demand.namespace, demand.labels)
        _count_in(group.rows, row, sign)
        if pod.is_terminating:
            _count_in(group.terminating, row, sign)
        if not group.rows:
            del self.groups[key]
        for counter in self._counters.values():
            is_counted = counter.with_terminating or not pod.is_terminating
            if is_counted and counter.rows is not None and counter.matches(demand.namespace, demand.labels):
                counter.rows[row] += sign

    def count_matching(self, namespace: str, selector: selectors.LabelSelector) -> Integers:
        """For each row, how many pods of `namespace` that are not being deleted `selector` matches. Not to be changed."""
        counter = self._counters.get((namespace, selector))
        if counter is None:
            counter = Counting(
                lambda other, labels: other == namespace and selector.matches(labels), with_terminating=False
            )
        return self._counted((namespace, selector), counter)

    def count_meant(self, term: pods.PodTerm) -> Integers:
        """For each row, how many pods the term means. Not to be changed."""
        counter = self._counters.get(term)
        if counter is None:
            counter = Counting(lambda other, labels: self.is_meant(term, other, labels), with_terminating=True)
        return self._counted(term, counter)

    def _counted(self, key: Hashable, counter: Counting) -> Integers:
        """`counter`, kept up to date from now on as long as it is asked for now and then."""
        if counter.rows is None:
            counter.rows = np.zeros(self.size, dtype=np.int64)
            for group in self.groups.values():
                if counter.matches(group.namespace, group.labels):
                    add_counts(counter.rows, group.rows, 1)
                    if not counter.with_terminating:
                        add_counts(counter.rows, group.terminating, -1)
        self._counters[key] = counter
        self._counters.move_to_end(key)
        if len(self._counters) > KEPT_COUNTERS:
            self._counters.popitem(last=False)
        return counter.rows

    def is_meant(self, term: pods.PodTerm, namespace: str, labels: Mapping[str, str]) -> bool:
        return term.matches(namespace, self.namespace_labels.get(namespace, {}), labels)

    # What changed

    def changes_since(self, version: int) -> Rows | None:
        """The rows whose pods changed after `version`; None: too many to tell."""
        missed = self.version - version
        if missed > len(self._changes):
            return None
        # Not numpy.unique, which loads several megabytes of numpy.ma at its first call.
        changed = set(self._changes[-missed:]) if missed else set()
        if len(changed) == 1:
            # The usual case: a view costs less than a copy.
            [row] = changed
            return slice(row, row + 1)
        return np.array(sorted(changed), dtype=np.intp)

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """None: it is gone."""
        if labels is None:
            self.namespace_labels.pop(name, None)
        elif self.namespace_labels.get(name) != labels:
            self.namespace_labels[name] = labels
            self._counters.clear()
            self._note_layout()

    def note_everything(self) -> None:
        """Something outside of the columns that decisions depend on has changed."""
        self._note_layout()

    def _note_row(self, row: int) -> None:
        self.version += 1
        self._changes.append(row)
        if len(self._changes) > 2 * KEPT_CHANGES:
            del self._changes[:KEPT_CHANGES]

    def _note_layout(self) -> None:
        self.layout_version += 1

    # Rows and columns

    def _take_row(self, name: str) -> int:
        if self._free:
            row = self._free.pop()
        else:
            row = len(self.names)
            self.names.append("")
            self._labels.append({})
            self.on_row.append({})
            self._counters.clear()
            self._grow(row + 1)
        self.names[row] = name
        self.row_of[name] = row
        self.is_node[row] = True
        return row

    def _grow(self, rows: int) -> None:
        """The arrays are views of larger ones, which double: adding nodes one by one stays cheap."""
        for field in ("allocatable", "requested", "scored", "is_node", "is_unschedulable", "taint_ids"):
            array = getattr(self, field)
            whole = array if array.base is None else array.base
            if len(whole) < rows:
                whole = np.zeros((max(16, 2 * rows), *array.shape[1:]), dtype=array.dtype)
                whole[: len(array)] = array
            setattr(self, field, whole[:rows])

    def _resource_column(self, name: str) -> int:
        if name in FIRST_RESOURCES:
            return FIRST_RESOURCES.index(name)
        if name not in self.resource_names:
            self.resource_names.append(name)
            extra = np.zeros((self.size, 1), dtype=np.int64)
            self.allocatable = np.hstack((self.allocatable, extra))
            self.requested = np.hstack((self.requested, extra))
        return self.resource_names.index(name)

    def _intern_taints(self, taints: Sequence[Mapping[str, str]]) -> int:
        made = tuple(pods.Taint(t["key"], t.get("value") or "", t["effect"]) for t in taints)
        if made not in self.taint_sets:
            self.taint_sets.append(made)
        return self.taint_sets.index(made)

    def _put_images(self, row: int, images: Sequence[Mapping[str, Any]]) -> None:
        for sizes in self.images.values():
            sizes.pop(row, None)
        for image in images:
            for name in image.get("names") or ():
                self.images.setdefault(name, {})[row] = int(image.get("sizeBytes") or 0)


def add_counts(counts: npt.NDArray[np.int64], rows: Mapping[int, int], factor: int) -> None:
    """`counts[row] += factor * rows[row]`."""
    if rows:
        at = np.fromiter(rows.keys(), dtype=np.intp, count=len(rows))
        counts[at] += factor * np.fromiter(rows.values(), dtype=np.int64, count=len(rows))


def _column(values: Sequence[str | None]) -> nodeselector.LabelColumn:
    ids: dict[str | None, int] = {None: 0}
    numbers = np.fromiter((ids.setdefault(value, len(ids)) for value in values), dtype=np.int32, count=len(values))
    return nodeselector.LabelColumn(numbers, tuple(ids))


def _count_in(counter: "Counter[K]", key: K, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]
