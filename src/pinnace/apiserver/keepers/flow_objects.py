"""Keeps the objects of priority and fairness as clients expect them: the mandatory ones there, each flow schema told whether
the priority level that it names exists (its condition `Dangling`)."""

import asyncio
import datetime
from typing import Any

from pinnace.api import conditions, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver.bootstrap import flow_table, writer
from pinnace.apiserver.storage import envelope, objects
from pinnace.kit import clock

Object = dict[str, Any]

DANGLING = "Dangling"
_SETTLE_SECONDS = 1.0


def restored(found: Object, default: Object) -> Object | None:
    """`found` with the default's spec; None when it has it already, or wants to be left alone."""
    metadata = found["metadata"]
    name, spec = metadata["name"], default["spec"]
    if name in flow_table.MANDATORY:
        if spec.get("type") == "Exempt":
            # How much others may borrow from it is an administrator's to say.
            spec = {**spec, "exempt": found["spec"].get("exempt", spec["exempt"])}
    elif (metadata.get("annotations") or {}).get(flow_table.AUTO_UPDATE) != "true":
        return None
    return None if found["spec"] == spec else {**found, "spec": spec}


def with_dangling(schema: Object, levels: frozenset[str], now: datetime.datetime) -> Object | None:
    """`schema` with a true condition; None when it has that already."""
    name = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name", "")
    refers = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    if name in levels:
        wanted = {"status": "False", "reason": "Found", "message": f"{refers} and it exists"}
    else:
        wanted = {"status": "True", "reason": "NotFound", "message": f"{refers} but there is no such object"}
    status = schema.get("status") or {}
    present: Object = conditions.find(status.get("conditions"), DANGLING) or {}
    if wanted.items() <= present.items():
        return None
    made = conditions.with_condition(status.get("conditions"), {"type": DANGLING, **wanted}, clock.rfc3339(now))
    return {**schema, "status": {**status, "conditions": made}}


class FlowObjects:
    def __init__(self, services: contexts.Services) -> None:
        self._services = services
        self._writes = writer.Writer(services)

    async def follow(self, resource: resources.Resource) -> None:
        """Keep them whenever an object of `resource` changes, for ever. Raises when history is gone: to be started again."""
        stored = self._services.objects
        revision = stored.revision
        await self.keep()
        async with stored.watch(stored.kind(resource), "", revision) as watch:
            async for batch in watch:
                if all(event.record is not None and event.previous is not None for event in batch):
                    # Somebody is changing one of them, perhaps its status: their next write should not find ours in between.
                    await self._services.clock.sleep(_SETTLE_SECONDS)
                await self.keep()

    async def keep(self) -> None:
        for resource, wanted in (
            *((resources.PRIORITY_LEVELS, made) for made in flow_table.levels()),
            *((resources.FLOW_SCHEMAS, made) for made in flow_table.schemas()),
        ):
            if wanted["metadata"]["name"] in flow_table.MANDATORY:
                await self._writes.create(resource, wanted)
        stored = self._services.objects
        levels = frozenset(level["metadata"]["name"] for level in stored.all(resources.PRIORITY_LEVELS))
        await asyncio.gather(*(self._judge(record, levels) for record in stored.records(resources.FLOW_SCHEMAS)))

    async def _judge(self, record: objects.Stored, levels: frozenset[str]) -> None:
        changed = with_dangling(envelope.parse(record), levels, self._services.clock.now())
        if changed is None:
            return
        stored = self._services.objects
        try:
            await stored.replace(stored.kind(resources.FLOW_SCHEMAS), record, changed)
        except objects.Overtaken:
            # Somebody else changed it: that change wakes this again.
            return
