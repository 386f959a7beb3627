"""All volumes of a pod: set up at once before its containers start, kept up to date, removed when it is gone."""

import asyncio
import dataclasses
import pathlib
from collections.abc import Mapping

from pinnace.kernel import paths
from pinnace.kubelet.pod import model, podspec
from pinnace.kubelet.volumes import empty_dir, host_path, image, interface, persistent, projected, token


class VolumesFailed(Exception):
    """Some volumes could not be set up: name -> why, in full. `waiting`: what the containers show meanwhile, if not that they are being made."""

    def __init__(
        self, failures: Mapping[str, str], waiting: model.Waiting | None = None, *, is_for_claims: bool = False
    ) -> None:
        """`is_for_claims`: for nothing else."""
        super().__init__("; ".join(failures.values()))
        self.failures = dict(failures)
        self.waiting = waiting
        self.is_for_claims = is_for_claims


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    volumes: Mapping[str, interface.Volume] = dataclasses.field(default_factory=dict)
    renew_at: float | None = None
    """When `refresh` must be called although nothing changed."""


class Volumes:
    def __init__(self, mounts: interface.Mounts) -> None:
        self.mounts = mounts
        self._tokens = token.Tokens()

    async def prepare(self, context: interface.Context) -> Prepared:
        """Every volume of the pod, all at the same time; idempotent. Raises VolumesFailed."""
        volumes = context.pod["spec"].get("volumes") or []
        results = await asyncio.gather(*(self._mount(context, volume) for volume in volumes), return_exceptions=True)
        ready: dict[str, interface.Volume] = {}
        renewals: list[float] = []
        failures: dict[str, str] = {}
        claims: dict[str, persistent.ClaimError] = {}
        waiting: model.Waiting | None = None
        for volume, result in zip(volumes, results, strict=True):
            if isinstance(result, persistent.ClaimError):
                claims[volume["name"]] = result
            elif isinstance(result, interface.VolumeError | OSError | ValueError):
                # ValueError: what no path can be, a NUL in it, say.
                failures[volume["name"]] = _told(volume["name"], result)
                waiting = result.waiting if isinstance(result, image.ImageVolumeError) else waiting
            elif isinstance(result, BaseException):
                raise result
            else:
                ready[volume["name"]] = result[0]
                if result[1] is not None:
                    renewals.append(result[1])
        if claims:
            failures[CLAIMS] = _told_of_claims(claims)
        if failures:
            raise VolumesFailed(failures, waiting, is_for_claims=set(failures) == {CLAIMS})
        return Prepared(ready, min(renewals, default=None))

    async def refresh(self, context: interface.Context, prepared: Prepared) -> Prepared:
        """Bring config maps, secrets, downward API files and tokens up to date. Raises VolumesFailed."""
        live = [volume for volume in context.pod["spec"].get("volumes") or () if projected.is_payload(volume)]
        changed = {**context.pod, "spec": {**context.pod["spec"], "volumes": live}}
        again = await self.prepare(dataclasses.replace(context, pod=changed))
        return Prepared({**prepared.volumes, **again.volumes}, again.renew_at)

    async def remove(self, uid: str, pod_dir: pathlib.Path) -> None:
        """Unmount and remove everything of a pod; idempotent. Raises OSError."""
        self._tokens.forget(uid)
        await asyncio.to_thread(self._clear, pod_dir)

    def _clear(self, pod_dir: pathlib.Path) -> None:
        if pod_dir.exists():
            self.mounts.unmount_tree(pod_dir)
            paths.remove_tree(pod_dir)

    async def _mount(self, context: interface.Context, volume: podspec.Object) -> tuple[interface.Volume, float | None]:
        name = volume["name"]
        if projected.is_payload(volume):
            return await projected.mount(context, volume, self._tokens)
        if persistent.claim_name(context.pod, volume) is not None:
            return await persistent.mount(context, volume), None
        if volume.get("hostPath") is not None:
            return await host_path.mount(context, name, volume["hostPath"]), None
        if volume.get("image") is not None:
            return await image.mount(context, name, volume["image"]), None
        if volume.get("emptyDir") is not None or set(volume) == {"name"}:
            return await empty_dir.mount(context, name, volume.get("emptyDir") or {}), None
        kind = next(iter(set(volume) - {"name"}))
        raise interface.VolumeError(f"no volume plugin matched: this node has none for {kind}")


CLAIMS = ""
"""The key of what is said of all claims together: no volume has that name."""


def _told_of_claims(failed: Mapping[str, persistent.ClaimError]) -> str:
    names = f"[{' '.join(failed)}]"
    why = "; ".join(str(error) for error in failed.values())
    return f"Unable to attach or mount volumes: unmounted volumes={names}, unattached volumes=[], failed to process volumes={names}: {why}"


def _told(name: str, error: interface.VolumeError | OSError | ValueError) -> str:
    if not isinstance(error, interface.VolumeError):
        error = interface.VolumeError(str(error))
    return f'{error.step} for volume "{error.volume or name}" : {error}'
