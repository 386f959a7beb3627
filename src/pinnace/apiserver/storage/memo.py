"""Answers of pure functions that are worth remembering: many pods are one pod with another name.

Which fields a body sets, and whether a pod is valid, depend on its content alone; a workload's pods differ in names, uids and
times, which matter to neither. `Remembered` keeps the answer for the content without those.
"""

import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import orjson

from pinnace.apiserver.admission import service_account
from pinnace.kit import buffers

Object = dict[str, Any]
T = TypeVar("T")

MOST = 512
LONGEST = 32 * 1024
_OWN = frozenset(("name", "namespace", "uid", "creationTimestamp", "managedFields", "generateName"))
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


class Remembered(Generic[T]):
    """At most `MOST` answers; when there are more, all are forgotten and the busy ones come back at once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], T] = {}

    def get(self, key: tuple[object, ...], content: bytes, compute: Callable[[], T]) -> T:
        if len(content) > LONGEST:
            return compute()
        whole = (*key, content)
        if whole in self._answers:
            return self._answers[whole]
        answer = compute()
        if len(self._answers) >= MOST:
            self._answers.clear()
        self._answers[(*key, buffers.trimmed(content))] = answer
        return answer


def content(obj: Object) -> bytes:
    """What of `obj` is not its own alone."""
    metadata = obj["metadata"]
    kept = {field: value for field, value in metadata.items() if field not in _OWN}
    return orjson.dumps({**obj, "metadata": kept, "": "generateName" in metadata})


def pod_content(pod: Object) -> bytes | None:
    """The same for a pod after admission, whose token volume has a name of its own. None where the pod's name itself matters."""
    name, base = pod["metadata"].get("name") or "", pod["metadata"].get("generateName") or ""
    if _LABEL.fullmatch(name) is None or not name.startswith(base):
        return None
    volumes = (pod.get("spec") or {}).get("volumes")
    if volumes and any("ephemeral" in volume for volume in volumes):
        # Their claims are named after the pod.
        return None
    data = content(pod)
    volume_name = str(volumes[-1].get("name", "")) if volumes else ""
    if volume_name.startswith(service_account.VOLUME_PREFIX) and _LABEL.fullmatch(volume_name):
        # No JSON text holds a bare zero byte, so that nothing else can look like this.
        return data.replace(b'"%b"' % volume_name.encode(), b"\0")
    return data
