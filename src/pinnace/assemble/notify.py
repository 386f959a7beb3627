"""Telling systemd that a service is ready: sd_notify(3), one datagram to the socket that $NOTIFY_SOCKET names."""

import socket
from collections.abc import Mapping

VARIABLES = ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Meant for one process of a service; passed on, crun would report every container as the service."""


def send(state: str, environment: Mapping[str, str]) -> None:
    """`READY=1`, `STOPPING=1`, `STATUS=…`. Quiet when nobody listens."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(state.encode(), address)
