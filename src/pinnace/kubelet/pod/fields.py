"""The downward API: `fieldRef` and `resourceFieldRef`, for environment variables and files. Pure."""

import dataclasses
import re
from collections.abc import Mapping

from pinnace.api import quantity
from pinnace.kubelet.pod import podspec

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$", re.DOTALL)


class FieldError(Exception):
    """A reference that names nothing; the text is upstream's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a pod on its node, and not in its spec."""

    node_name: str
    pod_addresses: tuple[str, ...]
    host_addresses: tuple[str, ...]
    allocatable: Mapping[str, str]
    """Quantities of the node: the limits of a container that names none."""


def field(pod: podspec.Object, path: str, facts: Facts) -> str:
    """Raises FieldError."""
    metadata = pod["metadata"]
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata.get(path.partition(".")[2], ""))
        case "metadata.labels" | "metadata.annotations":
            return format_map(metadata.get(path.partition(".")[2]) or {})
        case "spec.nodeName":
            return facts.node_name
        case "spec.serviceAccountName":
            return str(pod["spec"].get("serviceAccountName", ""))
        case "status.hostIP":
            return facts.host_addresses[0] if facts.host_addresses else ""
        case "status.hostIPs":
            return ",".join(facts.host_addresses)
        case "status.podIP":
            return facts.pod_addresses[0] if facts.pod_addresses else ""
        case "status.podIPs":
            return ",".join(facts.pod_addresses)
    raise FieldError(f"unsupported fieldPath: {path}")


def format_map(values: Mapping[str, str]) -> str:
    """`key="value"` lines, sorted by key, the value quoted as Go quotes a string."""
    return "\n".join(f"{key}={_quote(str(values[key]))}" for key in sorted(values))


_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}


def _quote(text: str) -> str:
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def resource(pod: podspec.Object, reference: podspec.Object, facts: Facts, container_name: str = "") -> str:
    """A request or limit in units of the divisor, rounded up. Raises FieldError."""
    name = reference.get("containerName") or container_name
    found = podspec.find_container(pod, name)
    if found is None:
        raise FieldError(f"container {name} not found")
    what, _, kind = str(reference["resource"]).partition(".")
    text = ((found[1].get("resources") or {}).get(what) or {}).get(kind)
    if text is None and what == "limits":
        text = facts.allocatable.get(kind)
    if what not in ("limits", "requests"):
        raise FieldError(f"unsupported container resource : {reference['resource']}")
    amount = quantity.parse(str(text if text is not None else "0"))
    divisor = quantity.parse(str(reference.get("divisor") or "1")) or quantity.parse("1")
    whole, rest = divmod(amount, divisor)
    return str(int(whole) + (1 if rest else 0))
