"""secret: the entries of a secret as files, kept in memory only."""

from pinnace.kubelet.pod import environment, podspec
from pinnace.kubelet.volumes import interface, payload

KIND = "secret"


async def collect(context: interface.Context, source: podspec.Object, default_mode: int) -> payload.Payload:
    """`source` names the secret by `secretName` (a volume) or `name` (a projection). Raises VolumeError."""
    name = str(source.get("secretName") or source.get("name", ""))
    found = await context.lookup(environment.Reference("secret", name))
    optional = bool(source.get("optional"))
    if found is None:
        if optional:
            return {}
        raise interface.VolumeError(f'secret "{name}" not found')
    data = payload.secret_data(found)
    return payload.select(data, source.get("items"), default_mode, optional=optional, what="secret")
