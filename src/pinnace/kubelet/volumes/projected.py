"""projected: several sources in one volume. Also the home of volumes with one such source (configMap, secret, downwardAPI):
each is a payload that is written atomically and kept up to date."""

import dataclasses

from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import config_map, downward_api, interface, payload, secret, token, writer

KIND = "projected"


@dataclasses.dataclass(frozen=True, slots=True)
class Collected:
    files: payload.Payload
    renew_at: float | None = None
    """When a token in it must be renewed; None: never by itself."""


def is_payload(volume: podspec.Object) -> bool:
    return any(volume.get(kind) is not None for kind in ("configMap", "secret", "downwardAPI", "projected"))


async def collect(context: interface.Context, volume: podspec.Object, tokens: token.Tokens) -> Collected:
    """Raises VolumeError."""
    for field, module in (("configMap", config_map), ("secret", secret), ("downwardAPI", downward_api)):
        source = volume.get(field)
        if source is not None:
            return Collected(await module.collect(context, source, _mode(source)))
    source = volume["projected"]
    files: payload.Payload = {}
    renewals: list[float] = []
    for part in source.get("sources") or ():
        for field, module in (("configMap", config_map), ("secret", secret), ("downwardAPI", downward_api)):
            if part.get(field) is not None:
                files |= await module.collect(context, part[field], _mode(source))
        if part.get("serviceAccountToken"):
            found, renew_at = await token.collect(context, tokens, part["serviceAccountToken"], _mode(source))
            files |= found
            renewals.append(renew_at)
        if part.get("clusterTrustBundle") or part.get("podCertificate"):
            raise interface.VolumeError(
                "clusterTrustBundle and podCertificate projections are not supported on this node"
            )
    return Collected(files, min(renewals, default=None))


def _mode(source: podspec.Object) -> int:
    mode = source.get("defaultMode")
    return payload.DEFAULT_MODE if mode is None else int(mode)


async def mount(
    context: interface.Context, volume: podspec.Object, tokens: token.Tokens
) -> tuple[interface.Volume, float | None]:
    """Write it, anew or again. Raises VolumeError."""
    collected = await collect(context, volume, tokens)
    kind = next(
        module_kind
        for field, module_kind in (
            ("configMap", config_map.KIND),
            ("secret", secret.KIND),
            ("downwardAPI", downward_api.KIND),
            ("projected", KIND),
        )
        if volume.get(field) is not None
    )
    folder = context.make_folder(kind, volume["name"])
    if kind != config_map.KIND and not context.mounts.is_mounted(folder):
        context.mounts.mount_tmpfs(folder, None, 0o1777)
    folder.chmod(0o1777)
    writer.write(folder, collected.files, context.time.now(), interface.fs_group(context.pod))
    return interface.Volume(folder, read_only=True), collected.renew_at
