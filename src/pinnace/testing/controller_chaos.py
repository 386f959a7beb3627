"""Controllers under hostile conditions, seeded: they die between their writes, their answers get lost after the act, they see changes
late, each resource by itself. And a witness who sees every change at once and says what must never be.

    chaos = Chaos(plane, random.Random(7))
    async with chaos.running(): ...
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import control_plane
from pinnace.web import messages

Object = dict[str, Any]

LATEST_SECONDS = 4.0


@dataclasses.dataclass(frozen=True, slots=True)
class Odds:
    """Per write, and for the watches of one life of the controllers."""

    crash: float = 0.04
    lost_answer: float = 0.06
    refusal: float = 0.05
    late_watch: float = 0.8


class Chaos:
    def __init__(self, plane: control_plane.ControlPlane, rng: random.Random, odds: Odds | None = None) -> None:
        self.crashes = 0
        self.lost = 0
        self._plane = plane
        self._rng = rng
        self._odds = odds or Odds()
        self._ends = asyncio.Event()
        self._is_calm = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside, faults; on leaving they stop."""
        plane = self._plane
        plane.fault, plane.after, plane.on_answer = self._before, self._after, self._late
        # Those watches that run already are in time.
        self._ends.set()
        restarting = asyncio.create_task(self._restart())
        try:
            yield
        finally:
            self._is_calm = True
            restarting.cancel()
            await asyncio.gather(restarting, return_exceptions=True)

    async def _restart(self) -> None:
        while True:
            await self._ends.wait()
            self._ends.clear()
            await self._plane.stop_controllers()
            await asyncio.sleep(self._rng.uniform(0, 3))
            self._plane.start_controllers()

    def _strikes(self, request: messages.Request, chance: float) -> bool:
        return not self._is_calm and is_write(request) and self._rng.random() < chance

    def _before(self, request: messages.Request) -> None:
        if self._strikes(request, self._odds.crash / 2):
            self._crash()
        if self._strikes(request, self._odds.refusal):
            raise client.unavailable("nothing was done")

    def _after(self, request: messages.Request) -> None:
        if self._strikes(request, self._odds.crash / 2):
            self._crash()
        if self._strikes(request, self._odds.lost_answer):
            self.lost += 1
            raise client.unavailable("it was done, but who can tell")

    def _crash(self) -> None:
        self.crashes += 1
        asyncio.get_running_loop().call_soon(self._ends.set)
        raise client.unavailable("the process is gone")

    def _late(self, request: messages.Request, answer: messages.Answer) -> messages.Answer:
        if not isinstance(answer, messages.Response) or "watch=true" not in request.query or answer.status != 200:
            return answer
        if self._rng.random() >= self._odds.late_watch:
            return answer
        assert answer.objects is not None
        return dataclasses.replace(answer, objects=self._delayed(answer.objects))

    async def _delayed(self, batches: messages.Objects) -> messages.Objects:
        """In order, each batch late by a time of its own."""
        async with contextlib.aclosing(batches):
            async for batch in batches:
                await asyncio.sleep(0 if self._is_calm else self._rng.uniform(0, LATEST_SECONDS))
                yield batch


def is_write(request: messages.Request) -> bool:
    return request.method != "GET" and "/events" not in request.path


class Witness:
    """Looks at pods, Jobs and StatefulSets after every change, through a watch without delay, and keeps what it finds wrong."""

    def __init__(self, plane: control_plane.ControlPlane) -> None:
        self.wrong: list[str] = []
        self._plane = plane
        self._pods: dict[str, Object] = {}
        self._jobs: dict[str, Object] = {}
        self._succeeded: dict[str, int] = {}
        self._done: dict[str, set[str]] = {}
        self.starts: list[tuple[str, str]] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for resource, see in ((resources.PODS, self._see_pod), (resources.JOBS, self._see_job)):
                group.create_task(self._follow(resource, see))

    async def _follow(self, resource: resources.Resource, see: Any) -> None:
        listed = await self._plane.admin.list(resource)
        version = listed.resource_version
        while True:
            async for event in self._plane.admin.watch(resource, resource_version=version):
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    see(event.type, event.object)

    def _see_pod(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._pods.pop(uid, None)
            return
        is_new = uid not in self._pods
        self._pods[uid] = pod
        if is_new:
            self._judge_identity(pod)
        job = owner(pod, "Job")
        if job and pod["status"].get("phase") == "Succeeded":
            self._done.setdefault(job, set()).add(uid)
        if is_new and job:
            self._judge_start(pod, job)

    def _judge_identity(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        same = [each for each in self._pods.values() if each["metadata"]["name"] == name]
        if len(same) > 1:
            self.wrong.append(f"identity {name} exists {len(same)} times")

    def _judge_start(self, pod: Object, job: str) -> None:
        """A pod of a Job begins: those that run and those that succeeded are no more than were asked for."""
        known = self._jobs.get(job)
        if known is None:
            return
        spec = known["spec"]
        pods = [each for each in self._pods.values() if owner(each, "Job") == job]
        active = [each for each in pods if is_active(each)]
        completions, done = spec.get("completions"), self._done.get(job, set())
        if len(active) > spec["parallelism"]:
            self.wrong.append(f"{job}: {len(active)} pods run at once, {spec['parallelism']} are allowed")
        if completions is not None and len(done) + len(active) > completions:
            self.wrong.append(f"{job}: {len(done)} succeeded and {len(active)} run, {completions} are wanted")
        if spec.get("completionMode") == "Indexed":
            index = index_of(pod)
            twice = [each for each in pods if index_of(each) == index and (is_active(each) or uid_of(each) in done)]
            if len(twice) > 1:
                self.wrong.append(f"{job}: index {index} is run {len(twice)} times")

    def _see_job(self, kind: str, job: Object) -> None:
        name = job["metadata"]["name"]
        if kind == "DELETED":
            self._jobs.pop(name, None)
            return
        self._jobs[name] = job
        status, completions = job.get("status") or {}, job["spec"].get("completions")
        succeeded = status.get("succeeded", 0)
        if succeeded < self._succeeded.get(name, 0):
            self.wrong.append(f"{name}: successes fall from {self._succeeded[name]} to {succeeded}")
        if completions is not None and succeeded > completions:
            self.wrong.append(f"{name}: {succeeded} successes of {completions} are counted")
        self._succeeded[name] = succeeded


def owner(pod: Object, kind: str) -> str:
    references = pod["metadata"].get("ownerReferences") or ()
    return next((each["name"] for each in references if each["kind"] == kind and each.get("controller")), "")


def uid_of(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def index_of(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index", ""))


def is_active(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")
