"""The node agent on an engine without a kernel: what the API and the engine see of whole lives of pods."""

import asyncio
import base64
import dataclasses
import pathlib
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.engine import interface
from pinnace.kubelet.pod import model
from pinnace.net import interface as net
from pinnace.testing import fake_engine, node_agent, pods


async def serve(process: fake_engine.FakeProcess) -> int:
    """Runs until it gets SIGTERM, and ends well then."""
    process.handlers[15] = 0
    return int(await process.ended)


def node(tmp_path: pathlib.Path) -> node_agent.NodeAgent:
    made = node_agent.NodeAgent(tmp_path)
    made.host.programs["serve"] = serve
    return made


def server(name: str = "main", **fields: Any) -> dict[str, Any]:
    return pods.container(name, command=["serve"], **fields)


def test_a_pod_runs_and_says_so_in_upstreams_order_and_words(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            pod = pods.pod("web", containers=[server()])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            status = agent.status("web")
            assert status["podIP"] == "10.42.0.2"
            assert status["hostIP"] == "192.0.2.1"
            assert [(each["type"], each["status"]) for each in status["conditions"]] == [
                ("PodReadyToStartContainers", "True"),
                ("Initialized", "True"),
                ("Ready", "True"),
                ("ContainersReady", "True"),
                ("PodScheduled", "True"),
            ]
            (entry,) = status["containerStatuses"]
            assert entry["ready"]
            assert entry["started"]
            assert entry["restartCount"] == 0
            assert entry["containerID"].startswith("pinnace://")
            assert agent.events[-3:] == [
                (
                    "Normal",
                    "Pulled",
                    'Container image "busybox" already present on machine and can be accessed by the pod',
                ),
                ("Normal", "Created", "Container created"),
                ("Normal", "Started", "Container started"),
            ]
            # Nothing was slow: no write but the one that says it runs.
            assert len(agent.statuses) == 1

    asyncio.run(main())


def test_a_deleted_pod_stops_gracefully_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            pod = pods.pod("web", containers=[server()], volumes=[{"name": "cache", "emptyDir": {}}])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            folder = agent.settings.pod_dir(pod["metadata"]["uid"])
            assert (folder / "volumes/kubernetes.io~empty-dir/cache").is_dir()
            await agent.delete("web")
            await agent.until(lambda: agent.pod("web") is None)
            assert ("Normal", "Killing", "Stopping container main") in agent.events
            assert not agent.host.containers
            assert not agent.host.sandboxes
            assert not agent.network.attached
            await agent.until(lambda: not folder.exists() and not agent.kubelet.workers)
            terminated = agent.statuses[-1]["containerStatuses"][0]["state"]["terminated"]
            assert (terminated["exitCode"], terminated["reason"]) == (0, "Completed")
            assert agent.statuses[-1]["phase"] == "Succeeded"

    asyncio.run(main())


def test_a_container_that_ignores_its_signal_is_killed_after_its_grace_period(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            pod = pods.pod("web")
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            await agent.delete("web", grace=5)
            await agent.until(lambda: agent.pod("web") is None, seconds=10)
            terminated = agent.statuses[-1]["containerStatuses"][0]["state"]["terminated"]
            assert terminated["exitCode"] == 137
            assert (terminated["startedAt"], terminated["finishedAt"]) == (
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:05Z",
            )
            assert agent.statuses[-1]["phase"] == "Failed"

    asyncio.run(main())


def test_a_job_pod_succeeds_and_gives_everything_back_but_its_logs(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            pod = pods.pod("job", restartPolicy="Never", containers=[pods.container("main", command=["echo", "done"])])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("job") == "Succeeded" and not agent.kubelet.workers)
            ready = next(each for each in agent.status("job")["conditions"] if each["type"] == "Ready")
            assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")
            assert not agent.host.sandboxes
            log = agent.settings.log_path("default", "job", pod["metadata"]["uid"], "main", 0)
            assert log.read_text().endswith(" stdout F done\n")
            await agent.delete("job", grace=0)
            await agent.until(lambda: agent.pod("job") is None and not log.exists())

    asyncio.run(main())


def test_a_crashing_container_restarts_at_once_and_then_backs_off(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            pod = pods.pod("bad", containers=[pods.container("main", command=["false"])])
            await agent.create(pod)
            await agent.until(lambda: "BackOff" in agent.reasons())
            waiting = agent.state("bad")["waiting"]
            assert waiting["reason"] == "CrashLoopBackOff"
            assert waiting["message"].startswith("back-off 10s restarting failed container=main pod=bad_default(")
            entry = agent.status("bad")["containerStatuses"][0]
            assert entry["restartCount"] == 1
            assert entry["lastState"]["terminated"]["reason"] == "Error"
            assert agent.phase("bad") == "Running"
            await agent.until(lambda: agent.status("bad")["containerStatuses"][0]["restartCount"] == 2, seconds=11)
            await agent.until(lambda: "20s" in agent.state("bad").get("waiting", {}).get("message", ""))
            # Only the last two attempts are kept.
            assert sorted(each.spec.name[-1] for each in agent.host.containers.values()) == ["1", "2"]

    asyncio.run(main())


def test_another_image_waits_for_no_back_off_of_the_old_one(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            agent.host.add_image("better")

            async def mend(name: str) -> None:
                present = agent.pod(name)
                assert present is not None
                change = {"spec": {"containers": [{**present["spec"]["containers"][0], "image": "better"}]}}
                await agent.client.patch(resources.PODS, "default", name, change)

            await agent.create(pods.pod("bad", containers=[pods.container("main", command=["false"])]))
            await agent.until(lambda: "20s" in agent.state("bad").get("waiting", {}).get("message", ""), seconds=11)
            await mend("bad")
            await agent.until(lambda: agent.status("bad")["containerStatuses"][0]["restartCount"] == 3)
            await agent.create(pods.pod("lost", containers=[server(image="nowhere")]))
            await agent.until(
                lambda: agent.state("lost").get("waiting", {}).get("reason") == "ImagePullBackOff", seconds=2
            )
            await mend("lost")
            await agent.until(lambda: agent.phase("lost") == "Running")

    asyncio.run(main())


def test_init_containers_run_in_order_before_the_containers(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            inits = [pods.container("one", command=["true"]), pods.container("two", command=["sleep", "5"])]
            await agent.create(pods.pod("web", initContainers=inits, containers=[server()]))
            await agent.until(lambda: "running" in agent.state("web", 1, "initContainerStatuses"))
            assert agent.state("web", 0, "initContainerStatuses")["terminated"]["reason"] == "Completed"
            assert agent.state("web") == {"waiting": {"reason": "PodInitializing"}}
            initialized = next(each for each in agent.status("web")["conditions"] if each["type"] == "Initialized")
            assert initialized["message"] == "containers with incomplete status: [two]"
            await agent.until(lambda: agent.phase("web") == "Running", seconds=6)

    asyncio.run(main())


def test_a_sidecar_outlives_the_containers(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            side = server("side", restartPolicy="Always")
            await agent.create(pods.pod("web", initContainers=[side], containers=[server()]))
            await agent.until(lambda: agent.phase("web") == "Running")
            await agent.delete("web")
            await agent.until(lambda: agent.pod("web") is None)
            stops = [name.split("_")[3] for verb, name in agent.host.calls if verb == "stop"]
            assert stops == ["main", "side"]

    asyncio.run(main())


def test_a_job_with_a_sidecar_ends_when_its_container_does(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            side = server("side", restartPolicy="Always")
            job = pods.container("main", command=["sleep", "3"])
            await agent.create(pods.pod("job", restartPolicy="Never", initContainers=[side], containers=[job]))
            await agent.until(lambda: agent.phase("job") == "Succeeded", seconds=5)

    asyncio.run(main())


def test_environment_from_config_map_secret_and_downward_api(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            meta = {"namespace": "default"}
            await agent.create({"metadata": {**meta, "name": "conf"}, "data": {"COLOR": "blue"}}, resources.CONFIG_MAPS)
            secret = {"metadata": {**meta, "name": "key"}, "data": {"word": base64.b64encode(b"hush").decode()}}
            await agent.create(secret, resources.SECRETS)
            env = [
                {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "key", "key": "word"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "LINE", "value": "$(COLOR) $(WORD) $$(IP) $(NOT)"},
            ]
            main_container = server(env=env, envFrom=[{"configMapRef": {"name": "conf"}}], args=["$(LINE)"])
            pod = pods.pod("web", containers=[main_container])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            process = agent.host.process(agent.container(pod, "main"))
            assert process.environment["COLOR"] == "blue"
            assert process.environment["IP"] == "10.42.0.2"
            assert process.environment["HOSTNAME"] == "web"
            assert process.argv == ("serve", "blue hush $(IP) $(NOT)")

    asyncio.run(main())


def test_a_missing_config_map_waits_and_starts_as_soon_as_it_is_there(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            await agent.create(pods.pod("web", containers=[server(envFrom=[{"configMapRef": {"name": "conf"}}])]))
            await agent.until(lambda: "Failed" in agent.reasons())
            await agent.until(lambda: agent.state("web")["waiting"]["reason"] == "CreateContainerConfigError")
            assert agent.state("web")["waiting"]["message"] == 'configmap "conf" not found'
            assert ("Warning", "Failed", 'Error: configmap "conf" not found') in agent.events
            meta = {"namespace": "default", "name": "conf"}
            await agent.create({"metadata": meta, "data": {"A": "1"}}, resources.CONFIG_MAPS)
            await agent.until(lambda: agent.phase("web") == "Running")

    asyncio.run(main())


def test_volumes_follow_their_objects_and_tokens_are_renewed(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            meta = {"namespace": "default", "name": "conf"}
            await agent.create({"metadata": meta, "data": {"a": "1", "b": "2"}}, resources.CONFIG_MAPS)
            token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 1000}}
            volumes = [
                {"name": "conf", "configMap": {"name": "conf", "items": [{"key": "a", "path": "deep/a"}]}},
                {"name": "access", "projected": {"sources": [token, {"configMap": {"name": "conf"}}]}},
            ]
            pod = pods.pod("web", containers=[server()], volumes=volumes)
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            root = agent.settings.pod_dir(pod["metadata"]["uid"]) / "volumes"
            conf, access = root / "kubernetes.io~configmap/conf", root / "kubernetes.io~projected/access"
            assert (conf / "deep/a").read_text() == "1"
            assert not (conf / "b").exists()
            assert (access / "token").read_text() == "token-1"
            bound = agent.token_requests[0]["spec"]["boundObjectRef"]
            assert (bound["kind"], bound["uid"]) == ("Pod", pod["metadata"]["uid"])
            await agent.client.patch(resources.CONFIG_MAPS, "default", "conf", {"data": {"a": "new"}})
            await agent.until(lambda: (conf / "deep/a").read_text() == "new")
            await agent.until(lambda: (access / "a").read_text() == "new")
            await agent.until(lambda: (access / "token").read_text() == "token-2", seconds=801)
            assert 799 <= agent.time.monotonic() <= 802

    asyncio.run(main())


def test_pulls_are_told_and_failed_ones_back_off(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            agent.host.programs["serve"] = serve
            agent.host.add_image("far", remote=True)
            await agent.create(pods.pod("web", containers=[server(image="far")]))
            await agent.until(lambda: agent.phase("web") == "Running")
            assert ("Normal", "Pulling", 'Pulling image "far"') in agent.events
            text = 'Successfully pulled image "far" in 0s (0s including waiting). Image size: 1048576 bytes.'
            assert ("Normal", "Pulled", text) in agent.events
            await agent.create(pods.pod("lost", containers=[server(image="nowhere")]))
            await agent.until(lambda: agent.state("lost").get("waiting", {}).get("reason") == "ErrImagePull")
            await agent.until(
                lambda: agent.state("lost").get("waiting", {}).get("reason") == "ImagePullBackOff", seconds=2
            )
            assert ("Normal", "BackOff", 'Back-off pulling image "nowhere"') in agent.events
            agent.host.add_image("nowhere", remote=True)
            await agent.until(lambda: agent.phase("lost") == "Running", seconds=10)

    asyncio.run(main())


def test_never_pulling_says_so(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            await agent.create(pods.pod("web", containers=[server(image="absent", imagePullPolicy="Never")]))
            await agent.until(lambda: agent.state("web").get("waiting", {}).get("reason") == "ErrImageNeverPull")

    asyncio.run(main())


def test_an_exec_liveness_probe_restarts_its_container(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            probe = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2}
            healthy = [True]

            async def check(process: fake_engine.FakeProcess) -> int:
                process.write(b"not well\n")
                return 0 if healthy[0] else 1

            agent.host.programs["check"] = check
            await agent.create(pods.pod("web", containers=[server(livenessProbe=probe)]))
            await agent.until(lambda: agent.phase("web") == "Running")
            healthy[0] = False
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["restartCount"] == 1, seconds=5)
            assert ("Warning", "Unhealthy", "Liveness probe failed: not well\n") in agent.events
            assert ("Normal", "Killing", "Container main failed liveness probe, will be restarted") in agent.events
            states = [entry["state"] for told in agent.statuses for entry in told.get("containerStatuses", ())]
            assert not any("terminated" in each for each in states), "to watchers end and restart are one step"

    asyncio.run(main())


def test_readiness_follows_its_probe_and_startup_gates_it(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            passes = {"up": False, "ready": False}

            async def check(process: fake_engine.FakeProcess) -> int:
                return 0 if passes[process.argv[1]] else 1

            agent.host.programs["check"] = check
            fields = {
                "startupProbe": {"exec": {"command": ["check", "up"]}, "periodSeconds": 1, "failureThreshold": 30},
                "readinessProbe": {"exec": {"command": ["check", "ready"]}, "periodSeconds": 1},
            }
            await agent.create(pods.pod("web", containers=[server(**fields)]))
            await agent.until(lambda: agent.phase("web") == "Running")
            entry = agent.status("web")["containerStatuses"][0]
            assert (entry["started"], entry["ready"]) == (False, False)
            passes.update(up=True)
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["started"], seconds=2)
            assert not agent.status("web")["containerStatuses"][0]["ready"]
            passes.update(ready=True)
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["ready"], seconds=2)
            passes.update(ready=False)
            await agent.until(lambda: not agent.status("web")["containerStatuses"][0]["ready"], seconds=4)

    asyncio.run(main())


def test_hooks_run_after_the_start_and_before_the_stop(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            told: list[str] = []

            async def tell(process: fake_engine.FakeProcess) -> int:
                told.append(process.argv[1])
                return 0

            agent.host.programs["tell"] = tell
            lifecycle = {
                "postStart": {"exec": {"command": ["tell", "started"]}},
                "preStop": {"exec": {"command": ["tell", "stopping"]}},
            }
            await agent.create(pods.pod("web", containers=[server(lifecycle=lifecycle)]))
            await agent.until(lambda: agent.phase("web") == "Running")
            assert told == ["started"]
            await agent.delete("web")
            await agent.until(lambda: agent.pod("web") is None)
            assert told == ["started", "stopping"]

    asyncio.run(main())


def test_a_failed_hook_shows_neither_its_command_nor_its_output(tmp_path: pathlib.Path) -> None:
    """Who may read events and statuses may not read every secret that a handler is called with or prints."""

    async def main() -> None:
        async with node(tmp_path) as agent:

            async def leak(process: fake_engine.FakeProcess) -> int:
                process.write(b"password=hunter2")
                return 1

            agent.host.programs["leak"] = leak
            failing = {"exec": {"command": ["leak", "token-hunter2"]}}
            await agent.create(pods.pod("starts", containers=[server(lifecycle={"postStart": failing})]))
            await agent.until(lambda: "FailedPostStartHook" in agent.reasons())
            await agent.create(pods.pod("stops", containers=[server(lifecycle={"preStop": failing})]))
            await agent.until(lambda: agent.phase("stops") == "Running")
            await agent.delete("stops")
            await agent.until(lambda: agent.pod("stops") is None)
            said = {reason: text for _, reason, text in agent.events}
            assert said["FailedPostStartHook"] == "PostStartHook failed"
            assert said["FailedPreStopHook"] == "PreStopHook failed"
            assert "hunter2" not in str(agent.events)
            assert "hunter2" not in str(agent.statuses)

    asyncio.run(main())


def test_a_failed_post_start_hook_restarts_its_container(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            hook = {"postStart": {"exec": {"command": ["false"]}}}
            await agent.create(pods.pod("web", containers=[server(lifecycle=hook)]))
            await agent.until(lambda: "FailedPostStartHook" in agent.reasons())
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["restartCount"] == 1, seconds=1)
            assert agent.phase("web") != "Succeeded"

    asyncio.run(main())


def test_a_restart_of_the_agent_restarts_no_container(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        agent = node(tmp_path)
        async with agent:
            web = pods.pod("web", containers=[server(), server("second")])
            gone = pods.pod("gone", containers=[server()])
            ends = pods.pod("ends", restartPolicy="Never", containers=[server()])
            for pod in (web, gone, ends):
                await agent.create(pod)
            await agent.until(lambda: all(agent.phase(each) == "Running" for each in ("web", "gone", "ends")))
            before = {each.id for each in agent.host.containers.values() if each.spec.name.startswith("web")}
            await agent.stop()
            await agent.client.delete(resources.PODS, "default", "gone")
            await agent.host.finish(agent.container(ends, "main"), 3)
            written = len(agent.statuses)
            agent.kubelet = agent._make()
            await agent.start()
            await agent.until(lambda: agent.phase("ends") == "Failed")
            assert agent.state("ends")["terminated"]["exitCode"] == 3
            await agent.until(lambda: not any("gone" in each.spec.name for each in agent.host.containers.values()))
            alive = {each.id for each in agent.host.containers.values() if each.status.is_alive}
            assert alive == before
            assert agent.phase("web") == "Running"
            # Nothing is said about the pod that goes on as it was.
            assert len(agent.statuses) - written == 1
            assert len(agent.network.attached) == 1

    asyncio.run(main())


def test_a_sandbox_that_died_is_made_anew(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        agent = node(tmp_path)
        async with agent:
            pod = pods.pod("web", containers=[server()])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            await agent.stop()
            # A reboot: no process and no namespace is left.
            uid = pod["metadata"]["uid"]
            await agent.host.finish(agent.container(pod, "main"), 137)
            box = agent.host.sandboxes[uid]
            agent.host.sandboxes[uid] = interface.Sandbox(box.id, box.spec, box.network_namespace, 0, is_ready=False)
            agent.network.attached.clear()
            agent.kubelet = agent._make()
            await agent.start()
            await agent.until(lambda: list(agent.host.sandboxes) == [f"{uid}-1"])
            await agent.until(lambda: "running" in agent.state("web"))
            assert agent.status("web")["containerStatuses"][0]["restartCount"] == 1
            assert agent.status("web")["podIP"] == "10.42.0.3"
            assert "SandboxChanged" in agent.reasons()

    asyncio.run(main())


def test_a_container_that_was_made_and_never_started_has_not_run(tmp_path: pathlib.Path) -> None:
    """The agent ended between making and starting it, then the machine: a pod that runs once runs, and is no success without."""

    async def main() -> None:
        agent = node(tmp_path)
        async with agent:
            pod = pods.pod("once", restartPolicy="Never", containers=[server()])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("once") == "Running")
            await agent.stop()
            made = agent.host.find(agent.container(pod, "main"))
            never = interface.ContainerStatus.CREATED
            agent.host.containers[made.id] = dataclasses.replace(made, status=never, pid=0, started_at=0)
            agent.api.objects[node_agent.PODS, "default", "once"]["status"] = {}
            uid = pod["metadata"]["uid"]
            box = agent.host.sandboxes[uid]
            agent.host.sandboxes[uid] = interface.Sandbox(box.id, box.spec, box.network_namespace, 0, is_ready=False)
            agent.network.attached.clear()
            agent.kubelet = agent._make()
            await agent.start()
            await agent.until(lambda: "running" in agent.state("once"), seconds=60)
            assert agent.status("once")["containerStatuses"][0]["restartCount"] == 0

    asyncio.run(main())


def test_one_pod_whose_remains_cannot_be_removed_does_not_keep_the_agent_from_the_others(
    tmp_path: pathlib.Path,
) -> None:
    async def main() -> None:
        agent = node(tmp_path)
        async with agent:
            pod = pods.pod("web", containers=[server()])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            await agent.stop()
            uid = pod["metadata"]["uid"]
            box = agent.host.sandboxes[uid]
            newer = dataclasses.replace(
                box.spec, id=f"{uid}-1", labels={**box.spec.labels, model.SANDBOX_ATTEMPT_LABEL: "1"}
            )
            agent.host.sandboxes[newer.id] = dataclasses.replace(box, id=newer.id, spec=newer)
            agent.host.failures["remove_sandbox"] = interface.EngineError("the device is busy")
            agent.kubelet = agent._make()
            await agent.start()
            await agent.create(pods.pod("other", containers=[server()]))
            await agent.until(lambda: agent.phase("other") == "Running", seconds=60)
            await agent.until(lambda: uid not in agent.host.sandboxes, seconds=60)

    asyncio.run(main())


def test_after_everything_was_removed_pods_go_on_by_their_policy(tmp_path: pathlib.Path) -> None:
    """`down` and `up` again: the engine knows nothing; what was to run runs again, a Job's pod has failed."""

    async def main() -> None:
        agent = node(tmp_path)
        async with agent:
            await agent.create(pods.pod("web", containers=[server()]))
            await agent.create(pods.pod("job", restartPolicy="Never", containers=[server()]))
            await agent.until(lambda: agent.phase("web") == agent.phase("job") == "Running")
            await agent.stop()
            for sandbox in list(agent.host.sandboxes):
                await fake_engine.FakeEngine(agent.host).remove_sandbox(sandbox)
            agent.network.attached.clear()
            agent.kubelet = agent._make()
            await agent.start()
            await agent.until(lambda: agent.phase("job") == "Failed")
            assert agent.state("job")["terminated"]["reason"] == "ContainerStatusUnknown"
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["restartCount"] == 1)
            assert "running" in agent.state("web")
            assert len(agent.host.sandboxes) == 1

    asyncio.run(main())


def test_a_pod_that_does_not_fit_is_refused(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            greedy = server(resources={"requests": {"cpu": "9999"}})
            await agent.create(pods.pod("big", containers=[greedy]))
            await agent.until(lambda: agent.phase("big") == "Failed")
            assert agent.status("big")["reason"] == "OutOfcpu"
            assert agent.status("big")["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu")
            assert not agent.host.sandboxes

    asyncio.run(main())


def test_a_pod_that_was_deleted_by_force_holds_no_room_while_it_stops(tmp_path: pathlib.Path) -> None:
    """The scheduler counts only what the API has; refusing what it placed would fail the pod for good."""

    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path, max_pods=1) as agent:
            await agent.create(pods.pod("old"))  # ignores SIGTERM
            await agent.until(lambda: agent.phase("old") == "Running")
            await agent.client.delete(resources.PODS, "default", "old")
            await agent.create(pods.pod("new"))
            await agent.until(lambda: agent.phase("new") == "Running")
            assert len(agent.host.sandboxes) == 2
            await agent.create(pods.pod("one-too-many"))
            await agent.until(lambda: agent.phase("one-too-many") == "Failed")
            assert agent.status("one-too-many")["reason"] == "OutOfpods"

    asyncio.run(main())


def test_failures_of_network_and_engine_are_told_and_tried_again(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            agent.network.failures.append(net.NoAddressLeft("no address left in 10.42.0.0/24"))
            agent.host.failures["create"] = interface.EngineError("no space left on device")
            await agent.create(pods.pod("web", containers=[server()]))
            await agent.until(lambda: agent.phase("web") == "Running", seconds=5)
            text = "Failed to create pod sandbox: no address left in 10.42.0.0/24"
            assert ("Warning", "FailedCreatePodSandBox", text) in agent.events
            assert ("Warning", "Failed", "Error: no space left on device") in agent.events
            assert list(agent.network.attached) == list(agent.host.sandboxes)

    asyncio.run(main())


def test_a_command_that_is_not_there_is_a_start_error(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            await agent.create(
                pods.pod("web", restartPolicy="Never", containers=[pods.container("main", command=["nothing"])])
            )
            await agent.until(lambda: agent.phase("web") == "Failed")
            terminated = agent.state("web")["terminated"]
            assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 128)
            assert "executable file not found" in terminated["message"]

    asyncio.run(main())


def test_a_deadline_fails_the_pod(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            await agent.create(pods.pod("web", containers=[server()], activeDeadlineSeconds=3))
            await agent.until(lambda: agent.phase("web") == "Failed", seconds=5)
            assert agent.status("web")["reason"] == "DeadlineExceeded"
            assert agent.reasons().count("DeadlineExceeded") == 1

    asyncio.run(main())


def test_the_node_registers_and_reports(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            key = ("/api/v1/nodes", "", "node-1")
            await agent.until(
                lambda: any(
                    each["type"] == "Ready" and each["status"] == "True"
                    for each in agent.api.objects[key]["status"].get("conditions", [])
                )
            )
            made = agent.api.objects[key]
            assert made["metadata"]["labels"]["kubernetes.io/os"] == "linux"
            assert made["metadata"]["annotations"]["pinnace.dev/volume-dir"] == str(agent.settings.volumes_dir)
            assert made["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}
            lease = ("/apis/coordination.k8s.io/v1/leases", "kube-node-lease", "node-1")
            await agent.until(lambda: lease in agent.api.objects)
            first = agent.api.objects[lease]["spec"]["renewTime"]
            await agent.until(lambda: agent.api.objects[lease]["spec"]["renewTime"] != first, seconds=11)

    asyncio.run(main())


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_deleted_local_volume_loses_its_finalizer_and_its_folder_unless_that_is_kept(
    tmp_path: pathlib.Path, policy: str
) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:
            folder = agent.settings.volumes_dir / "pvc-1"
            folder.mkdir(parents=True)
            (folder / "rows").write_text("x")
            volume = {
                "metadata": {
                    "name": "pvc-1",
                    "finalizers": ["pinnace.dev/local-volume"],
                    "annotations": {"pinnace.dev/local-volume": "node-1"},
                },
                "spec": {"local": {"path": str(folder)}, "persistentVolumeReclaimPolicy": policy},
            }
            await agent.create(volume, resources.PERSISTENT_VOLUMES)
            metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
            await agent.client.patch(resources.PERSISTENT_VOLUMES, None, "pvc-1", {"metadata": metadata})
            key = ("/api/v1/persistentvolumes", "", "pvc-1")
            await agent.until(lambda: agent.api.objects[key]["metadata"]["finalizers"] == [])
            assert folder.exists() == (policy == "Retain")

    asyncio.run(main())


def test_a_node_that_can_start_nothing_is_not_ready_until_it_can(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node(tmp_path) as agent:

            def ready() -> dict[str, str]:
                conditions = agent.api.objects["/api/v1/nodes", "", "node-1"]["status"]["conditions"]
                return next(each for each in conditions if each["type"] == "Ready")

            await agent.until(lambda: ready()["status"] == "True")
            agent.host.problem = "crun is missing"
            await agent.until(lambda: ready()["status"] == "False", seconds=30)
            assert (ready()["reason"], ready()["message"]) == (
                "KubeletNotReady",
                "container runtime is down: crun is missing",
            )
            agent.host.problem, agent.network.problem = "", "the bridge is gone"
            await agent.until(lambda: "network" in ready()["message"], seconds=30)
            assert ready()["status"] == "False"
            agent.network.problem = ""
            await agent.until(lambda: ready()["status"] == "True", seconds=30)
            assert ready()["message"] == "kubelet is posting ready status"

    asyncio.run(main())
