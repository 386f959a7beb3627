"""The verbs update and update_sandbox: new limits for what is there."""

import dataclasses

from pinnace.engine import interface, machine, sandboxes


async def update(here: machine.Machine, container_id: str, resources: interface.Resources) -> interface.Container:
    record = here.find(container_id)
    async with here.live(record.id).lock:
        record = here.find(record.id)
        if not record.status.is_alive:
            raise interface.WrongStatus(f"container {record.spec.name} is not running", record.status)
        used = here.cgroups.figures(record.cgroup).memory_usage_bytes
        if resources.memory_bytes and resources.memory_bytes < used:
            # The kernel would kill for it (v2) or refuse (v1).
            raise interface.EngineError(
                f"attempting to set memory limit ({resources.memory_bytes}) below current usage ({used})"
            )
        _apply(here, record.cgroup, record.spec.resources, resources)
        kept = dataclasses.replace(resources, oom_score_adj=record.spec.resources.oom_score_adj)
        record = here.store(dataclasses.replace(record, spec=dataclasses.replace(record.spec, resources=kept)))
    return record.container()


def update_sandbox(here: machine.Machine, sandbox_id: str, resources: interface.Resources) -> interface.Sandbox:
    record = here.sandboxes.get(sandbox_id)
    if record is None:
        raise interface.NoSuchObject(f"no such sandbox: {sandbox_id}")
    _apply(here, record.cgroup, record.spec.resources or interface.Resources(), resources)
    record = dataclasses.replace(record, spec=dataclasses.replace(record.spec, resources=resources))
    here.store_sandbox(record)
    return sandboxes.describe(here, record)


def _apply(here: machine.Machine, cgroup: str, before: interface.Resources, after: interface.Resources) -> None:
    """Raises EngineError; what was already changed is set back then."""
    old, new = sandboxes.limits(before), sandboxes.limits(after)
    try:
        here.cgroups.change(cgroup, old, new, limits_swap=here.abilities.can_limit_swap)
    except OSError as error:
        raise interface.EngineError(f"cannot set limits: {error}") from error
