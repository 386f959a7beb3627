"""RuntimeClass: which runtime a pod wants. This node has one, under the names that manifests know it by."""

from pinnace.api import resources
from pinnace.client import client
from pinnace.kubelet.pod import podspec

HANDLERS = frozenset({"", "default", "crun", "runc"})
"""`runc`: what containerd calls its own; programs cannot tell the two apart."""


def described() -> list[podspec.Object]:
    """The `runtimeHandlers` of the Node's status."""
    features = {"recursiveReadOnlyMounts": True, "userNamespaces": False}
    return [{"name": name, "features": dict(features)} for name in sorted(HANDLERS)]


class NoRuntime(Exception):
    """The text is upstream's."""


async def check(pod: podspec.Object, api: client.Client) -> None:
    """Raises NoRuntime."""
    if pod["spec"].get("hostUsers") is False:
        # To run it as the host's root instead would take away what was asked for.
        raise NoRuntime("the runtime handler does not support user namespaces")
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return
    try:
        found = await api.get(resources.RUNTIME_CLASSES, None, str(name))
    except client.ApiError as error:
        raise NoRuntime(f'failed to get sandbox runtime: failed to look up RuntimeClass "{name}": {error}') from error
    handler = str(found.get("handler", ""))
    if handler not in HANDLERS:
        raise NoRuntime(f'failed to get sandbox runtime: no runtime for "{handler}" is configured')
