"""Small image archives for tests, built in memory: a root file system from a mapping, as docker-archive or OCI layout."""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

BUSYBOX = pathlib.Path("/bin/busybox")
APPLETS = (
    "sh", "cat", "echo", "sleep", "true", "false", "ls", "id", "env", "hostname", "mount", "touch", "mkdir", "rm", "grep", "head",
    "tail", "ps", "kill", "stty", "dd", "test", "wget", "nc", "httpd", "nslookup", "ping", "ip", "df", "stat", "pwd", "date", "seq",
    "tar", "chmod", "chown", "mknod", "readlink", "sync", "tty", "wc", "cut", "sort", "yes", "sed", "awk", "vi", "find", "ln", "cp", "mv",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""
    """A symlink to there."""
    kind: Literal["file", "directory", "symlink"] = "file"


def busybox_files() -> dict[str, File]:
    """A root file system in which the applets above work; users `root` and `app` (1000, also in group 2000 `extra`)."""
    tree = {
        "bin": File(kind="directory", mode=0o755),
        "bin/busybox": File(BUSYBOX.read_bytes(), 0o755),
        "etc": File(kind="directory", mode=0o755),
        "etc/passwd": File(b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
        "etc/group": File(b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n"),
        "tmp": File(kind="directory", mode=0o1777),
        "root": File(kind="directory", mode=0o700),
        "home/app": File(kind="directory", mode=0o755, uid=1000, gid=1000),
    }
    tree |= {f"bin/{applet}": File(link="busybox", kind="symlink") for applet in APPLETS}
    return tree


def layer(tree: Mapping[str, File]) -> bytes:
    """A layer's archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, file in tree.items():
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid = file.mode, file.uid, file.gid
            if file.kind == "directory":
                info.type = tarfile.DIRTYPE
            elif file.kind == "symlink":
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            info.size = len(file.content)
            archive.addfile(info, io.BytesIO(file.content))
    return buffer.getvalue()


def configuration(layers: Sequence[bytes], **settings: Any) -> bytes:
    """An image configuration; `settings` as in its `config`: Cmd=[…], Env=[…], User="app"."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **settings},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
    }
    return json.dumps(document).encode()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def docker_archive(path: pathlib.Path, name: str, layers: Sequence[bytes], **settings: Any) -> str:
    """Write what `docker save` writes. Returns the image's id."""
    config = configuration(layers, **settings)
    identity = digest(config)
    members = {f"{number}/layer.tar": data for number, data in enumerate(layers)}
    manifest = [{"Config": f"{identity[7:]}.json", "RepoTags": [name] if name else None, "Layers": list(members)}]
    members[f"{identity[7:]}.json"] = config
    members["manifest.json"] = json.dumps(manifest).encode()
    path.write_bytes(layer({member: File(data) for member, data in members.items()}))
    return identity


def oci_archive(path: pathlib.Path, name: str, layers: Sequence[bytes], **settings: Any) -> str:
    """Write an OCI layout with gzip layers. Returns the image's id."""
    config = configuration(layers, **settings)
    compressed = [gzip.compress(data, 1, mtime=0) for data in layers]
    manifest = manifest_of(config, compressed)
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(manifest),
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        ],
    }
    blobs = {f"blobs/sha256/{digest(data)[7:]}": File(data) for data in (config, manifest, *compressed)}
    path.write_bytes(
        layer(
            {
                "oci-layout": File(b'{"imageLayoutVersion": "1.0.0"}'),
                "index.json": File(json.dumps(index).encode()),
                **blobs,
            }
        )
    )
    return digest(config)


def manifest_of(config: bytes, compressed_layers: Sequence[bytes]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(config),
            "size": len(config),
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(data), "size": len(data)}
            for data in compressed_layers
        ],
    }
    return json.dumps(document).encode()


def busybox_archive(path: pathlib.Path, name: str = "busybox:latest", **settings: Any) -> str:
    return docker_archive(path, name, [layer(busybox_files())], **settings)
