"""Image archives: what `docker save` writes and OCI layouts in a tar. Read in place: nothing is extracted but layers, one by one.

The archive is indexed by one pass over its headers; the documents are small and bounded; layers stay where they are (offset and length)
for `layers.LayerStore.add`.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import posixpath
from collections.abc import Mapping
from typing import Any

from pinnace.oci import compression, configuration, tar

MAXIMUM_DOCUMENT = 8 << 20
MAXIMUM_MEMBERS = 100_000
MAXIMUM_NAME_BYTES = 16 << 20
# Stop before the disk is full for everybody else.
SPARE_BYTES = 128 << 20
CHECK_SPACE_EVERY = 64 << 20
MAXIMUM_IMAGES = 1000
REFERENCE_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class ArchiveError(ValueError):
    """The file is no image archive, or a damaged one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    offset: int
    length: int
    digest: str = ""
    """Where the archive says so."""


@dataclasses.dataclass(frozen=True, slots=True)
class ArchivedImage:
    id: str
    raw: bytes
    """The configuration as it is, whose digest is the id."""
    parsed: configuration.Configuration
    names: tuple[str, ...]
    """As written in the archive: `nginx:1.27`, `docker.io/library/nginx:1.27`."""
    layers: tuple[Section, ...]
    """In the order of the configuration's diff_ids."""
    manifest: bytes | None = None
    """As it is, where the archive has one."""


