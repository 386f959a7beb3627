"""downwardAPI: facts about the pod as files."""

from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import interface, payload

KIND = "downward-api"


async def collect(context: interface.Context, source: podspec.Object, default_mode: int) -> payload.Payload:
    """Raises VolumeError."""
    return payload.downward(context.pod, source.get("items") or (), default_mode, context.facts)
