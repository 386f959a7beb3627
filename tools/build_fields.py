"""Write the table of wire fields, `src/pinnace/api/protobuf/fields.txt`, from the public type declarations of Kubernetes.

    python tools/build_fields.py FOLDER... > src/pinnace/api/protobuf/fields.txt

Each FOLDER holds the sources of one Go module as its proxy serves them: k8s.io/api, k8s.io/apimachinery, k8s.io/apiextensions-apiserver and
k8s.io/kube-aggregator, all of the release that is wanted. `generated.proto` says number and type of a field; the tags of the Go
types beside it say what the wire does not: the name in JSON, whether the field is a pointer, and whether an empty one is printed.
`pinnace.api.protobuf.fields` describes the form of the table.
"""

import pathlib
import re
import sys
from collections.abc import Iterator

from pinnace.api import builtin
from pinnace.api.protobuf import fields

SCALARS = {"string": "s", "bytes": "y", "bool": "b", "double": "d", "int32": "i", "int64": "i", "uint32": "i"}
# Where the names of packages are shortened: what is left tells them apart.
ROOTS = (
    "k8s.io.api.",
    "k8s.io.apimachinery.pkg.",
    "k8s.io.apiextensions_apiserver.pkg.apis.",
    "k8s.io.kube_aggregator.pkg.apis.",
)
# Packages that hold no kind of their own but parts of all.
SHARED = (
    "api.resource",
    "apis.meta.v1",
    "apis.meta.v1beta1",
    "apidiscovery.v2",
    "apidiscovery.v2beta1",
    "runtime",
    "util.intstr",
)
_MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (optional|repeated|map<string, ([\w.]+)>) ?(\.?[\w.]*) (\w+) = (\d+);", re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r"^\s+(?:(\w+)\s+)?([*\[\]\w.]+(?:\[[\w.]+\][\w.*\[\]]+)?)\s+`([^`]*)`", re.MULTILINE)
_TAG = re.compile(r'(\w+):"([^"]*)"')

Presence = tuple[str, str]
"""(name in JSON, marks)"""


def package_of(text: str) -> str:
    found = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
    assert found is not None
    for root in ROOTS:
        if found[1].startswith(root):
            return found[1].removeprefix(root)
    return found[1]


def members(folder: pathlib.Path) -> dict[tuple[str, int], Presence]:
    """(struct, field number) -> presence, of every Go type of `folder` that goes over the wire."""
    made = {}
    for path in sorted(folder.glob("*.go")):
        if path.name.startswith(("generated", "zz_generated")) or path.name.endswith("_test.go"):
            continue
        for struct, body in _STRUCT.findall(path.read_text()):
            for _, kind, text in _MEMBER.findall(body):
                tags = dict(_TAG.findall(text))
                if tags.get("protobuf", "-") != "-":
                    made[struct, int(tags["protobuf"].split(",")[1])] = presence(kind, tags)
    return made


def presence(kind: str, tags: dict[str, str]) -> Presence:
    name, *options = tags.get("json", "-").split(",")
    if "inline" in options:
        return "^", ""
    marks = "?" if kind.startswith("*") else ""
    if "omitzero" in options:
        marks += "-"
    elif "omitempty" not in options and name not in ("", "-"):
        marks += "+"
    return ("" if name == "-" else name), marks


def messages(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(name, fields) of every message of a `generated.proto`."""
    text = path.read_text()
    package = package_of(text)
    known = members(path.parent)
    for message, body in _MESSAGE.findall(text):
        words = []
        for label, value, kind, proto_name, number in _FIELD.findall(body):
            name, marks = known.get((message, int(number)), (proto_name, ""))
            form = "*" if label == "repeated" else "%" if value else "^" if name == "^" else ""
            shown = proto_name if name in ("", "^") else name
            words.append(f"{number}:{shown}:{form}{type_of(value or kind, package)}{marks}")
        yield f"{package}.{message}", " ".join(sorted(words, key=lambda word: int(word.partition(":")[0])))


def type_of(name: str, package: str) -> str:
    if name in SCALARS:
        return SCALARS[name]
    if "." not in name:
        return f".{name}"
    name = name.removeprefix(".")
    for root in ROOTS:
        name = name.removeprefix(root)
    return name.removeprefix(package) if name.startswith(package + ".") else name


def main(folders: list[str]) -> None:
    found = {}
    for folder in folders:
        for path in sorted(pathlib.Path(folder).rglob("generated.proto")):
            found.update(messages(path))
    served = {fields.package(group, version) for group, version, _ in builtin.TABLE}
    for name in sorted(found):
        package, _, message = name.rpartition(".")
        # A list is one like the other: metadata and items.
        if package in SHARED or (package in served and not message.endswith("List")):
            print(f"{name} {found[name]}".rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
