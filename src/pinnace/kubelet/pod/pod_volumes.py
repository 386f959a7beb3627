"""The volumes of one pod, and the config maps and secrets that it names: set up, then kept up to date."""

import pathlib
from collections.abc import Callable

from pinnace.engine import interface
from pinnace.kubelet.pod import (
    attempts,
    backoffs,
    dependencies,
    environment,
    model,
    podspec,
    pull_secrets,
    references,
    state,
    steps,
)
from pinnace.kubelet.volumes import image, manager
from pinnace.kubelet.volumes import interface as volumes

RETRY_SECONDS = 10.0


class PodVolumes:
    def __init__(
        self,
        pod: state.PodState,
        shared: dependencies.Dependencies,
        under_way: attempts.Attempts,
        poke: Callable[[], None],
    ) -> None:
        self._state = pod
        self._shared = shared
        self._attempts = under_way
        self._poke = poke
        self._refresh_wanted = False

    def use_references(self) -> None:
        """Watch exactly what the pod names now."""
        if self._state.termination is None:
            pod = self._state.pod
            wanted = environment.references(pod)
            self._shared.references.use(self._state.uid, podspec.namespace(pod), wanted, self._on_reference)

    def want_refresh(self) -> None:
        self._refresh_wanted = True

    def _on_reference(self) -> None:
        """Something that the pod names changed: what failed for want of it may work now."""
        self._refresh_wanted = True
        self._attempts.allow_retry(steps.Kind.VOLUMES, steps.Kind.START)
        self._poke()

    async def prepare(self) -> bool | attempts.Later:
        self._refresh_wanted = False
        try:
            self._state.prepared = await self._shared.volumes.prepare(self._context())
        except manager.VolumesFailed as error:
            self._tell(error)
            self._state.volumes_waiting = error.waiting
            if error.is_for_claims:
                return attempts.Later(backoffs.SYNC_SECONDS, backoffs.SYNC_SECONDS)
            return False
        self._state.volumes_ready = True
        self._state.volumes_waiting = None
        return True

    def maybe_refresh(self, now: float) -> float | None:
        """Set the refresh of live volumes going where it is due; returns when it is due next."""
        if not self._state.volumes_ready or self._state.termination is not None or steps.REFRESH in self._attempts:
            return None
        renew_at = self._state.prepared.renew_at
        if not self._refresh_wanted and (renew_at is None or renew_at > now):
            return renew_at
        held_until = self._attempts.retry_at.get(steps.REFRESH, now)
        if held_until > now and not self._refresh_wanted:
            return held_until
        self._refresh_wanted = False
        self._attempts.launch(steps.REFRESH, self._refresh())
        return None

    async def _refresh(self) -> None:
        try:
            self._state.prepared = await self._shared.volumes.refresh(self._context(), self._state.prepared)
        except manager.VolumesFailed as error:
            self._tell(error)
            self._attempts.retry_at[steps.REFRESH] = self._shared.time.monotonic() + RETRY_SECONDS

    def _tell(self, error: manager.VolumesFailed) -> None:
        for text in error.failures.values():
            self._shared.recorder.warning(self._state.pod, "FailedMount", text)

    async def _show_image(self, source: podspec.Object, folder: pathlib.Path) -> None:
        """Raises VolumeError."""
        if self._shared.volumes.mounts.is_mounted(folder):
            return
        pod, wanted = (
            self._state.pod,
            {"name": "", "image": source["reference"], "imagePullPolicy": source.get("pullPolicy")},
        )
        found = await self._shared.images.ensure(pod, wanted, await pull_secrets.find(pod, self._shared))
        if isinstance(found, model.ImageFailed):
            raise image.ImageVolumeError(found.error)
        try:
            await self._shared.engine.images.mount(found.image_id, folder)
        except interface.EngineError as error:
            raise volumes.VolumeError(str(error)) from error

    def _context(self) -> volumes.Context:
        pod = self._state.pod

        async def lookup(reference: environment.Reference) -> podspec.Object | None:
            try:
                return await self._shared.references.get(podspec.namespace(pod), reference)
            except references.NotSynced as error:
                raise volumes.VolumeError(str(error)) from error

        return volumes.Context(
            pod=pod,
            api=self._shared.api,
            lookup=lookup,
            facts=self._shared.facts(self._state.addresses),
            settings=self._shared.settings,
            mounts=self._shared.volumes.mounts,
            time=self._shared.time,
            show_image=self._show_image,
        )
