"""What the node agent decides for a pod, state by state, and what holds whatever happens."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.kubelet.pod import backoffs, decide, model, podspec, steps
from pinnace.testing import pods

READY = model.SandboxView("box", 0, True, ("10.42.0.5",))
IMAGE = model.ImageReady("sha256:1")


def container(name: str, state: model.State = model.State.RUNNING, **fields: Any) -> model.ContainerView:
    attempt = fields.pop("attempt", 0)
    values: dict[str, Any] = {"id": f"{name}-{attempt}", "sandbox_id": "box", "image": "busybox", **fields}
    return model.ContainerView(name=name, attempt=attempt, state=state, **values)


def exited(name: str, code: int = 0, **fields: Any) -> model.ContainerView:
    return container(name, model.State.EXITED, exit_code=code, **fields)


def memory(**fields: Any) -> model.Memory:
    names = fields.pop("images", ())
    return model.Memory(volumes_ready=True, images=dict.fromkeys(names, IMAGE), **fields)


def keys(plan: decide.Plan) -> list[str]:
    return [str(action.key) for action in plan.actions]


def test_a_new_pod_prepares_volumes_and_sandbox_at_once_and_then_looks_at_its_images() -> None:
    plan = decide.decide(pods.pod(), model.Observed(), model.Memory(), 0.0)
    assert sorted(keys(plan)) == ["sandbox", "volumes"]
    plan = decide.decide(pods.pod(), model.Observed(), model.Memory(volumes_ready=True), 0.0)
    assert sorted(keys(plan)) == ["image:main", "sandbox"]


def test_nothing_is_started_before_sandbox_volumes_and_image_are_ready() -> None:
    pod = pods.pod()
    assert keys(decide.decide(pod, model.Observed(READY), model.Memory(images={"main": IMAGE}), 0.0)) == ["volumes"]
    assert keys(decide.decide(pod, model.Observed(), memory(images=["main"]), 0.0)) == ["sandbox"]
    assert keys(decide.decide(pod, model.Observed(READY), memory(), 0.0)) == ["image:main"]
    assert keys(decide.decide(pod, model.Observed(READY), memory(images=["main"]), 0.0)) == ["start:main"]


def test_containers_of_a_pod_start_together() -> None:
    pod = pods.pod(containers=[pods.container("a"), pods.container("b")])
    plan = decide.decide(pod, model.Observed(READY), memory(images=["a", "b"]), 0.0)
    assert keys(plan) == ["start:a", "start:b"]


def test_what_is_in_flight_is_not_asked_for_again() -> None:
    flight = frozenset({steps.SANDBOX, steps.VOLUMES, steps.image("main")})
    assert decide.decide(pods.pod(), model.Observed(), model.Memory(in_flight=flight), 0.0).actions == ()


INIT_CASES = [
    ("the first one first", [], ["start:i1"]),
    ("the second waits while the first runs", [container("i1")], []),
    ("the second follows a success", [exited("i1")], ["start:i2"]),
    ("the containers follow the last", [exited("i1"), exited("i2")], ["start:main"]),
    ("a failure is tried again", [exited("i1", 1)], ["start:i1"]),
]


@pytest.mark.parametrize(("_", "seen", "expected"), INIT_CASES, ids=[case[0] for case in INIT_CASES])
def test_init_containers_run_one_by_one(_: str, seen: list[model.ContainerView], expected: list[str]) -> None:
    pod = pods.pod(initContainers=[pods.container("i1"), pods.container("i2")])
    plan = decide.decide(pod, model.Observed(READY, tuple(seen)), memory(images=["i1", "i2", "main"]), 0.0)
    assert keys(plan) == expected


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    pod = pods.pod(initContainers=[pods.container("i1")], restartPolicy="Never")
    plan = decide.decide(pod, model.Observed(READY, (exited("i1", 1),)), memory(), 0.0)
    assert plan.terminate == model.Termination(30)


def test_a_sidecar_must_have_started_before_what_follows_it() -> None:
    pod = pods.pod(initContainers=[pods.container("side", restartPolicy="Always")])
    observed = model.Observed(READY, (container("side"),))
    waiting = memory(images=["main"], probes={"side-0": model.ProbeResults(startup=None)})
    assert decide.decide(pod, observed, waiting, 0.0).actions == ()
    hook = model.Observed(READY, (container("side", hook_pending=True),))
    assert decide.decide(pod, hook, memory(images=["main"]), 0.0).actions == ()
    assert keys(decide.decide(pod, observed, memory(images=["main"]), 0.0)) == ["start:main"]


def test_a_sidecar_is_restarted_while_a_later_init_container_runs() -> None:
    pod = pods.pod(initContainers=[pods.container("side", restartPolicy="Always"), pods.container("i2")])
    observed = model.Observed(READY, (exited("side", 1), container("i2")))
    assert keys(decide.decide(pod, observed, memory(images=["side"]), 0.0)) == ["start:side"]


RESTART_ALL = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]


def a_pod_that_restarts_together() -> dict[str, Any]:
    return pods.pod(
        restartPolicy="Never",
        initContainers=[pods.container("i1"), pods.container("side", restartPolicy="Always")],
        containers=[pods.container("a", restartPolicy="Never", restartPolicyRules=RESTART_ALL), pods.container("b")],
    )


def test_one_exit_restarts_all_containers_in_place() -> None:
    pod = a_pod_that_restarts_together()
    names = ("i1", "side", "a", "b")
    first = (exited("i1"), container("side"), exited("a", 42), container("b"))
    plan = decide.decide(pod, model.Observed(READY, first), memory(images=names), 0.0)
    assert plan.terminate is None
    assert sorted(keys(plan)) == ["kill:b-0", "kill:side-0"]
    kill = plan.actions[0]
    assert isinstance(kill, steps.KillContainer)
    assert (kill.grace_seconds, kill.skips_pre_stop, kill.restart) == (0, True, True)

    dead = (exited("i1"), exited("side", 137), exited("a", 42), exited("b", 137))
    plan = decide.decide(pod, model.Observed(READY, dead), memory(images=names), 0.0)
    start = plan.actions[0]
    assert keys(plan) == ["start:i1"]
    assert isinstance(start, steps.StartContainer)
    assert (start.attempt, start.round) == (1, 1)


def test_after_all_were_restarted_the_old_exit_counts_no_more() -> None:
    pod = a_pod_that_restarts_together()
    names = ("i1", "side", "a", "b")
    old = (exited("i1"), exited("side", 137), exited("a", 42), exited("b", 137))
    begun = (*old, exited("i1", attempt=1, round=1), container("side", attempt=1, round=1))
    assert keys(decide.decide(pod, model.Observed(READY, begun), memory(images=names), 0.0)) == ["start:a", "start:b"]
    ended = (*begun, exited("a", 0, attempt=1, round=1), exited("b", 0, attempt=1, round=1))
    assert decide.decide(pod, model.Observed(READY, ended), memory(images=names), 0.0).terminate is not None
    again = (*begun, exited("a", 42, attempt=1, round=1), container("b", attempt=1, round=1))
    assert sorted(keys(decide.decide(pod, model.Observed(READY, again), memory(), 0.0))) == ["kill:b-1", "kill:side-1"]


def test_the_first_rule_that_matches_decides() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 1]}}, *RESTART_ALL]
    pod = pods.pod(containers=[pods.container("a", restartPolicy="Never", restartPolicyRules=rules)])
    plan = decide.decide(pod, model.Observed(READY, (exited("a", 42),)), memory(images=["a"]), 0.0)
    assert keys(plan) == ["start:a"]
    assert isinstance(plan.actions[0], steps.StartContainer)
    assert plan.actions[0].round == 0


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_decides_what_happens_after_an_exit(policy: str, code: int, again: bool) -> None:
    plan = decide.decide(
        pods.pod(restartPolicy=policy), model.Observed(READY, (exited("main", code),)), memory(images=["main"]), 0.0
    )
    if again:
        assert keys(plan) == ["start:main"]
        assert isinstance(plan.actions[0], steps.StartContainer)
        assert plan.actions[0].attempt == 1
    else:
        assert plan.terminate is not None
        assert not plan.actions


def test_a_pod_goes_on_while_one_container_runs() -> None:
    pod = pods.pod(containers=[pods.container("a"), pods.container("b")], restartPolicy="Never")
    plan = decide.decide(pod, model.Observed(READY, (exited("a"), container("b"))), memory(), 0.0)
    assert plan == decide.Plan()


def test_crash_loop_backs_off_in_upstreams_words_and_wakes_in_time() -> None:
    pod = pods.pod("p")
    observed = model.Observed(READY, (exited("main", 1, finished_at=100.0),))
    crash = memory(images=["main"], crashes={"main": model.CrashBackoff(80.0, 90.0)})
    plan = decide.decide(pod, observed, crash, 101.0)
    assert plan.actions == ()
    assert plan.wake_at == 180.0
    message = f"back-off 1m20s restarting failed container=main pod=p_default({pod['metadata']['uid']})"
    assert plan.waiting == {"main": model.Waiting("CrashLoopBackOff", message)}
    assert keys(decide.decide(pod, observed, crash, 180.0)) == ["start:main"]


def test_restart_delays_double_to_five_minutes_and_are_forgotten_after_ten() -> None:
    entry, delays, finished = None, [], 0.0
    for _ in range(7):
        entry = backoffs.after_start(entry, finished, finished)
        delays.append(entry.delay)
        finished += 1.0
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert entry is not None
    assert backoffs.restart_at(entry, finished + 601) == finished + 601
    assert backoffs.after_start(entry, finished + 601, finished + 601).delay == 10


def test_a_failed_pull_shows_first_as_an_error_and_then_as_back_off() -> None:
    failed = model.ImageFailed(model.Waiting("ErrImagePull", "no such host"), 100.0, 110.0, "nginx")
    held = model.Memory(volumes_ready=True, images={"main": failed})
    first = decide.decide(pods.pod(), model.Observed(READY), held, 100.0)
    assert first.waiting["main"].reason == "ErrImagePull"
    assert first.wake_at == 101.0
    later = decide.decide(pods.pod(), model.Observed(READY), held, 101.0)
    assert later.waiting["main"] == model.Waiting(
        "ImagePullBackOff", 'Back-off pulling image "nginx": ErrImagePull: no such host'
    )
    again = decide.decide(pods.pod(), model.Observed(READY), held, 110.0)
    assert keys(again) == ["image:main"]
    assert again.waiting == later.waiting, "while it is tried again, the last try is what there is to tell"


def test_a_failed_liveness_probe_stops_the_container_to_be_restarted() -> None:
    main = pods.container("main", livenessProbe={"terminationGracePeriodSeconds": 5})
    held = memory(probes={"main-0": model.ProbeResults(liveness=False)})
    plan = decide.decide(pods.pod(containers=[main]), model.Observed(READY, (container("main"),)), held, 0.0)
    message = "Container main failed liveness probe, will be restarted"
    assert plan.actions == (steps.KillContainer("main-0", "main", 5, message=message, restart=True),)


def test_a_container_killed_by_its_probe_restarts_although_it_ended_well() -> None:
    observed = model.Observed(READY, (exited("main", 0, is_killed_by_probe=True),))
    plan = decide.decide(pods.pod(restartPolicy="OnFailure"), observed, memory(images=["main"]), 0.0)
    assert keys(plan) == ["start:main"]


def test_a_changed_image_restarts_the_container() -> None:
    pod = pods.pod(containers=[pods.container("main", image="busybox:2")], restartPolicy="Never")
    plan = decide.decide(pod, model.Observed(READY, (container("main"),)), memory(), 0.0)
    assert isinstance(plan.actions[0], steps.KillContainer)
    assert plan.actions[0].message == "Container main definition changed, will be restarted"


def test_a_dead_sandbox_takes_its_containers_along_and_is_made_anew() -> None:
    dead = dataclasses.replace(READY, is_ready=False)
    plan = decide.decide(pods.pod(), model.Observed(dead, (container("main"),)), memory(), 0.0)
    assert keys(plan) == ["kill:main-0"]
    plan = decide.decide(pods.pod(), model.Observed(dead, (exited("main", 137),)), memory(images=["main"]), 0.0)
    assert plan.actions == (steps.CreateSandbox(1, "box"),)


def test_init_containers_run_again_in_a_new_sandbox() -> None:
    pod = pods.pod(initContainers=[pods.container("i1")])
    new = model.SandboxView("box-1", 1, True, ("10.42.0.6",))
    observed = model.Observed(new, (exited("i1"), exited("main", 137)))
    assert keys(decide.decide(pod, observed, memory(images=["i1", "main"]), 0.0)) == ["start:i1"]


def test_the_active_deadline_ends_the_pod() -> None:
    pod = pods.pod(activeDeadlineSeconds=60)
    observed = model.Observed(READY, (container("main"),))
    assert decide.decide(pod, observed, memory(started_at=10.0), 69.0).wake_at == 70.0
    terminate = decide.decide(pod, observed, memory(started_at=10.0), 70.0).terminate
    assert terminate is not None
    assert (terminate.reason, terminate.is_failure) == ("DeadlineExceeded", True)


def test_termination_stops_containers_first_and_sidecars_in_reverse() -> None:
    sides = [pods.container("s1", restartPolicy="Always"), pods.container("s2", restartPolicy="Always")]
    pod = pods.pod(initContainers=sides)
    observed = model.Observed(READY, (container("s1"), container("s2"), container("main")))
    plan = decide.decide(pod, observed, memory(termination=model.Termination(7)), 0.0)
    after = {kill.name: kill.after for kill in plan.actions if isinstance(kill, steps.KillContainer)}
    assert after == {"main": (), "s2": ("main-0",), "s1": ("s2-0", "main-0")}


def test_a_shorter_grace_period_replaces_a_stop_that_is_under_way() -> None:
    observed = model.Observed(READY, (container("main"),))
    held = memory(termination=model.Termination(5), kills={"main-0": 30}, in_flight=frozenset({steps.kill("main-0")}))
    assert keys(decide.decide(pods.pod(), observed, held, 0.0)) == ["kill:main-0"]
    same = dataclasses.replace(held, kills={"main-0": 5})
    assert decide.decide(pods.pod(), observed, same, 0.0).actions == ()


def test_a_pod_is_torn_down_only_after_its_last_status_is_known_to_the_api() -> None:
    observed = model.Observed(READY, (exited("main", 3),))
    over = memory(termination=model.Termination(1))
    assert decide.decide(pods.pod(), observed, over, 0.0) == decide.Plan()
    written = dataclasses.replace(over, terminal_status_written=True)
    assert keys(decide.decide(pods.pod(), observed, written, 0.0)) == ["teardown"]
    gone = dataclasses.replace(written, torn_down=True)
    assert decide.decide(pods.pod(), model.Observed(), gone, 0.0).is_finished


def test_an_ephemeral_container_starts_once_and_never_again() -> None:
    pod = pods.pod(ephemeralContainers=[pods.container("debug")])
    observed = model.Observed(READY, (container("main"),))
    assert keys(decide.decide(pod, observed, memory(images=["debug"]), 0.0)) == ["start:debug"]
    ended = model.Observed(READY, (container("main"), exited("debug", 1)))
    assert decide.decide(pod, ended, memory(images=["debug"]), 0.0).actions == ()


def test_the_restart_count_goes_on_after_dead_containers_were_collected() -> None:
    pod = pods.pod()
    pod["status"]["containerStatuses"] = [{"name": "main", "restartCount": 4, "containerID": "pinnace://x"}]
    plan = decide.decide(pod, model.Observed(READY), memory(images=["main"]), 0.0)
    assert isinstance(plan.actions[0], steps.StartContainer)
    assert plan.actions[0].attempt == 5


# ---------------------------------------------------------------- whatever happens


class World:
    """Carries out what is decided, with ends and failures of its own choosing."""

    def __init__(self, pod: model.Object, rng: random.Random) -> None:
        self.pod, self.rng, self.now = pod, rng, 0.0
        self.sandbox: model.SandboxView | None = None
        self.containers: list[model.ContainerView] = []
        self.memory = model.Memory()
        self.finished = False

    def turn(self) -> None:
        self.now += self.rng.choice([0.0, 1.0, 20.0, 400.0])
        self._something_happens()
        plan = decide.decide(self.pod, model.Observed(self.sandbox, tuple(self.containers)), self.memory, self.now)
        if plan.terminate is not None:
            self.memory = dataclasses.replace(self.memory, termination=plan.terminate)
        assert len(set(keys(plan))) == len(plan.actions), "two actions of one key"
        for action in plan.actions:
            self._carry_out(action)
        self.finished = plan.is_finished

    def _something_happens(self) -> None:
        alive = [each for each in self.containers if each.is_alive]
        if alive and self.rng.random() < 0.5:
            self._end(self.rng.choice(alive), self.rng.choice([0, 0, 1]))
        if self.sandbox is not None and self.rng.random() < 0.02:
            self.sandbox = dataclasses.replace(self.sandbox, is_ready=False)
        if self.memory.termination is not None and not any(each.is_alive for each in self.containers):
            self.memory = dataclasses.replace(self.memory, terminal_status_written=True)

    def _end(self, view: model.ContainerView, code: int) -> None:
        index = self.containers.index(view)
        self.containers[index] = dataclasses.replace(
            view, state=model.State.EXITED, exit_code=code, finished_at=self.now
        )

    def _carry_out(self, action: steps.Step) -> None:
        match action:
            case steps.CreateSandbox():
                assert not any(each.is_alive for each in self.containers)
                self.sandbox = model.SandboxView(f"box-{action.attempt}", action.attempt, True, ("10.0.0.1",))
            case steps.PrepareVolumes():
                self.memory = dataclasses.replace(self.memory, volumes_ready=True)
            case steps.EnsureImage():
                self.memory = dataclasses.replace(self.memory, images={**self.memory.images, action.name: IMAGE})
            case steps.StartContainer():
                self._start(action)
            case steps.KillContainer():
                victim = next(each for each in self.containers if each.id == action.id)
                self._end(victim, 137)
            case steps.TearDown():
                assert not any(each.is_alive for each in self.containers)
                self.sandbox, self.containers = None, []
                self.memory = dataclasses.replace(self.memory, torn_down=True)

    def _start(self, action: steps.StartContainer) -> None:
        assert self.memory.termination is None, "started while terminating"
        assert self.memory.volumes_ready
        assert self.sandbox is not None
        assert self.sandbox.is_ready
        same = [each for each in self.containers if each.name == action.name]
        assert not any(each.is_alive for each in same), "two of one name"
        last = max(same, key=lambda each: each.attempt, default=None)
        if last is not None:
            assert (
                podspec.restart_policy(self.pod) != "Never"
                or action.role is podspec.Role.SIDECAR
                or (last.sandbox_id != self.sandbox.id)
            ), "restarted although the policy is Never"
            assert action.attempt == last.attempt + 1
            crash = self.memory.crashes.get(action.name)
            assert self.now >= backoffs.restart_at(crash, last.finished_at), "restarted within its back-off"
            self.memory = dataclasses.replace(
                self.memory,
                crashes={**self.memory.crashes, action.name: backoffs.after_start(crash, self.now, last.finished_at)},
            )
        if action.role is podspec.Role.MAIN:
            for init in podspec.init_containers(self.pod):
                here = [
                    each for each in self.containers if each.name == init["name"] and each.sandbox_id == self.sandbox.id
                ]
                assert here, "a container started before initialization"
                if init.get("restartPolicy") != "Always":
                    assert any(each.is_exited and each.exit_code == 0 for each in here)
        self.containers.append(
            model.ContainerView(
                id=f"{action.name}-{action.attempt}",
                name=action.name,
                attempt=action.attempt,
                sandbox_id=action.sandbox_id,
                state=model.State.RUNNING,
                image="busybox",
            )
        )


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    policy=st.sampled_from(["Always", "OnFailure", "Never"]),
    inits=st.lists(st.booleans(), max_size=3),
    mains=st.integers(1, 3),
)
def test_invariants_hold_and_every_deletion_comes_to_its_end(
    seed: int, policy: str, inits: list[bool], mains: int
) -> None:
    """Order, back-off and policy are kept through any run of ends and failures, and a deleted pod always finishes."""
    pod = pods.pod(
        restartPolicy=policy,
        initContainers=[
            pods.container(f"i{index}", **({"restartPolicy": "Always"} if side else {}))
            for index, side in enumerate(inits)
        ],
        containers=[pods.container(f"m{index}") for index in range(mains)],
    )
    world = World(pod, random.Random(seed))
    for _ in range(30):
        world.turn()
    if world.memory.termination is None:
        world.memory = dataclasses.replace(world.memory, termination=model.Termination(1))
    for _ in range(6):
        world.turn()
    assert world.finished
    assert not world.containers


def test_nothing_is_begun_again_for_containers_that_are_over() -> None:
    """A Job's pod whose records are lost (a reboot) fails; its init containers do not run a second time."""
    pod = pods.pod(restartPolicy="Never", initContainers=[pods.container("i1")])
    observed = model.Observed(None, (exited("i1", sandbox_id=""), exited("main", 137, sandbox_id="")))
    plan = decide.decide(pod, observed, memory(), 0.0)
    assert plan.terminate is not None
    assert not plan.actions
