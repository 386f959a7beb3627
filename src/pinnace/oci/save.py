"""Images into one archive that is both: an OCI layout and what `docker load` reads. Blobs go in as they are kept, byte for byte."""

import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pinnace.oci import configuration, content, images, references

MAXIMUM_DOCUMENT = 8 << 20
BLOCK = 512
END = bytes(2 * BLOCK)


async def save(store: images.ImageStore, names: Sequence[str]) -> AsyncIterator[bytes]:
    """The archive of the images that `names` mean, in pieces. Raises ImageNotFound, and ContentError for one that is not kept as it came,
    both before the first piece."""
    wanted = [(name, store.find(name)) for name in names]
    blobs: dict[str, configuration.Descriptor] = {}
    entries, docker = [], []
    for name, record in wanted:
        manifest = _manifest_of(store, name, record)
        parsed = configuration.parse_manifest(store.content.read_small(manifest.digest, MAXIMUM_DOCUMENT))
        parts = (manifest, parsed.configuration, *parsed.layers)
        for blob in parts:
            if not store.content.has(blob.digest):
                raise content.ContentError(
                    f"{name}: layer {blob.digest} is not kept as it came: set discard-unpacked-layers to false and pull it again"
                )
            blobs[blob.digest] = blob
        tags = _tags(name, record)
        entries += [_entry(manifest, tag) for tag in tags or [""]]
        docker.append(
            {
                "Config": _path(parsed.configuration.digest),
                "RepoTags": [str(references.parse(tag)).removeprefix("docker.io/library/") for tag in tags] or None,
                "Layers": [_path(layer.digest) for layer in parsed.layers],
            }
        )
    with store.content.keep(list(blobs)):
        index = {"schemaVersion": 2, "mediaType": configuration.INDEX_TYPES[0], "manifests": entries}
        yield _member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        yield _member("index.json", json.dumps(index, separators=(",", ":")).encode())
        yield _member("manifest.json", json.dumps(docker, separators=(",", ":")).encode())
        for digest in sorted(blobs):
            size = store.content.size(digest)
            yield _header(_path(digest), size)
            async for piece in store.content.read(digest):
                yield piece
            yield bytes(-size % BLOCK)
    yield END


def _manifest_of(store: images.ImageStore, name: str, record: images.ImageRecord) -> configuration.Descriptor:
    if record.manifest is None or not store.content.has(record.manifest.digest):
        raise content.ContentError(f"{name} is not kept as it came: pull it again with `image pull {name}`")
    return record.manifest


def _tags(name: str, record: images.ImageRecord) -> list[str]:
    """Named by a name: that one; by id or digest: all of them."""
    try:
        full = str(references.parse(name))
    except references.InvalidReference:
        return list(record.references)
    return [full] if full in record.references else list(record.references)


def _entry(manifest: configuration.Descriptor, tag: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size}
    if tag:
        reference = references.parse(tag)
        entry["annotations"] = {
            "io.containerd.image.name": str(reference),
            "org.opencontainers.image.ref.name": reference.tag,
        }
    return entry


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    # Numbers above 8 GiB go in base 256.
    return member.tobuf(tarfile.GNU_FORMAT)


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % BLOCK)
