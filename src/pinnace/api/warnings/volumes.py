"""Volumes of pods whose files would lie over each other (pkg/api/pod/warnings.go)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]
Files = list[tuple[str, str]]
"""(path, where it comes from or ""), in the order in which they are written."""


def overlapping(volumes: Iterable[Object]) -> Iterator[str]:
    for volume in volumes:
        name = volume.get("name", "")
        if volume.get("projected") is not None:
            files = [file for source in volume["projected"].get("sources") or () for file in _of_source(source)]
            if not any(map(_is_known, volume["projected"].get("sources") or ())):
                yield f'volume "{name}" (Projected) has no sources provided'
            yield from _told(name, "Projected", files)
        elif volume.get("configMap") is not None:
            source = volume["configMap"]
            yield from _told(name, f'ConfigMap "{source.get("name", "")}"', _items(source, ""))
        elif volume.get("secret") is not None:
            source = volume["secret"]
            yield from _told(name, f'Secret "{source.get("secretName", "")}"', _items(source, ""))
        elif volume.get("downwardAPI") is not None:
            yield from _told(name, "DownwardAPI", _items(volume["downwardAPI"], ""))


def _told(volume: str, what: str, files: Files) -> Iterator[str]:
    for position, (path, origin) in enumerate(files):
        for before, other in files[:position]:
            if _overlap(path, before):
                yield f'volume "{volume}" ({what}): overlapping paths: {_shown(path, origin)} with {_shown(before, other)}'


def _shown(path: str, origin: str) -> str:
    return f'"{path}" ({origin})' if origin else f'"{path}"'


def _overlap(one: str, other: str) -> bool:
    one, other = one.strip("/"), other.strip("/")
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _items(source: Object, origin: str) -> Files:
    return [(item.get("path", ""), origin) for item in source.get("items") or ()]


def _is_known(source: Object) -> bool:
    return any(value is not None for value in source.values())


def _of_source(source: Object) -> Files:
    if source.get("configMap") is not None:
        return _items(source["configMap"], f'ConfigMap "{source["configMap"].get("name", "")}"')
    if source.get("secret") is not None:
        return _items(source["secret"], f'Secret "{source["secret"].get("name", "")}"')
    if source.get("downwardAPI") is not None:
        return _items(source["downwardAPI"], "DownwardAPI")
    if source.get("serviceAccountToken") is not None:
        return [(source["serviceAccountToken"].get("path", ""), "ServiceAccountToken")]
    if source.get("clusterTrustBundle") is not None:
        bundle = source["clusterTrustBundle"]
        name = bundle.get("name") or bundle.get("signerName") or ""
        return [(bundle.get("path", ""), f'ClusterTrustBundle "{name}"')]
    return []
