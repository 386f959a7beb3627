"""Controllers that die before or after any one of their writes, and start again, come to the same end.

Each case ends the whole manager at its n-th write, before the API sees it or after the API has carried it out, starts a fresh
one with empty memory, and compares the end with an undisturbed run.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import control_plane
from pinnace.web import messages

Object = dict[str, Any]
Steps = Callable[[control_plane.ControlPlane], Awaitable[None]]


async def rollout(plane: control_plane.ControlPlane) -> None:
    await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
    await asyncio.sleep(20)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}}
    await plane.patch(resources.DEPLOYMENTS, "web", image, kind="strategic")
    await asyncio.sleep(60)


async def work(plane: control_plane.ControlPlane) -> None:
    template = control_plane.template("work", restartPolicy="Never")
    spec = {"template": template, "completions": 4, "parallelism": 2, "backoffLimit": 10}
    await plane.create(resources.JOBS, {"metadata": {"name": "work"}, "spec": spec})
    await asyncio.sleep(90)


async def ordered(plane: control_plane.ControlPlane) -> None:
    await plane.create(resources.STATEFUL_SETS, control_plane.workload("db", 2, serviceName="db"))
    await asyncio.sleep(20)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "two"}]}}}}
    await plane.patch(resources.STATEFUL_SETS, "db", image, kind="strategic")
    await asyncio.sleep(60)


async def outcome(plane: control_plane.ControlPlane) -> Object:
    """What must be the same however often the controllers died."""
    result: Object = {}
    for resource in (resources.DEPLOYMENTS, resources.STATEFUL_SETS, resources.JOBS, resources.REPLICA_SETS):
        for obj in await plane.list(resource):
            status = {key: value for key, value in obj["status"].items() if isinstance(value, int)}
            status.pop("observedGeneration", None)
            conditions = {
                each["type"]: (each["status"], each["reason"]) for each in obj["status"].get("conditions", ())
            }
            result[f"{resource.kind} {obj['metadata']['name']}"] = (status, conditions)
    pods = await plane.list(resources.PODS)
    result["pods"] = sorted((pod["spec"]["containers"][0]["image"], pod["status"]["phase"]) for pod in pods)
    result["finalizers"] = [pod["metadata"]["finalizers"] for pod in pods if pod["metadata"].get("finalizers")]
    return result


def is_write(request: messages.Request) -> bool:
    return request.method != "GET" and "/events" not in request.path


def run(steps: Steps, crash_at: int, *, after: bool) -> tuple[Object, int]:
    """The outcome, and how many writes the controllers made."""
    result: list[Object] = []
    writes = 0

    async def test(plane: control_plane.ControlPlane) -> None:
        def crash(request: messages.Request) -> None:
            nonlocal writes
            if not is_write(request):
                return
            writes += 1
            if writes == crash_at:
                asyncio.get_running_loop().call_soon(restarts.set)
                raise client.unavailable("the process is gone")

        async def restart() -> None:
            await restarts.wait()
            await plane.stop_controllers()
            plane.start_controllers()

        restarts = asyncio.Event()
        if after:
            plane.after = crash
        else:
            plane.fault = crash
        restarting = asyncio.create_task(restart())
        await steps(plane)
        restarting.cancel()
        result.append(await outcome(plane))

    def make(plane: control_plane.ControlPlane) -> control_plane.Node:
        def decide(pod: Object) -> Object:
            if pod["metadata"]["labels"].get("app") == "work":
                return control_plane.finished(plane.time, "Succeeded")
            return control_plane.running(plane.time, len(worker.seen))

        worker = control_plane.Node(plane, decide=decide)
        return worker

    control_plane.run(test, node=make)
    return result[0], writes


CASES = pytest.mark.parametrize("steps", [rollout, work, ordered])


def undisturbed(steps: Steps) -> tuple[Object, int]:
    expected, writes = run(steps, 0, after=False)
    assert writes > 5
    assert expected["finalizers"] == []
    if steps is work:
        assert expected["Job work"][0]["succeeded"] == 4
        assert len(expected["pods"]) == 4
    else:
        assert {image for image, _ in expected["pods"]} == {"two"}
    return expected, writes


@CASES
def test_crashes_converge_to_the_undisturbed_end(steps: Steps) -> None:
    """Before or after every third write, in turn."""
    expected, writes = undisturbed(steps)
    for crash_at in range(1, writes + 1, 3):
        found, _ = run(steps, crash_at, after=crash_at % 2 == 0)
        assert found == expected, f"crash at write {crash_at}"


@pytest.mark.nightly
@CASES
def test_every_crash_converges_to_the_undisturbed_end(steps: Steps) -> None:
    """Before and after every write."""
    expected, writes = undisturbed(steps)
    for crash_at in range(1, writes + 1):
        for after in (False, True):
            found, _ = run(steps, crash_at, after=after)
            assert found == expected, f"crash {'after' if after else 'before'} write {crash_at}"
