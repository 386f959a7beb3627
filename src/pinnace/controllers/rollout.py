"""How many replicas each ReplicaSet of a Deployment shall have. Pure arithmetic on a small picture of them.

The picture (`Revision`) is changed in place by one step at a time and compared with what was there: upstream's rolling.go,
sync.go and util/deployment_util.go.
"""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(slots=True)
class Revision:
    """One ReplicaSet. `replicas` is what is asked of it and what the steps below change."""

    name: str
    replicas: int
    available: int = 0
    created: str = ""
    """Creation time (RFC 3339): older ones give way first."""
    max_replicas: int | None = None
    """Size of the whole Deployment, with surge, when this one was last scaled (an annotation)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    replicas: int
    max_surge: int
    max_unavailable: int


def total(revisions: Sequence[Revision]) -> int:
    return sum(revision.replicas for revision in revisions)


def size_of_new(limits: Limits, revisions: Sequence[Revision], new_replicas: int) -> int:
    """How large the newest may be now: never beyond replicas + surge in all."""
    room = limits.replicas + limits.max_surge - total(revisions)
    if room <= 0:
        return new_replicas
    return new_replicas + min(room, limits.replicas - new_replicas)


def scale_new(limits: Limits, new: Revision, old: Sequence[Revision]) -> bool:
    """The first step of a rolling update. Returns whether something changed."""
    wanted = limits.replicas if new.replicas >= limits.replicas else size_of_new(limits, [*old, new], new.replicas)
    changed = wanted != new.replicas
    new.replicas = wanted
    return changed


def scale_old(limits: Limits, new: Revision, old: Sequence[Revision]) -> bool:
    """The second step: replicas that are not available go first, then as many as availability allows."""
    old = sorted((revision for revision in old if revision.replicas > 0), key=lambda revision: revision.created)
    if not old:
        return False
    min_available = limits.replicas - limits.max_unavailable
    # Replicas of the newest that are not available yet count as lost, so that a broken one never eats up the old ones.
    removable = total([*old, new]) - min_available - (new.replicas - new.available)
    if removable <= 0:
        return False
    removed = _remove_unavailable(old, removable)
    removed += _remove_available(old, sum(revision.available for revision in [*old, new]) - min_available)
    return removed > 0


def _remove_unavailable(old: Sequence[Revision], limit: int) -> int:
    removed = 0
    for revision in old:
        count = min(limit - removed, revision.replicas - revision.available)
        if count > 0:
            revision.replicas -= count
            removed += count
    return removed


def _remove_available(old: Sequence[Revision], limit: int) -> int:
    removed = 0
    for revision in old:
        count = min(limit - removed, revision.replicas)
        if count > 0:
            revision.replicas -= count
            removed += count
    return removed


def scale_proportionally(limits: Limits, new: Revision | None, old: Sequence[Revision], current: int) -> None:
    """The Deployment's size changed amidst a rollout: every active ReplicaSet grows or shrinks by its share.

    `current` is the Deployment's `status.replicas`, for ReplicaSets that carry no annotation."""
    active = [revision for revision in [*old, *([new] if new else [])] if revision.replicas > 0]
    allowed = limits.replicas + limits.max_surge if limits.replicas > 0 else 0
    to_add = allowed - total(active)
    if to_add == 0:
        return
    # By size; of the same size the newer grow first and the older shrink first.
    active.sort(key=lambda revision: revision.created, reverse=to_add > 0)
    active.sort(key=lambda revision: revision.replicas, reverse=True)
    added = 0
    for revision in active:
        share = _share(limits, revision, to_add, added, current)
        revision.replicas += share
        added += share
    active[0].replicas = max(0, active[0].replicas + to_add - added)


def _share(limits: Limits, revision: Revision, to_add: int, added: int, current: int) -> int:
    if to_add == added:
        return 0
    fraction = _fraction(limits, revision, current)
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(limits: Limits, revision: Revision, current: int) -> int:
    if limits.replicas == 0:
        return -revision.replicas
    annotated = revision.max_replicas or current
    if not annotated:
        return 0
    size = revision.replicas * (limits.replicas + limits.max_surge) / annotated
    return math.floor(size + 0.5) - revision.replicas
