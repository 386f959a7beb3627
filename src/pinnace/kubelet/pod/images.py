"""Finds or pulls the image for the next start of a container, by its pull policy, with upstream's events and back-off."""

import base64
import logging
from collections.abc import Sequence

import orjson

from pinnace.client import events
from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet.pod import backoffs, model, podspec

log = logging.getLogger(__name__)

HUB = "docker.io"
PRESENT_HINT = (
    " (an image of that name is present on this node; to use it set imagePullPolicy: IfNotPresent, "
    "or name a tag other than latest)"
)
"""Learners load an image, name it without a tag, and see a registry's refusal: this is the way out."""
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Images:
    """Shared by all pods of the node."""

    def __init__(self, engine: interface.Engine, recorder: events.EventRecorder, time: clock.Clock) -> None:
        self._engine = engine
        self._recorder = recorder
        self._clock = time
        self._failures: dict[tuple[str, str], int] = {}
        """(pod uid, image) -> failed pulls in a row."""

    def forget(self, uid: str) -> None:
        for key in [key for key in self._failures if key[0] == uid]:
            del self._failures[key]

    async def ensure(
        self, pod: podspec.Object, container: podspec.Object, secrets: Sequence[podspec.Object]
    ) -> model.ImageState:
        """`secrets`: the pod's pull secrets that exist."""
        name = str(container.get("image", ""))
        policy = podspec.pull_policy(container)
        path = podspec.field_path(pod, container["name"])
        try:
            present = await self._engine.images.get(name)
        except interface.NoSuchObject:
            present = None
        except interface.ImageError as error:
            text = f'Failed to apply default image tag "{name}": {error}'
            self._recorder.warning(pod, "InspectFailed", text, field_path=path)
            return self._failed("InvalidImageName", text, name)
        if present is not None and policy != "Always":
            text = f'Container image "{name}" already present on machine and can be accessed by the pod'
            self._recorder.normal(pod, "Pulled", text, field_path=path)
            return model.ImageReady(present.id)
        if policy == "Never":
            text = f'Container image "{name}" is not present with pull policy of Never'
            self._recorder.warning(pod, "ErrImageNeverPull", text, field_path=path)
            self._recorder.warning(pod, "Failed", "Error: ErrImageNeverPull", field_path=path)
            return self._failed("ErrImageNeverPull", text, name)
        return await self._pull(pod, name, path, secrets, is_present=present is not None)

    async def _pull(
        self, pod: podspec.Object, name: str, path: str, secrets: Sequence[podspec.Object], *, is_present: bool
    ) -> model.ImageState:
        key = (podspec.uid(pod), name)
        self._recorder.normal(pod, "Pulling", f'Pulling image "{name}"', field_path=path)
        started = self._clock.monotonic()
        try:
            image = await self._pull_with_any(name, credentials(name, secrets))
        except interface.EngineError as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            reason = f"{error}{PRESENT_HINT}" if is_present else str(error)
            self._recorder.warning(pod, "Failed", f'Failed to pull image "{name}": {reason}', field_path=path)
            self._recorder.warning(pod, "Failed", "Error: ErrImagePull", field_path=path)
            delay = backoffs.next_pull_delay(self._failures[key])
            return self._failed("ErrImagePull", reason, name, delay)
        self._failures.pop(key, None)
        took = _go_milliseconds(self._clock.monotonic() - started)
        self._recorder.normal(
            pod,
            "Pulled",
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {image.size} bytes.',
            field_path=path,
        )
        return model.ImageReady(image.id)

    async def _pull_with_any(self, name: str, found: Sequence[interface.Credentials]) -> interface.Image:
        """Each credential in turn, as upstream does; the last error counts."""
        tries: list[interface.Credentials | None] = [*found] or [None]
        for index, credential in enumerate(tries):
            try:
                async for progress in self._engine.images.pull(name, credential):
                    log.debug("pull %s: %s %s", name, progress.item, progress.status)
                break
            except interface.ImageError:
                if index == len(tries) - 1:
                    raise
        return await self._engine.images.get(name)

    def _failed(
        self, reason: str, message: str, image: str, delay: float = backoffs.FIRST_SECONDS
    ) -> model.ImageFailed:
        now = self._clock.monotonic()
        return model.ImageFailed(model.Waiting(reason, message), now, now + delay, image)


def _go_milliseconds(seconds: float) -> str:
    """A duration rounded to milliseconds as Go prints it: `12ms`, `1.234s`, `1m2.5s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    tail = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


# ---------------------------------------------------------------- credentials


def registry_of(image: str) -> str:
    """The registry's host that an image's name means."""
    first, separator, _ = image.partition("/")
    if separator and ("." in first or ":" in first or first == "localhost"):
        return HUB if first in _HUB_NAMES else first
    return HUB


def credentials(image: str, secrets: Sequence[podspec.Object]) -> list[interface.Credentials]:
    """Those of the pull secrets (`kubernetes.io/dockerconfigjson`, `kubernetes.io/dockercfg`) that fit the image's registry."""
    found: list[tuple[int, interface.Credentials]] = []
    for secret in secrets:
        for place, entry in _entries(secret):
            length = _match_length(place, image)
            if length:
                found.append((length, _credentials(entry)))
    return [credential for _, credential in sorted(found, key=lambda pair: -pair[0])]


def _entries(secret: podspec.Object) -> list[tuple[str, podspec.Object]]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            config = orjson.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
        elif ".dockercfg" in data:
            config = orjson.loads(base64.b64decode(data[".dockercfg"]))
        else:
            return []
        return [(str(place), entry) for place, entry in config.items() if isinstance(entry, dict)]
    except (ValueError, AttributeError):
        log.warning("pull secret %s is no docker configuration", secret["metadata"].get("name"))
        return []


def _match_length(place: str, image: str) -> int:
    """How much of the image's name `place` (a host with an optional path) fits; 0: not at all."""
    bare = place.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = bare.partition("/")
    if path in ("v1", "v2"):
        path = ""
    if (HUB if host in _HUB_NAMES else host) != registry_of(image):
        return 0
    first, _, rest = image.partition("/")
    name = rest if rest and registry_of(image) in (first, HUB if first in _HUB_NAMES else "") else image
    if path and not (name == path or name.startswith((path + "/", path + ":", path + "@"))):
        return 0
    return len(host) + len(path)


def _credentials(entry: podspec.Object) -> interface.Credentials:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            log.warning("a pull secret's auth field is not base64 of user:password")
    return interface.Credentials(username, password, str(entry.get("identitytoken") or ""))
