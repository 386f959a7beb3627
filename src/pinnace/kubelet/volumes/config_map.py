"""configMap: the entries of a config map as files."""

from pinnace.kubelet.pod import environment, podspec
from pinnace.kubelet.volumes import interface, payload

KIND = "configmap"


async def collect(context: interface.Context, source: podspec.Object, default_mode: int) -> payload.Payload:
    """Raises VolumeError."""
    name = str(source.get("name", ""))
    found = await context.lookup(environment.Reference("configmap", name))
    optional = bool(source.get("optional"))
    if found is None:
        if optional:
            return {}
        raise interface.VolumeError(f'configmap "{name}" not found')
    data = payload.config_map_data(found)
    return payload.select(data, source.get("items"), default_mode, optional=optional, what="configmap")
