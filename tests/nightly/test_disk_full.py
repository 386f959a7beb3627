"""The disk is full (a small tmpfs): what was acknowledged stays, errors are clear, and all goes on once there is room again (G1, G16)."""

import asyncio
import os
import pathlib
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import api_load, faults
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.privileged, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[clusters.Cluster]:
    """A control plane whose data folder has 32 MiB."""
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", folder], check=True)
    found = clusters.Cluster(folder, clusters.free_port())
    try:
        found.up("--no-node")
        yield found
        found.pinnace("down", check=False)
    finally:
        found.pinnace("down", check=False)
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: pathlib.Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            return


def test_a_full_disk_loses_nothing_and_heals(small_disk: clusters.Cluster) -> None:
    target = faults.Target(small_disk)
    ballast = small_disk.data / "ballast"
    acknowledged: dict[str, str] = {}
    errors: list[str] = []

    async def create(api: client.Client, name: str) -> None:
        body: dict[str, Any] = {"metadata": {"name": name}, "data": {"a": name * 2000}}
        try:
            made = await api.create(resources.CONFIG_MAPS, "default", body)
            acknowledged[name] = made["metadata"]["uid"]
        except client.ApiError as error:
            errors.append(f"{error.code} {error}")

    async def main() -> float:
        api = target.api()
        await asyncio.gather(*(create(api, f"before-{number}") for number in range(50)))
        await asyncio.to_thread(fill, ballast)
        begun = time.monotonic()
        number = 0
        while time.monotonic() - begun < 10:
            await create(api, f"full-{number}")
            number += 1
            if errors:
                await asyncio.sleep(0.2)
        assert errors, "the disk was never full"
        os.unlink(ballast)
        begun = time.monotonic()
        found = await api_load.patiently(lambda: api.list(resources.CONFIG_MAPS, "default"))
        while f"after-{number}" not in acknowledged:
            number += 1
            await create(api, f"after-{number}")
            await asyncio.sleep(0.05)
            assert time.monotonic() - begun < 60, errors[-3:]
        healed = time.monotonic() - begun
        found = await api.list(resources.CONFIG_MAPS, "default")
        present = {item["metadata"]["name"]: item["metadata"]["uid"] for item in found.items}
        assert {name: uid for name, uid in acknowledged.items() if present.get(name) != uid} == {}
        await api.close()
        return healed

    healed = asyncio.run(main())
    print(
        f"\n{len(acknowledged)} acknowledged, {len(errors)} refused, healed in {healed:.2f} s; refusals: {sorted(set(errors))[:5]}"
    )
    # One more life from the disk alone.
    asyncio.run(target.back("server", target.kill("server")))

    async def again() -> set[str]:
        api = target.api()
        found = await api.list(resources.CONFIG_MAPS, "default")
        await api.close()
        return {item["metadata"]["name"] for item in found.items}

    assert set(acknowledged) <= asyncio.run(again())
