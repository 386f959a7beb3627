"""A base image from real Debian packages: fetched with apt, packed twice, and run."""

import asyncio
import pathlib

import pytest

from pinnace.kernel import process
from pinnace.kit import clock
from pinnace.oci import archive
from pinnace.oci.build import builder, debian, specification

pytestmark = pytest.mark.privileged

SMALL = specification.Specification(
    name="pinnace.local/small:1",
    add=(specification.Addition("hello", "/usr/local/bin/hello"),),
    users=(specification.User("someone", 1234),),
    command=("hello",),
)


async def build(cache: pathlib.Path, folder: pathlib.Path) -> tuple[list[str], pathlib.Path]:
    said = []
    found: pathlib.Path | None = None
    async for event in builder.build_base(SMALL, cache=cache, time=clock.SystemClock(), folder=folder):
        said.append(event.text)
        found = event.archive
    assert found is not None
    return said, found


def unpacked(image: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """The layers of `image`, one over the other (no whiteouts in a base image), below `target`."""
    target.mkdir()
    (described,) = archive.read_archive(image)
    for number, section in enumerate(described.layers):
        plain = target.parent / f"layer{number}.tar"
        with image.open("rb") as source:
            source.seek(section.offset)
            plain.write_bytes(source.read(section.length))
        asyncio.run(process.run(["tar", "-xf", str(plain), "-C", str(target)]))
    return target


def test_a_base_image_is_reproducible_cached_and_runs(tmp_path: pathlib.Path) -> None:
    (tmp_path / "hello").write_text("#!/bin/sh\nset -e\nid -un\nls /usr | head -n 1\necho hello | tr a-z A-Z\n")
    (tmp_path / "hello").chmod(0o755)

    async def main() -> tuple[pathlib.Path, pathlib.Path]:
        _, first = await build(tmp_path / "one", tmp_path)
        said, again = await build(tmp_path / "one", tmp_path)
        assert (said, again) == (["already built", "built"], first)
        # The same packages in another place, packed anew.
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "packages").symlink_to(tmp_path / "one" / "packages")
        _, second = await build(tmp_path / "two", tmp_path)
        return first, second

    first, second = asyncio.run(main())
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 60e6

    root = unpacked(first, tmp_path / "root")
    ran = asyncio.run(
        process.run(["/usr/sbin/chroot", "--userspec=1234:1234", str(root), "/usr/local/bin/hello"], timeout=20)
    )
    # `id` needs /etc/passwd, the shell and coreutils their libraries: all came from the packages.
    assert (ran.code, ran.stdout.decode().splitlines(), ran.stderr) == (0, ["someone", "bin", "HELLO"], b"")


def test_a_package_that_does_not_exist_is_named(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        wanted = specification.Specification(name="pinnace.local/none:1", packages=("there-is-no-such-package",))
        async for _ in builder.build_base(wanted, cache=tmp_path, time=clock.SystemClock()):
            pass

    with pytest.raises(debian.BuildError, match="there-is-no-such-package"):
        asyncio.run(main())
