"""The plug-in points of upstream's scheduling framework, over all nodes at a time.

A plug-in is asked for many rows at once and answers with arrays. What it says of a pod it says of every pod with the same
`pods.Demand`, so one answer serves a whole batch; `reach` tells how far the placement of one pod can change its answer.

    class GpuFirst:                       # a user's plug-in
        name = "GpuFirst"
        weight = 5
        is_normalized = False
        def reach(self, demand, snapshot): return framework.Reach.NODE
        def is_relevant(self, demand, snapshot): return True
        def score(self, demand, snapshot, rows): return snapshot.allocatable[rows, GPU] > 0
        def normalize(self, scores, feasible): return scores * 100
"""

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pinnace.scheduler import pods, snapshot

Floats = npt.NDArray[np.float64]
MAX_NODE_SCORE = 100.0


class Reach(enum.IntEnum):
    """Which rows another answer may be due for after a pod was placed on a row."""

    NODE = 0
    """None: the answer depends on the nodes alone."""
    ROW = 1
    """That row."""
    ALL = 2
    """Any row."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """Why some of the rows asked about do not fit."""

    reason: str
    rows: snapshot.Mask
    """Over the rows asked about."""
    is_resolvable: bool = True
    """Removing pods might help (upstream: Unschedulable, not UnschedulableAndUnresolvable)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rejection:
    """No node can take the pod, whatever nodes there are."""

    plugin: str
    message: str


class Plugin(Protocol):
    @property
    def name(self) -> str: ...

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        """False: this plug-in has nothing to say about such pods (upstream: Skip)."""
        ...

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> Reach: ...


class PreFilterPlugin(Protocol):
    @property
    def name(self) -> str: ...

    def pre_filter(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> Rejection | None: ...


class FilterPlugin(Plugin, Protocol):
    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[Failure]: ...


class ScorePlugin(Plugin, Protocol):
    @property
    def weight(self) -> int: ...

    @property
    def is_normalized(self) -> bool:
        """Scores are 0 … 100 as they are; `normalize` is not called."""
        ...

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Floats: ...

    def normalize(self, scores: Floats, feasible: snapshot.Mask) -> Floats:
        """To 0 … 100 over the feasible rows."""
        ...


class BindingPlugin(Protocol):
    """What has to happen between the decision and the binding (upstream: Reserve and PreBind)."""

    @property
    def name(self) -> str: ...

    def reserve(self, pod: pods.Pod, row: int) -> bool:
        """The pod is about to go to that row: note what it takes there. True: `pre_bind` has something to do."""
        ...

    def unreserve(self, pod: pods.Pod) -> None:
        """It does not go there after all, or is bound: forget the note. Must not mind a pod that it never saw."""
        ...

    async def pre_bind(self, pod: pods.Pod, node_name: str) -> None:
        """What must be done before the pod is bound, waiting included. Raises `PreBindFailed`."""
        ...


class PreBindFailed(Exception):
    """The pod cannot be bound to that node now; it goes back to the queue."""


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """The plug-ins of a scheduler, in the order in which they are asked."""

    pre_filters: tuple[PreFilterPlugin, ...]
    filters: tuple[FilterPlugin, ...]
    scores: tuple[ScorePlugin, ...]
    bindings: tuple[BindingPlugin, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a pod fits nowhere."""

    node_count: int
    reasons: Counter[str]
    """How many nodes have each reason; the first plug-in that refuses a node speaks for it, perhaps with several reasons."""
    resolvable_rows: npt.NDArray[np.intp]
    """Rows where removing pods might help."""
    plugins: frozenset[str]
    """Who refused: events that these care about make another try worthwhile."""
    rejection: str = ""
    """No node was looked at: why."""

    def message(self, tail: str = "") -> str:
        """As upstream's FitError prints it; `tail` is what PostFilter had to say."""
        if not self.node_count:
            return "no nodes available to schedule pods"
        text = f"0/{self.node_count} nodes are available"
        shown = self.rejection or ", ".join(sorted(f"{count} {reason}" for reason, count in self.reasons.items()))
        if shown:
            text += f": {shown}."
        return f"{text} {tail}" if tail else text


def infeasible(failures: Iterable[Failure], size: int) -> snapshot.Mask:
    """The rows that any of the failures names."""
    result = np.zeros(size, dtype=np.bool_)
    for failure in failures:
        result |= failure.rows
    return result


def normalize_to_max(scores: Floats, feasible: snapshot.Mask, *, reverse: bool = False) -> Floats:
    """Scaled so that the highest of the feasible rows gets 100; with `reverse`, the lowest is the best."""
    highest = scores[feasible].max(initial=0.0)
    if highest <= 0:
        return np.full(len(scores), MAX_NODE_SCORE if reverse else 0.0)
    scaled: Floats = np.floor(scores * MAX_NODE_SCORE / highest)
    return MAX_NODE_SCORE - scaled if reverse else scaled