def decompress_to(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Write the plain archive to `target`; False (nothing written) when it is plain already. Blocking."""
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        section = compression.Section(descriptor, 0, os.fstat(descriptor).st_size)
        kind = compression.detect(section.head())
        if kind == "none":
            return False
        unchecked = 0
        with target.open("wb") as file:
            for piece in compression.decompressed(section.read, kind):
                file.write(piece)
                unchecked += len(piece)
                if unchecked > CHECK_SPACE_EVERY:
                    unchecked = 0
                    _check_space(file.fileno())
        return True
    finally:
        os.close(descriptor)


def compression_of(path: pathlib.Path, section: Section) -> compression.Compression:
    """Blocking. Raises CompressionError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return compression.detect(compression.Section(descriptor, section.offset, section.length).head())
    finally:
        os.close(descriptor)


def _check_space(descriptor: int) -> None:
    figures = os.fstatvfs(descriptor)
    if figures.f_bavail * figures.f_frsize < SPARE_BYTES:
        raise ArchiveError("no space left on the disk for the decompressed archive")


def read_archive(path: pathlib.Path) -> tuple[ArchivedImage, ...]:
    """Every image of a plain archive. Blocking. Raises ArchiveError, tar.TarError, configuration.ConfigurationError, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        archive = _Archive(descriptor)
        if "manifest.json" in archive.members:
            return archive.docker_images()
        if "index.json" in archive.members:
            return archive.oci_images()
    finally:
        os.close(descriptor)
    raise ArchiveError(f"{path} is no image archive: it has neither manifest.json nor index.json")


class _Archive:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self.members, self._links = self._index()

    def docker_images(self) -> tuple[ArchivedImage, ...]:
        try:
            manifest = json.loads(self._read("manifest.json"))
        except (ValueError, RecursionError) as error:
            raise ArchiveError(f"manifest.json is not JSON: {error}") from error
        if not isinstance(manifest, list) or len(manifest) > MAXIMUM_IMAGES:
            raise ArchiveError("manifest.json is not a list of images")
        # Newer ones are OCI layouts besides: their manifests say what was pushed, or will be, byte for byte.
        also = {}
        if "index.json" in self.members:
            with contextlib.suppress(ArchiveError, configuration.ConfigurationError):
                also = {image.id: image for image in self.oci_images()}
        images = [self._docker_image(item) for item in manifest]
        return tuple(
            dataclasses.replace(also[image.id], names=image.names) if image.id in also else image for image in images
        )

    def oci_images(self) -> tuple[ArchivedImage, ...]:
        index = configuration.parse_document(self._read("index.json"), "index.json")
        entries = index.get("manifests")
        if not isinstance(entries, list) or len(entries) > MAXIMUM_IMAGES:
            raise ArchiveError("index.json has no list of manifests")
        return tuple(self._oci_image(entry) for entry in entries)

    def _docker_image(self, item: Any) -> ArchivedImage:
        if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
            raise ArchiveError("manifest.json has an image without configuration")
        layers = item.get("Layers") or []
        names = item.get("RepoTags") or []
        if not all(isinstance(text, str) for text in (*layers, *names)):
            raise ArchiveError("manifest.json names a layer or a tag that is not a string")
        return self._image(self._read(item["Config"]), tuple(names), tuple(self._section(name) for name in layers))

    def _oci_image(self, entry: Any) -> ArchivedImage:
        if not isinstance(entry, dict):
            raise ArchiveError("index.json has an entry that is not an object")
        annotations = entry.get("annotations") or {}
        digest = str(entry.get("digest"))
        data = self._read_blob(digest)
        document = configuration.parse_document(data, "manifest")
        for _ in range(4):  # an index may hold an index
            if not configuration.is_index(document, str(entry.get("mediaType") or "")):
                break
            entry = {}
            selected = configuration.select_manifest(document, configuration.local_architecture())
            data = self._read_blob(selected.digest)
            document = configuration.parse_document(data, "manifest")
        manifest = configuration.parse_manifest(data)
        names = [str(annotations[key]) for key in REFERENCE_ANNOTATIONS if annotations.get(key)]
        # A bare tag (as skopeo and buildah write it) names no image.
        names = [name for name in names[:1] if "/" in name or ":" in name]
        layers = tuple(
            dataclasses.replace(self._section(_blob_name(layer.digest)), digest=layer.digest)
            for layer in manifest.layers
        )
        return self._image(self._read_blob(manifest.configuration.digest), tuple(names), layers, data)

    def _image(
        self, data: bytes, names: tuple[str, ...], layers: tuple[Section, ...], manifest: bytes | None = None
    ) -> ArchivedImage:
        parsed = configuration.parse_configuration(data)
        if len(parsed.diff_ids) != len(layers):
            raise ArchiveError(f"image has {len(layers)} layers, its configuration names {len(parsed.diff_ids)}")
        return ArchivedImage(configuration.digest_of(data), data, parsed, names, layers, manifest)

    def _index(self) -> tuple[Mapping[str, Section], Mapping[str, str]]:
        position = 0
        members: dict[str, Section] = {}
        links: dict[str, str] = {}
        name_bytes = 0

        def fill() -> bytes:
            nonlocal position
            piece = os.pread(self._descriptor, tar.BLOCK, position)
            position += len(piece)
            return piece

        if not tar.is_header(os.pread(self._descriptor, tar.BLOCK, 0)):
            raise ArchiveError("no tar archive; give what `docker save`, `podman save` or `skopeo copy` writes")
        reader = tar.Reader(tar.Stream(fill))
        for entry in reader:
            if len(members) + len(links) > MAXIMUM_MEMBERS:
                raise ArchiveError(f"more than {MAXIMUM_MEMBERS} members")
            name = posixpath.normpath(entry.name)
            name_bytes += len(name) + len(entry.link)
            if name_bytes > MAXIMUM_NAME_BYTES:
                raise ArchiveError(f"names of members of more than {MAXIMUM_NAME_BYTES} bytes together")
            if entry.kind is tar.Kind.FILE:
                if position + entry.size > self._size:
                    raise ArchiveError(f"archive is cut short inside {name[:200]!r}")
                members[name] = Section(position, entry.size)
                position += entry.size + -entry.size % tar.BLOCK
                reader.skip_elsewhere()
            elif entry.kind in (tar.Kind.SYMLINK, tar.Kind.HARD_LINK):
                folder = posixpath.dirname(name) if entry.kind is tar.Kind.SYMLINK else ""
                links[name] = posixpath.normpath(posixpath.join(folder, entry.link))
        return members, links

    def _section(self, name: str) -> Section:
        name = posixpath.normpath(name)
        for _ in range(10):  # old archives link equal layers to each other
            if name in self.members:
                return self.members[name]
            if name not in self._links:
                break
            name = self._links[name]
        raise ArchiveError(f"archive has no member {name[:200]!r}")

    def _read(self, name: str) -> bytes:
        section = self._section(name)
        if section.length > MAXIMUM_DOCUMENT:
            raise ArchiveError(f"{name[:200]!r} is {section.length} bytes, at most {MAXIMUM_DOCUMENT} are expected")
        return os.pread(self._descriptor, section.length, section.offset)

    def _read_blob(self, digest: str) -> bytes:
        data = self._read(_blob_name(digest))
        if configuration.digest_of(data) != digest:
            raise ArchiveError(f"blob {digest} does not match its digest")
        return data


def _blob_name(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"
