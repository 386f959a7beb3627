"""Pods, and whatever makes pods from a template."""

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]


def pod(new: Object, old: Object | None, subresource: str) -> list[str]:
    if old is not None and new["spec"] == old["spec"]:
        # Whoever leaves the spec alone has been told already.
        return []
    return list(_of_spec(new["spec"], "spec"))


def _of_spec(spec: Object, path: str) -> Iterator[str]:
    for name in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(name) or ()):
            yield from _of_container(container, f"{path}.{name}[{index}]")


def _of_container(container: Object, path: str) -> Iterator[str]:
    values: dict[str, Any] = {}
    for index, variable in enumerate(container.get("env") or ()):
        name, value = variable.get("name", ""), variable.get("value", "")
        # One that is built on the earlier one hides nothing: PATH=$(PATH):/more.
        if name in values and f"$({name})" not in value:
            yield f'{path}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        values[name] = value
