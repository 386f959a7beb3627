"""What the pod workers of a node share."""

import dataclasses
from collections.abc import Callable, Mapping

from pinnace.client import client, events, informer
from pinnace.engine import interface
from pinnace.kit import clock, tasks
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.pod import checks, fields, hooks, images, podfiles, podspec, references, resizing
from pinnace.kubelet.volumes import manager
from pinnace.net import interface as net


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """The node's resources."""

    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]
    memory_bytes: int
    pids: int = 0
    """Processes and threads that all pods together may have; 0: not known."""
    has_apparmor: bool = False
    """The kernel enforces profiles of AppArmor."""


@dataclasses.dataclass(frozen=True, slots=True)
class Dependencies:
    api: client.Client
    engine: interface.Engine
    network: net.PodNetwork
    time: clock.Clock
    settings: settings_module.Settings
    recorder: events.EventRecorder
    supervisor: tasks.Supervisor
    machine: Machine
    images: images.Images
    volumes: manager.Volumes
    references: references.References
    checker: checks.Checker
    hooks: hooks.Hooks
    allocate: Callable[[podspec.Object, podspec.Object], resizing.Allocation]
    """(wanted, granted so far) -> what the node grants now."""
    services: informer.Informer
    host_resolver: podfiles.Resolver
    host_hosts: str
    """The host's own /etc/hosts."""

    def facts(self, pod_addresses: tuple[str, ...]) -> fields.Facts:
        return fields.Facts(
            node_name=self.settings.node_name,
            pod_addresses=pod_addresses,
            host_addresses=(self.settings.node_ip,),
            allocatable=self.machine.allocatable,
        )
