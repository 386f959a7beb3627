"""Questions about a pod object: pure readers of the plain dict that the API serves. No defaults are repeated that the API server
always fills in, except where a missing field has a meaning of its own."""

import enum
from collections.abc import Iterator
from typing import Any

from pinnace.api import pods

Object = dict[str, Any]

TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})
DEFAULT_GRACE_SECONDS = 30


class Role(enum.Enum):
    """What a container is to its pod."""

    INIT = "init container"
    SIDECAR = "sidecar"
    """An init container with restartPolicy Always: started in order with them, stopped after the containers."""
    MAIN = "container"
    EPHEMERAL = "ephemeral container"


def uid(pod: Object) -> str:
    return str(pod["metadata"]["uid"])


def name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def namespace(pod: Object) -> str:
    return str(pod["metadata"]["namespace"])


def full_name(pod: Object) -> str:
    """`name_namespace(uid)`: how upstream's messages name a pod."""
    return f"{name(pod)}_{namespace(pod)}({uid(pod)})"


def phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def generation(pod: Object) -> int:
    return int(pod["metadata"].get("generation", 0))


def is_being_deleted(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Object) -> bool:
    return phase(pod) in TERMINAL_PHASES


def restart_policy(pod: Object) -> str:
    return str(pod["spec"].get("restartPolicy", "Always"))


def is_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork", False))


def init_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("initContainers") or []


def main_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("containers") or []


def ephemeral_containers(pod: Object) -> list[Object]:
    return pod["spec"].get("ephemeralContainers") or []


def containers(pod: Object) -> Iterator[tuple[Role, Object]]:
    """Every container with its role: init containers and sidecars in order, containers, ephemeral containers."""
    for container in init_containers(pod):
        yield (Role.SIDECAR if pods.is_sidecar(container) else Role.INIT), container
    for container in main_containers(pod):
        yield Role.MAIN, container
    for container in ephemeral_containers(pod):
        yield Role.EPHEMERAL, container


def find_container(pod: Object, container_name: str) -> tuple[Role, Object] | None:
    for role, container in containers(pod):
        if container["name"] == container_name:
            return role, container
    return None


def changed_images(before: Object, after: Object) -> list[str]:
    """Names of the containers that have another image than before."""
    known = {container["name"]: container.get("image") for _, container in containers(before)}
    return [
        container["name"]
        for _, container in containers(after)
        if known.get(container["name"], container.get("image")) != container.get("image")
    ]


def field_path(pod: Object, container_name: str) -> str:
    """`spec.containers{web}`: the part of the pod that an event is about."""
    found = find_container(pod, container_name)
    if found is None:
        return ""
    lists = {Role.INIT: "initContainers", Role.SIDECAR: "initContainers", Role.MAIN: "containers"}
    return f"spec.{lists.get(found[0], 'ephemeralContainers')}{{{container_name}}}"


def termination_grace_seconds(pod: Object) -> int:
    """How long a container of this pod may take to stop. A deletion's own grace period goes before the spec's; at least one second."""
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") is not None:
        return max(1, int(metadata["deletionGracePeriodSeconds"]))
    return max(1, spec_grace_seconds(pod))


def spec_grace_seconds(pod: Object) -> int:
    seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_SECONDS if seconds is None else int(seconds)


def should_restart(pod: Object, role: Role, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is to run again.

    A regular init container is restarted only after a failure; the container's own rules and policy (KEP-5307) go before the pod's."""
    if role is Role.EPHEMERAL:
        return False
    if role is Role.SIDECAR:
        return True
    if restart_action(container, exit_code) == "Restart":
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if policy == "Never":
        return False
    if policy == "OnFailure" or role is Role.INIT:
        return exit_code != 0
    return True


def may_restart_after_failure(pod: Object, role: Role, container: Object) -> bool:
    if role is Role.SIDECAR:
        return True
    return (container.get("restartPolicy") or restart_policy(pod)) != "Never"


def restart_action(container: Object, exit_code: int) -> str:
    """The action of the first of the container's own rules that this exit code matches: Restart, RestartAllContainers; "": none."""
    for rule in container.get("restartPolicyRules") or ():
        if _rule_matches(rule, exit_code):
            return str(rule.get("action", ""))
    return ""


def _rule_matches(rule: Object, exit_code: int) -> bool:
    codes = rule.get("exitCodes")
    if not codes:
        return False
    inside = exit_code in (codes.get("values") or ())
    return inside if codes.get("operator") == "In" else not inside


def is_recursively_read_only(mount: Object) -> bool:
    """A volume mount; `IfPossible`: it is."""
    return bool(mount.get("readOnly")) and mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")


def pull_policy(container: Object) -> str:
    """The API server fills it in; an object from elsewhere gets upstream's default: Always for `:latest`."""
    policy = container.get("imagePullPolicy")
    if policy:
        return str(policy)
    image = str(container.get("image", ""))
    tail = image.rsplit("/", 1)[-1]
    if "@" in image:
        return "IfNotPresent"
    return "Always" if ":" not in tail or tail.endswith(":latest") else "IfNotPresent"


def had_sandbox(pod: Object) -> bool:
    """Whether the API knows of an earlier one: the machine was restarted since, say."""
    return bool((pod.get("status") or {}).get("podIP"))
