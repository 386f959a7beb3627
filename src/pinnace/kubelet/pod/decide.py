"""What to do next for one pod. Pure: pod, observed state, memory and the time in; a frozen plan out.

Called by the pod's worker after every change of anything. It is level-triggered: the plan follows from the present state alone, so a
worker that starts anew (a restart of the agent) goes on where the last one stopped.
"""

import dataclasses
from collections.abc import Mapping

from pinnace.api import pods
from pinnace.kubelet.pod import backoffs, model, podspec, resizing, restart_all, steps


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[steps.Step, ...] = ()
    waiting: Mapping[str, model.Waiting] = dataclasses.field(default_factory=dict)
    """By container name: why it waits, as far as the decision itself knows (back-off)."""
    wake_at: float | None = None
    """When something becomes due although nothing changes."""
    terminate: model.Termination | None = None
    """The pod came to its end by itself: set this as its termination and decide again."""
    is_finished: bool = False
    """Nothing of the pod is left on this node, and its last status is written."""


def decide(pod: model.Object, observed: model.Observed, memory: model.Memory, now: float) -> Plan:
    if memory.termination is not None:
        return _plan_termination(pod, observed, memory, memory.termination, now)
    expiry = _deadline(pod, memory)
    if expiry is not None and expiry <= now:
        return Plan(terminate=_deadline_exceeded(pod))
    draft = _Draft(pod, observed, memory, now)
    if expiry is not None:
        draft.wake(expiry)
    draft.make()
    return draft.plan()


def _deadline(pod: model.Object, memory: model.Memory) -> float | None:
    seconds = pod["spec"].get("activeDeadlineSeconds")
    if seconds is None or memory.started_at is None:
        return None
    return memory.started_at + float(seconds)


def _deadline_exceeded(pod: model.Object) -> model.Termination:
    return model.Termination(
        grace_seconds=podspec.termination_grace_seconds(pod),
        reason="DeadlineExceeded",
        message="Pod was active on the node longer than the specified deadline",
        is_failure=True,
    )


def is_started(container: model.ContainerView, probes: Mapping[str, model.ProbeResults]) -> bool:
    """Running, its postStart hook done and its startup probe passed: the next init container may start."""
    if not container.is_alive or container.hook_pending:
        return False
    return probes.get(container.id, model.NO_PROBES).startup is True


