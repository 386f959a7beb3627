"""Restarting a whole pod in place (KEP-5532): an exit that a container's rules answer with RestartAllContainers. Pure.

The containers of a pod run in rounds, and every container remembers its own (a label in the engine). An exit that restarts all of them
ends its round: what is of an older round than the present one is stopped if it runs, and then started anew, init containers first,
whatever the restart policies say. Sandbox, address and volumes stay. So nothing has to be remembered but what the engine has.
"""

from pinnace.kubelet.pod import model, podspec


def present(pod: model.Object, observed: model.Observed) -> int:
    """The number of the round that is going on or, where the last one has ended, of the next."""
    number = max((container.round for container in observed.containers), default=0)
    for role, container in podspec.containers(pod):
        if role is podspec.Role.EPHEMERAL or not container.get("restartPolicyRules"):
            continue
        for view in observed.containers:
            if view.name == container["name"] and _ends_its_round(container, view):
                number = max(number, view.round + 1)
    return number


def _ends_its_round(container: model.Object, view: model.ContainerView) -> bool:
    if not view.is_exited or view.is_killed_by_probe or view.start_failed:
        return False
    return podspec.restart_action(container, view.exit_code) == "RestartAllContainers"


def left_over(pod: model.Object, observed: model.Observed, number: int) -> tuple[model.ContainerView, ...]:
    """What still runs of earlier rounds; ephemeral containers belong to none."""
    ephemeral = {container["name"] for container in podspec.ephemeral_containers(pod)}
    return tuple(view for view in observed.alive if view.round < number and view.name not in ephemeral)
