"""The builder of base images: reading packages, writing layers that are the same every time, and the archive around them."""

import hashlib
import io
import lzma
import pathlib
import tarfile
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pinnace.oci import archive as archives
from pinnace.oci.build import archive, builder, debian, layer, packages, specification

SHOP = pathlib.Path(__file__).parents[3] / "examples" / "shop"


def member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{1700000000:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def tar_of(entries: dict[str, Any]) -> bytes:
    """{path: content, or None for a folder, or ("sym" or "hard", target)}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for path, content in entries.items():
            info = tarfile.TarInfo(path)
            info.mtime = 1600000000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, tuple):
                info.type = tarfile.SYMTYPE if content[0] == "sym" else tarfile.LNKTYPE
                info.linkname = content[1]
            else:
                info.size = len(content)
            file.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def deb(folder: pathlib.Path, name: str, entries: dict[str, Any], version: str = "1") -> pathlib.Path:
    path = folder / f"{name}_{version}_amd64.deb"
    control = tar_of({"./control": f"Package: {name}\nVersion: {version}\n".encode()})
    path.write_bytes(
        b"!<arch>\n"
        + member("debian-binary", b"2.0\n")
        + member("control.tar.xz", lzma.compress(control))
        + member("data.tar.xz", lzma.compress(tar_of(entries)))
    )
    return path


def listing(path: pathlib.Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as file:
        return {info.name: info for info in file}


def test_a_package_is_read_in_place(tmp_path: pathlib.Path) -> None:
    path = deb(tmp_path, "hello", {"./usr/bin/hello": b"#!"})
    assert packages.control(path) == b"Package: hello\nVersion: 1\n"
    assert packages.time_of(path) == 1700000000
    with packages.reader(path, "data") as found:
        assert [(entry.name, found.read(99)) for entry in found] == [("./usr/bin/hello", b"#!")]


@pytest.mark.parametrize(
    "data", [b"", b"!<arch>\nshort", b"PK\x03\x04", b"!<arch>\n" + member("data.tar.xz", b"x" * 9)[:-5]]
)
def test_what_is_no_package_is_refused(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "x_1_amd64.deb"
    path.write_bytes(data)
    with pytest.raises(packages.PackageError):
        packages.control(path)


def test_a_package_that_is_cut_short_is_refused(tmp_path: pathlib.Path) -> None:
    packed = lzma.compress(tar_of({"./a": b"x" * 10_000}))
    path = tmp_path / "x_1_amd64.deb"
    path.write_bytes(b"!<arch>\n" + member("data.tar.xz", packed[: len(packed) // 2]))
    with packages.reader(path, "data") as found, pytest.raises(packages.PackageError, match="cut short"):
        list(found)


def test_layers_have_one_usr_and_no_documentation(tmp_path: pathlib.Path) -> None:
    one = deb(
        tmp_path,
        "one",
        {
            "./": None,
            "./bin": None,
            "./bin/tool": b"tool",
            "./bin/twin": ("hard", "./bin/tool"),
            "./lib/x.so": ("sym", "x.so.1"),
            "./usr/share/doc/one/README": b"long",
            "./usr/share/doc/one/copyright": b"licence",
            "./usr/share/man/man1/tool.1.gz": b"manual",
        },
    )
    two = deb(tmp_path, "two", {"./usr/bin": None, "./usr/bin/tool": b"other"})
    made = layer.write_packages(tmp_path / "layer.tar", [one, two], with_skeleton=True)
    found = listing(made.path)
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/twin"].linkname == "usr/bin/tool"
    assert found["usr/lib/x.so"].linkname == "x.so.1"
    assert found["tmp"].mode == 0o1777
    assert "usr/share/doc/one/copyright" in found
    assert not {"usr/share/doc/one/README", "usr/share/man/man1/tool.1.gz", "bin/tool"} & found.keys()
    assert found["usr/bin/tool"].size == len(b"tool"), "the first package keeps a path"
    assert "var/lib/dpkg/status.d/two" in found
    assert made.diff_id == "sha256:" + hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.created == 1700000000


def test_a_package_cannot_write_outside_of_the_image(tmp_path: pathlib.Path) -> None:
    evil = deb(tmp_path, "evil", {"./usr/../../etc/shadow": b"x"})
    with pytest.raises(packages.PackageError, match="leads out of the image"):
        layer.write_packages(tmp_path / "layer.tar", [evil], with_skeleton=False)


@given(st.text("abc./", max_size=20))
def test_merged_paths_stay_inside(path: str) -> None:
    outcome = ""
    try:
        outcome = layer.merged(path)
    except packages.PackageError:
        return
    assert not outcome.startswith("/")
    assert ".." not in outcome.split("/")


WEB = specification.Specification(
    name="example.org/web:1",
    add=(specification.Addition("site", "/srv/site"), specification.Addition("run.sh", "/usr/local/bin/run", owner=7)),
    users=(specification.User("web", 1000, "/srv", "/bin/sh"),),
    directories=(specification.Directory("/var/lib/web", 0o700, 1000, 1000),),
    links={"/usr/bin/go": "run"},
    environment={"A": "b"},
    command=("run", "x y"),
    user="1000:1000",
    ports=("8080", "53/udp"),
)


def site(folder: pathlib.Path) -> pathlib.Path:
    (folder / "site" / "deep").mkdir(parents=True)
    (folder / "site" / "deep" / "page.html").write_text("page")
    (folder / "site" / "__pycache__").mkdir()
    (folder / "site" / "__pycache__" / "x.pyc").write_text("junk")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    return folder


ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\n\0root:x:0:\n"


def test_additions_become_the_topmost_layer(tmp_path: pathlib.Path) -> None:
    made = layer.write_additions(tmp_path / "top.tar", WEB, site(tmp_path), ACCOUNTS)
    found = listing(made.path)
    assert set(found) == {
        "etc/passwd",
        "etc/group",
        "var/lib/web",
        "usr/bin/go",
        "srv/site",
        "srv/site/deep",
        "srv/site/deep/page.html",
        "usr/local/bin/run",
    }
    assert (found["var/lib/web"].mode, found["var/lib/web"].uid) == (0o700, 1000)
    assert (found["usr/local/bin/run"].mode, found["usr/local/bin/run"].uid) == (0o755, 7)
    assert found["srv/site/deep/page.html"].mode == 0o644
    with tarfile.open(made.path) as file:
        passwd = file.extractfile("etc/passwd")
        assert passwd is not None
        assert passwd.read().decode().splitlines()[-1] == "web:x:1000:1000::/srv:/bin/sh"


def test_the_archive_is_one_that_image_load_reads_and_is_the_same_every_time(tmp_path: pathlib.Path) -> None:
    site(tmp_path)
    package = deb(tmp_path, "one", {"./usr/bin/one": b"1"})
    images = []
    for attempt in ("first", "second"):
        layers = [
            layer.write_packages(tmp_path / f"{attempt}.base.tar", [package], with_skeleton=True),
            layer.write_additions(tmp_path / f"{attempt}.top.tar", WEB, tmp_path, ACCOUNTS),
        ]
        identity = archive.write(tmp_path / f"{attempt}.tar", WEB, layers)
        (image,) = archives.read_archive(tmp_path / f"{attempt}.tar")
        assert image.id == identity
        images.append((tmp_path / f"{attempt}.tar").read_bytes())
    assert images[0] == images[1]
    assert image.names == ("example.org/web:1",)
    assert image.parsed.command == ("run", "x y")
    assert image.parsed.user == "1000:1000"
    assert set(image.parsed.exposed_ports) == {"8080/tcp", "53/udp"}
    assert image.parsed.environment[1] == "A=b"
    assert [section.length for section in image.layers] == [made.size for made in layers]


def test_an_image_is_known_by_its_specification_and_by_the_files_it_adds(tmp_path: pathlib.Path) -> None:
    site(tmp_path)
    key = builder.image_key(WEB, tmp_path)
    assert builder.image_key(WEB, tmp_path) == key
    (tmp_path / "site" / "deep" / "page.html").write_text("new page")
    changed = builder.image_key(WEB, tmp_path)
    assert changed != key
    (tmp_path / "run.sh").chmod(0o640)
    assert builder.image_key(WEB, tmp_path) not in (key, changed)
    (tmp_path / "run.sh").unlink()
    with pytest.raises(debian.BuildError, match=r"run\.sh.*does not exist"):
        builder.image_key(WEB, tmp_path)


def test_what_apt_prints_is_understood() -> None:
    digest = "a" * 64
    text = (
        f"'http://deb.debian.org/debian/pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 SHA256:{digest}\n"
        f"'http://deb.debian.org/debian/pool/main/d/dash/dash_0.5.12-2_amd64.deb' dash_0.5.12-2_amd64.deb 91848 SHA256:{digest}\n"
        "something else\n"
    )
    assert debian.parse_uris(text) == (
        debian.Package("dash", "0.5.12-2", "dash_0.5.12-2_amd64.deb", 91848, digest),
        debian.Package("zlib1g", "1:1.2.13.dfsg-1", "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb", 86684, digest),
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "must be a mapping"),
        ({}, "name is missing"),
        ({"name": "x y"}, "is not an image reference"),
        ({"name": "x", "package": ["y"]}, "unknown field 'package'"),
        ({"name": "x", "packages": "nginx"}, "packages must be a list of strings"),
        ({"name": "x", "packages": ["--allow-unauthenticated"]}, "is not the name of a Debian package"),
        ({"name": "x", "add": [{"source": "a", "target": "b"}]}, "'b' is not an absolute path"),
        ({"name": "x", "add": [{"source": "a"}]}, "add: an item lacks one of"),
        ({"name": "x", "add": [{"source": "a", "target": "/a", "mode": 755}]}, "quoted octal number"),
        ({"name": "x", "directories": [{"path": "/a/../../b"}]}, "without '..'"),
        ({"name": "x", "users": [{"name": "a:b", "uid": 1}]}, "is not a valid account"),
        ({"name": "x", "users": [{"name": "a", "uid": -1}]}, "must be a number"),
        ({"name": "x", "mirror": "http://a] trusted=yes"}, "is not an http or https address"),
        ({"name": "x", "release": "../x"}, "is not the name of a Debian release"),
    ],
)
def test_wrong_specifications_say_what_would_be_right(document: Any, words: str) -> None:
    with pytest.raises(specification.SpecificationError) as raised:
        specification.parse(document)
    assert words in str(raised.value)


def test_the_sample_s_images_can_be_built() -> None:
    documents = list(yaml.safe_load_all((SHOP / "images.yaml").read_text()))
    images = specification.parse_all(documents)
    assert [image.name for image in images] == [f"pinnace.local/shop-{name}:1" for name in ("web", "api", "db")]
    for image in images:
        assert all((SHOP / addition.source).exists() for addition in image.add)
        assert image.user not in ("", "0", "root", "0:0"), "nothing of the sample runs as root"