class _Draft:
    """A plan being put together; lives for one call of `decide`."""

    def __init__(self, pod: model.Object, observed: model.Observed, memory: model.Memory, now: float) -> None:
        self.pod = pod
        self.observed = observed
        self.memory = memory
        self.now = now
        self.actions: list[steps.Step] = []
        self.waiting: dict[str, model.Waiting] = {}
        self.wake_at: float | None = None
        self.terminate: model.Termination | None = None
        self._resize = resizing.left(pod, observed, memory.actual)
        self._round = restart_all.present(pod, observed)

    def plan(self) -> Plan:
        return Plan(tuple(self.actions), self.waiting, self.wake_at, self.terminate)

    def wake(self, moment: float) -> None:
        if self.wake_at is None or moment < self.wake_at:
            self.wake_at = moment

    def make(self) -> None:
        if self._kill_in_dead_sandbox() or self._kill_left_over():
            return
        wanted, is_done = self._wanted()
        if is_done:
            self.terminate = model.Termination(podspec.termination_grace_seconds(self.pod))
            return
        self._plan_volumes()
        self._plan_sandbox(needed=bool(wanted))
        if self._plan_resize():
            # A container never starts in a group that is too narrow for it.
            return
        for role, container in wanted:
            self._plan_start(role, container)

    # ------------------------------------------------------------ what should run

    def _wanted(self) -> tuple[list[tuple[podspec.Role, model.Object]], bool]:
        """The containers that should be started now, and whether the pod is done."""
        # Ephemeral containers are started at any time once there is a sandbox, never again.
        wanted = [
            (podspec.Role.EPHEMERAL, container)
            for container in podspec.ephemeral_containers(self.pod)
            if self._sandbox_is_ready and self.observed.latest(container["name"]) is None
        ]
        if not self._sandbox_is_ready and self._is_run_over():
            # Without a container to start nothing is worth a new sandbox, and no init container runs again.
            return [], True
        initialized, failed = self._plan_initialization(wanted)
        if failed:
            return [], True
        if not initialized:
            return wanted, False
        keep = 0
        for container in podspec.main_containers(self.pod):
            latest = self._latest(container["name"])
            if latest is not None and latest.is_alive:
                keep += 1
                self._maybe_kill(podspec.Role.MAIN, container, latest)
            elif self._should_start(podspec.Role.MAIN, container, latest):
                keep += 1
                wanted.append((podspec.Role.MAIN, container))
        return wanted, keep == 0

    def _plan_initialization(self, wanted: list[tuple[podspec.Role, model.Object]]) -> tuple[bool, bool]:
        """Walk the init containers in order. Returns (all done, one failed for good)."""
        was_initialized = self._is_any_main_started()
        blocked = False
        for container in podspec.init_containers(self.pod):
            role = podspec.Role.SIDECAR if pods.is_sidecar(container) else podspec.Role.INIT
            if role is podspec.Role.INIT and was_initialized:
                continue
            latest = self._latest_here(container["name"])
            if latest is not None and latest.is_alive:
                self._maybe_kill(role, container, latest)
                is_passed = role is podspec.Role.SIDECAR and is_started(latest, self.memory.probes)
                blocked = blocked or not is_passed
            elif role is podspec.Role.INIT and latest is not None and latest.is_exited and latest.exit_code == 0:
                continue
            elif self._should_start(role, container, latest):
                # Those before it that run already go on; those behind it wait until it has passed.
                if not blocked or (role is podspec.Role.SIDECAR and latest is not None):
                    wanted.append((role, container))
                blocked = True
            else:
                return False, True
        return was_initialized or not blocked, False

    def _is_run_over(self) -> bool:
        for container in podspec.main_containers(self.pod):
            latest = self._latest(container["name"])
            if latest is None or latest.is_alive or self._should_start(podspec.Role.MAIN, container, latest):
                return False
        return True

    def _should_start(self, role: podspec.Role, container: model.Object, latest: model.ContainerView | None) -> bool:
        if latest is None or latest.state is model.State.CREATED:
            return True
        if latest.is_killed_by_probe or latest.start_failed:
            return podspec.may_restart_after_failure(self.pod, role, container)
        return podspec.should_restart(self.pod, role, container, latest.exit_code)

    def _is_any_main_started(self) -> bool:
        sandbox = self.observed.sandbox
        names = {container["name"] for container in podspec.main_containers(self.pod)}
        return any(
            container.name in names
            and sandbox is not None
            and container.sandbox_id == sandbox.id
            and container.round == self._round
            for container in self.observed.containers
        )

    def _latest(self, name: str) -> model.ContainerView | None:
        """The last attempt within the present round."""
        latest = self.observed.latest(name)
        return latest if latest is not None and latest.round == self._round else None

    def _latest_here(self, name: str) -> model.ContainerView | None:
        """The last attempt within the present sandbox: after a sandbox died, initialization starts from the beginning."""
        latest = self._latest(name)
        sandbox = self.observed.sandbox
        if latest is None or sandbox is None or latest.sandbox_id != sandbox.id:
            return None
        return latest

    @property
    def _sandbox_is_ready(self) -> bool:
        return self.observed.sandbox is not None and self.observed.sandbox.is_ready

    # ------------------------------------------------------------ how to get there

    def _kill_in_dead_sandbox(self) -> bool:
        """A sandbox that died takes its containers with it before anything else happens."""
        if self.observed.sandbox is None or self._sandbox_is_ready or steps.SANDBOX in self.memory.in_flight:
            return False
        alive = self.observed.alive
        for container in alive:
            self._kill(container, "", restart=True)
        return bool(alive)

    def _kill_left_over(self) -> bool:
        """All containers are to be restarted: what runs of the last round ends at once before anything starts again."""
        alive = restart_all.left_over(self.pod, self.observed, self._round)
        for container in alive:
            text = f"Container {container.name} is restarted with all containers of the pod"
            self._kill(container, text, restart=True, grace=0, skips_pre_stop=True)
        return bool(alive)

    def _plan_volumes(self) -> None:
        if not self.memory.volumes_ready and self._is_due(steps.VOLUMES):
            self.actions.append(steps.PrepareVolumes())

    def _plan_sandbox(self, *, needed: bool) -> None:
        if self._sandbox_is_ready or not needed or not self._is_due(steps.SANDBOX):
            return
        old = self.observed.sandbox
        attempt = 0 if old is None else old.attempt + 1
        self.actions.append(steps.CreateSandbox(attempt, "" if old is None else old.id))

    def _plan_resize(self) -> bool:
        """Whether limits are being changed now."""
        is_stale = self.memory.limits_stale and not self._resize.restart
        if not self._sandbox_is_ready or not (self._resize.live or is_stale):
            return False
        if self._is_due(steps.RESIZE):
            self.actions.append(steps.Resize())
            return True
        return steps.RESIZE in self.memory.in_flight

    def _plan_start(self, role: podspec.Role, container: model.Object) -> None:
        name = container["name"]
        if steps.start(name) in self.memory.in_flight or steps.image(name) in self.memory.in_flight:
            return
        latest = self.observed.latest(name)
        if latest is not None and latest.is_exited and self._is_backing_off(name, latest):
            return
        if not self.memory.volumes_ready:
            # Upstream looks at images once the volumes are there: what is wrong with those stands alone till then.
            return
        image = self.memory.images.get(name)
        if image is None or (isinstance(image, model.ImageFailed) and image.retry_at <= self.now):
            self.actions.append(steps.EnsureImage(name))
            if image is not None:
                # Until this try has ended, the last one is what there is to tell.
                self.waiting[name] = _pull_back_off(image)
            return
        if isinstance(image, model.ImageFailed):
            self._wait_for_image(name, image)
            return
        sandbox = self.observed.sandbox
        if sandbox is None or not sandbox.is_ready or not self._is_due(steps.start(name)):
            return
        self.actions.append(
            steps.StartContainer(
                name=name,
                role=role,
                attempt=_next_attempt(self.pod, name, latest),
                image_id=image.image_id,
                sandbox_id=sandbox.id,
                replaces="" if latest is None else latest.id,
                round=self._round,
            )
        )

    def _is_backing_off(self, name: str, latest: model.ContainerView) -> bool:
        due = backoffs.restart_at(self.memory.crashes.get(name), latest.finished_at)
        if due <= self.now:
            return False
        self.wake(due)
        delay = go_seconds(self.memory.crashes[name].delay)
        self.waiting[name] = model.Waiting(
            "CrashLoopBackOff",
            f"back-off {delay} restarting failed container={name} pod={podspec.full_name(self.pod)}",
        )
        return True

    def _wait_for_image(self, name: str, image: model.ImageFailed) -> None:
        self.wake(image.retry_at)
        announced = image.failed_at + ANNOUNCE_PULL_BACKOFF_SECONDS
        if image.error.reason == "ErrImagePull" and self.now < announced:
            self.wake(announced)
            self.waiting[name] = image.error
            return
        self.waiting[name] = _pull_back_off(image)

    def _maybe_kill(self, role: podspec.Role, container: model.Object, latest: model.ContainerView) -> None:
        """Stop a running container whose definition changed or whose probe failed."""
        name = container["name"]
        probes = self.memory.probes.get(latest.id, model.NO_PROBES)
        restart = podspec.may_restart_after_failure(self.pod, role, container)
        grace = podspec.spec_grace_seconds(self.pod)
        if latest.image and latest.image != container.get("image", ""):
            message, restart = f"Container {name} definition changed", True
        elif name in self._resize.restart:
            message, restart = f"Container {name} resize requires restart", True
        elif role is not podspec.Role.INIT and probes.liveness is False:
            message = f"Container {name} failed liveness probe"
            grace = _probe_grace(container, "livenessProbe", grace)
        elif role is not podspec.Role.INIT and probes.startup is False:
            message = f"Container {name} failed startup probe"
            grace = _probe_grace(container, "startupProbe", grace)
        else:
            return
        self._kill(latest, f"{message}, will be restarted" if restart else message, restart=restart, grace=grace)

    def _kill(
        self,
        container: model.ContainerView,
        message: str,
        *,
        restart: bool,
        grace: int | None = None,
        skips_pre_stop: bool = False,
    ) -> None:
        if container.id in self.memory.kills or not self._is_due(steps.kill(container.id)):
            return
        seconds = podspec.spec_grace_seconds(self.pod) if grace is None else grace
        self.actions.append(
            steps.KillContainer(
                container.id,
                container.name,
                seconds,
                message=message,
                restart=restart,
                skips_pre_stop=skips_pre_stop,
            )
        )

    def _is_due(self, key: steps.StepKey) -> bool:
        if key in self.memory.in_flight:
            return False
        due = self.memory.retry_at.get(key)
        if due is None or due <= self.now:
            return True
        self.wake(due)
        return False


