"""Moves of processes between control groups, prepared so that they do not wait.

The first move after a pause takes the kernel's cgroup_threadgroup_rwsem for writing, which waits for a grace period of RCU: some 10 ms. Moves
that follow within about as long are free (kernel/rcu/sync.c keeps the slow path of the readers until another grace period has passed). Whoever
knows that a container is about to be created lets that wait pass beside its other work.
"""

import contextlib
import os
import pathlib
from collections.abc import Mapping

from pinnace.kernel import cgroups


def prepare(layout: cgroups.Layout) -> None:
    """Move this process to where it is: nothing changes but the state of the lock. Blocks for the grace period; quiet when it cannot."""
    own_groups = read_own_groups()
    for controller, root in layout.roots.items():
        group = own_groups.get(controller)
        if group is None:
            continue
        with contextlib.suppress(OSError):
            (root / group.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
            return


def read_own_groups(text: str | None = None) -> Mapping[str, str]:
    """Controller ("" for v2) -> path of this process's group, from /proc/self/cgroup (cgroups(7))."""
    found: dict[str, str] = {}
    for line in (pathlib.Path("/proc/self/cgroup").read_text() if text is None else text).splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.replace("name=", "").split(","), path))
    return found
