"""Another user of the machine against what pods leave on its disk: programs that run as root, files for every user of a pod, output."""

import asyncio
import dataclasses
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.testing import pods, real_node

pytestmark = pytest.mark.privileged

STRANGER = 65534


@pytest.fixture
def open_place() -> Iterator[pathlib.Path]:
    """A folder that everybody enters, as /var/lib is."""
    with tempfile.TemporaryDirectory(prefix="pinnace-attack-", dir="/var/tmp") as name:
        pathlib.Path(name).chmod(0o755)
        yield pathlib.Path(name)


def reachable(path: pathlib.Path) -> bool:
    """Whether the stranger gets as far as to look at it, in our own mount namespace, where even the mounts are."""
    looked = subprocess.run(
        ["/bin/ls", "-d", str(path)],
        check=False,
        user=STRANGER,
        group=STRANGER,
        extra_groups=[],
        capture_output=True,
        cwd="/",
    )
    return looked.returncode == 0


def test_no_other_user_reaches_what_a_pod_wrote_and_its_own_users_do(places: Any, open_place: pathlib.Path) -> None:
    here = dataclasses.replace(places, root=open_place / "node" / "engine", run=open_place / "run")
    for folder in (here.root, here.run, open_place / "data", open_place / "logs"):
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # as an earlier version left them

    async def main() -> None:
        async with real_node.node(here, open_place) as agent:
            script = """
                cp /bin/busybox /tmp/root-shell && chmod 4755 /tmp/root-shell
                echo secret > /scratch/file; chmod 666 /scratch/file; echo said; sleep 1000
            """
            reader = real_node.shell(
                "until cat /scratch/file; do sleep 0.1; done; cat /etc/hosts >/dev/null && touch /scratch/mine && sleep 1000",
                "reader",
                securityContext={"runAsUser": 4321},
                volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
            )
            writer = real_node.shell(script, volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}])
            pod = pods.pod("web", containers=[writer, reader], volumes=[{"name": "scratch", "emptyDir": {}}])
            await agent.create(pod)
            scratch = agent.settings.pod_dir(pod["metadata"]["uid"]) / "volumes" / "kubernetes.io~empty-dir" / "scratch"
            await agent.until(lambda: (scratch / "mine").exists())
            program = "tmp/root-shell"
            found = [*here.root.glob(f"containers/*/upper/{program}"), *here.run.glob(f"containers/*/rootfs/{program}")]
            assert len(found) == 2, "in the writable layer and in the mounted root"
            assert all(path.stat().st_mode & 0o4000 for path in found)
            logs = list(agent.settings.logs_dir.rglob("*.log"))
            assert logs
            for path in (*found, scratch / "file", *logs, agent.settings.pods_dir):
                assert not reachable(path), path
            assert reachable(open_place), "the check itself can say yes"
            assert os.geteuid() == 0

    asyncio.run(main())