ANNOUNCE_PULL_BACKOFF_SECONDS = 1.0
"""How long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff."""


def _pull_back_off(image: model.ImageFailed) -> model.Waiting:
    if image.error.reason != "ErrImagePull":
        return image.error
    text = f'Back-off pulling image "{image.image}": ErrImagePull: {image.error.message}'
    return model.Waiting("ImagePullBackOff", text)


def go_seconds(seconds: float) -> str:
    """A duration as Go prints it: `10s`, `1m20s`, `5m0s`."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _next_attempt(pod: model.Object, name: str, latest: model.ContainerView | None) -> int:
    if latest is not None:
        return latest.attempt if latest.state is model.State.CREATED else latest.attempt + 1
    # Its dead containers may have been collected: the count goes on from what the status says.
    status = pod.get("status", {})
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or ():
            if entry.get("name") == name and entry.get("containerID"):
                return int(entry.get("restartCount", 0)) + 1
    return 0


def _probe_grace(container: model.Object, probe: str, default: int) -> int:
    seconds = (container.get(probe) or {}).get("terminationGracePeriodSeconds")
    return default if seconds is None else int(seconds)


# ---------------------------------------------------------------- the end of a pod


def _plan_termination(
    pod: model.Object, observed: model.Observed, memory: model.Memory, termination: model.Termination, now: float
) -> Plan:
    if observed.alive:
        return _plan_kills(pod, observed.alive, memory, termination.grace_seconds, now)
    if any(key.kind.blocks_teardown for key in memory.in_flight):
        return Plan()
    if memory.torn_down:
        return Plan(is_finished=memory.terminal_status_written)
    # The engine's records are the only source of the exit codes: they go once the API knows them.
    if not memory.terminal_status_written or steps.TEARDOWN in memory.in_flight:
        return Plan()
    due = memory.retry_at.get(steps.TEARDOWN, now)
    return Plan(wake_at=due) if due > now else Plan(actions=(steps.TearDown(),))


def _plan_kills(
    pod: model.Object, alive: tuple[model.ContainerView, ...], memory: model.Memory, grace: int, now: float
) -> Plan:
    """Containers first, all at once; then the sidecars, the last started first."""
    sidecars = [container["name"] for container in podspec.init_containers(pod) if pods.is_sidecar(container)]
    kills: list[steps.Step] = []
    wake_at: float | None = None
    for container in alive:
        under_way = memory.kills.get(container.id)
        if under_way is not None and under_way <= grace:
            continue
        due = memory.retry_at.get(steps.kill(container.id), now)
        if due > now:
            wake_at = due if wake_at is None else min(due, wake_at)
            continue
        after: tuple[str, ...] = ()
        if container.name in sidecars:
            later = sidecars[sidecars.index(container.name) + 1 :]
            after = tuple(
                other.id
                for other in alive
                if other.id != container.id and (other.name in later or other.name not in sidecars)
            )
        kills.append(steps.KillContainer(container.id, container.name, grace, after=after))
    return Plan(actions=tuple(kills), wake_at=wake_at)
