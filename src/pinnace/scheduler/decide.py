"""Which node for which pod: filters, then scores, then the best. Pure but for its memory of what it computed before.

A `_Run` remembers the verdicts for one `pods.Demand`. Placing a pod changes one row, so for the next equal pod only that row is looked
at again, unless a plug-in says that its answer may change everywhere.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Sequence

import numpy as np

from pinnace.scheduler import framework, pods, snapshot

KEPT_RUNS = 64


class Decider:
    def __init__(self, profile: framework.Profile, nodes: snapshot.Snapshot, rng: random.Random) -> None:
        self.profile = profile
        self.nodes = nodes
        self._rng = rng
        self._runs: OrderedDict[int, _Run] = OrderedDict()

    def decide(self, pod: pods.Pod, nominated: Sequence[pods.Pod] = ()) -> int | framework.Diagnosis:
        """The row of the best node, or why there is none. `nominated`: pods of at least this priority that were promised room."""
        for plugin in self.profile.pre_filters:
            rejection = plugin.pre_filter(pod.demand, self.nodes)
            if rejection is not None:
                return _rejected(rejection, self.nodes)
        run = self._run(pod.demand)
        feasible = run.feasible()
        promised = self._rows_promised_away(pod, nominated, feasible)
        if promised:
            feasible = feasible.copy()
            feasible[promised] = False
        own = self.nodes.row_of.get(pod.nominated_node)
        if own is not None and feasible[own]:
            return own
        if not feasible.any():
            return run.diagnose()
        total = run.scores(feasible)
        best = np.flatnonzero(total == total.max())
        return int(best[self._rng.randrange(len(best))])

    def _run(self, demand: pods.Demand) -> "_Run":
        run = self._runs.pop(id(demand), None)
        if run is None:
            run = _Run(self.profile, demand, self.nodes)
        self._runs[id(demand)] = run
        if len(self._runs) > KEPT_RUNS:
            self._runs.popitem(last=False)
        run.refresh()
        return run

    def _rows_promised_away(self, pod: pods.Pod, nominated: Sequence[pods.Pod], feasible: snapshot.Mask) -> list[int]:
        """Feasible rows that are not once the pods that are nominated there are."""
        by_row: dict[int, list[pods.Pod]] = {}
        for other in nominated:
            row = self.nodes.row_of.get(other.nominated_node)
            if row is not None and feasible[row] and other.uid != pod.uid and other.uid not in self.nodes.placed:
                by_row.setdefault(row, []).append(other)
        lost = []
        for row, others in by_row.items():
            for other in others:
                self.nodes.place(other, self.nodes.names[row])
            if not fits(self.profile, pod.demand, self.nodes, row):
                lost.append(row)
            for other in others:
                self.nodes.remove_pod(other.uid)
        return lost


def fits(profile: framework.Profile, demand: pods.Demand, nodes: snapshot.Snapshot, row: int) -> bool:
    """Whether every filter takes the pod on that row."""
    rows = slice(row, row + 1)
    return not any(
        failure.rows.any()
        for plugin in profile.filters
        if plugin.is_relevant(demand, nodes)
        for failure in plugin.filter(demand, nodes, rows)
    )


class _Run:
    """Verdicts for all pods of one demand, kept up to date."""

    def __init__(self, profile: framework.Profile, demand: pods.Demand, nodes: snapshot.Snapshot) -> None:
        self._profile = profile
        # Also keeps the demand alive, so that its id stays its own.
        self._demand = demand
        self._nodes = nodes
        self._stamp: tuple[int, int] | None = None
        self._version = 0
        self._diagnosis: tuple[tuple[int, int, int], framework.Diagnosis] | None = None

    def refresh(self) -> None:
        stamp = (self._nodes.layout_version, self._nodes.terms_version)
        changed = self._nodes.changes_since(self._version) if stamp == self._stamp else None
        self._version = self._nodes.version
        if changed is None:
            self._stamp = stamp
            self._build()
        else:
            self._update(changed)

    def feasible(self) -> snapshot.Mask:
        result = self._fixed & self._local
        for plugin in self._global_filters:
            failures = plugin.filter(self._demand, self._nodes, snapshot.ALL)
            result &= ~framework.infeasible(failures, self._nodes.size)
        return result

    def scores(self, feasible: snapshot.Mask) -> framework.Floats:
        """Weighted sums; -1 where the pod does not fit."""
        total = self._base.copy()
        for plugin, raw in self._raw.items():
            total += plugin.weight * plugin.normalize(raw, feasible)
        for plugin in self._global_scores:
            raw = plugin.score(self._demand, self._nodes, snapshot.ALL)
            total += plugin.weight * plugin.normalize(raw, feasible)
        total[~feasible] = -1.0
        return total

    def diagnose(self) -> framework.Diagnosis:
        now = (self._version, *(self._stamp or (0, 0)))
        if self._diagnosis is None or self._diagnosis[0] != now:
            self._diagnosis = (now, diagnose(self._profile, self._demand, self._nodes))
        return self._diagnosis[1]

    def _build(self) -> None:
        demand, nodes, size = self._demand, self._nodes, self._nodes.size
        filters = [plugin for plugin in self._profile.filters if plugin.is_relevant(demand, nodes)]
        scores = [plugin for plugin in self._profile.scores if plugin.is_relevant(demand, nodes)]
        reach = framework.Reach
        self._local_filters = [plugin for plugin in filters if plugin.reach(demand, nodes) is reach.ROW]
        self._global_filters = [plugin for plugin in filters if plugin.reach(demand, nodes) is reach.ALL]
        self._local_scores = [plugin for plugin in scores if plugin.reach(demand, nodes) is reach.ROW]
        self._global_scores = [plugin for plugin in scores if plugin.reach(demand, nodes) is reach.ALL]
        self._fixed = nodes.is_node.copy()
        for plugin in filters:
            if plugin.reach(demand, nodes) is reach.NODE:
                self._fixed &= ~framework.infeasible(plugin.filter(demand, nodes, snapshot.ALL), size)
        self._local = np.ones(size, dtype=np.bool_)
        self._base: framework.Floats = np.zeros(size)
        self._raw: dict[framework.ScorePlugin, framework.Floats] = {}
        fixed_base = np.zeros(size)
        for score in scores:
            if score.reach(demand, nodes) is reach.ALL:
                continue
            if not score.is_normalized:
                self._raw[score] = np.zeros(size)
            if score.reach(demand, nodes) is reach.NODE:
                found = score.score(demand, nodes, snapshot.ALL)
                if score.is_normalized:
                    fixed_base += score.weight * found
                else:
                    self._raw[score] = found
        self._fixed_base = fixed_base
        self._update(snapshot.ALL)

    def _update(self, rows: snapshot.Rows) -> None:
        """Look again at what the pods on `rows` decide."""
        demand, nodes = self._demand, self._nodes
        base = self._fixed_base[rows].copy()
        if not len(base):
            return
        failures = [f for plugin in self._local_filters for f in plugin.filter(demand, nodes, rows)]
        self._local[rows] = ~framework.infeasible(failures, len(base))
        for plugin in self._local_scores:
            found = plugin.score(demand, nodes, rows)
            if plugin.is_normalized:
                base += plugin.weight * found
            else:
                self._raw[plugin][rows] = found
        self._base[rows] = base


def diagnose(profile: framework.Profile, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Diagnosis:
    """Ask every filter of every node; the first that refuses a node gives its reasons."""
    undecided = nodes.is_node.copy()
    resolvable = np.zeros(nodes.size, dtype=np.bool_)
    reasons: Counter[str] = Counter()
    plugins = set()
    for plugin in profile.filters:
        if not plugin.is_relevant(demand, nodes):
            continue
        failures = plugin.filter(demand, nodes, snapshot.ALL)
        refused = framework.infeasible(failures, nodes.size) & undecided
        if not refused.any():
            continue
        plugins.add(plugin.name)
        hopeless = np.zeros(nodes.size, dtype=np.bool_)
        for failure in failures:
            here = failure.rows & undecided
            if here.any():
                reasons[failure.reason] += int(here.sum())
            if not failure.is_resolvable:
                hopeless |= failure.rows
        resolvable |= refused & ~hopeless
        undecided &= ~refused
    return framework.Diagnosis(nodes.node_count, reasons, np.flatnonzero(resolvable), frozenset(plugins))


def _rejected(rejection: framework.Rejection, nodes: snapshot.Snapshot) -> framework.Diagnosis:
    return framework.Diagnosis(
        nodes.node_count,
        Counter(),
        np.zeros(0, dtype=np.intp),
        frozenset((rejection.plugin,)),
        rejection.message,
    )
