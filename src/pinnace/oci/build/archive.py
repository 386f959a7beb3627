"""Writing an image as `docker save` does: manifest.json, the configuration, and the layers as they are. Blocking."""

import datetime
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from pinnace.oci import configuration, tar
from pinnace.oci.build import layer, specification

_PIECE = 1 << 20


def image_configuration(wanted: specification.Specification, layers: Sequence[layer.Layer]) -> bytes:
    """The image's configuration (OCI image-spec v1.1); its digest is the image's id. Pure."""
    created = datetime.datetime.fromtimestamp(max((item.created for item in layers), default=0), datetime.UTC)
    environment = {"PATH": specification.PATH, **wanted.environment}
    config: dict[str, Any] = {"Env": [f"{key}={value}" for key, value in environment.items()]}
    optional = {
        "User": wanted.user,
        "Entrypoint": list(wanted.entrypoint),
        "Cmd": list(wanted.command),
        "WorkingDir": wanted.workdir,
        "ExposedPorts": {port if "/" in port else f"{port}/tcp": {} for port in wanted.ports},
        "Labels": dict(wanted.labels),
        "StopSignal": wanted.stop_signal,
    }
    config.update({key: value for key, value in optional.items() if value})
    moment = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "architecture": configuration.local_architecture(),
        "os": "linux",
        "created": moment,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in layers]},
        "history": [{"created": moment, "created_by": f"pinnace image build-base {wanted.name}"} for _ in layers],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def write(target: pathlib.Path, wanted: specification.Specification, layers: Sequence[layer.Layer]) -> str:
    """Write the archive; returns the image's id."""
    data = image_configuration(wanted, layers)
    identity = configuration.digest_of(data)
    names = [f"{item.diff_id.partition(':')[2]}/layer.tar" for item in layers]
    config_name = f"{identity.partition(':')[2]}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [wanted.name], "Layers": names}]).encode()
    with target.open("wb") as file:
        writer = layer.Writer(file)
        for name, document in (("manifest.json", manifest), (config_name, data)):
            writer.add(tar.Entry(name, tar.Kind.FILE, size=len(document)), [document])
        for name, item in zip(names, layers, strict=True):
            with item.path.open("rb") as source:
                pieces = iter(functools.partial(source.read, _PIECE), b"")
                writer.add(tar.Entry(name, tar.Kind.FILE, size=item.size), pieces)
        writer.finish()
    return identity
