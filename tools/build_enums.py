"""Write the table of enumerations, `tools/enums.txt`, from the public type declarations of Kubernetes.

    python tools/build_enums.py FOLDER... > tools/enums.txt

The folders are those of `build_fields.py`. A running server's OpenAPI documents say which values a field may have; the definitions that
are published (`build_definitions.py`) leave that out. A line is one field, by the name of its definition, and its values:
`io.k8s.api.core.v1.Container imagePullPolicy Always IfNotPresent Never`. `[]` behind the field: they are those of its items. `""` is the empty text.
"""

import pathlib
import re
import sys
from collections.abc import Iterator

MODULES = {"api": "io.k8s.api", "apimachinery": "io.k8s.apimachinery"}
_ENUM = re.compile(r"^// \+enum\n(?://[^\n]*\n)*type (\w+) string", re.MULTILINE)
_VALUE = re.compile(r'^\s+\w+\s+(\w+)\s*=\s*"([^"]*)"', re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r'^\s+\w+\s+(\[\])?\*?([\w.]+)\s+`json:"([\w$-]+)', re.MULTILINE)
_IMPORT = re.compile(r'^\s+(?:(\w+) )?"k8s\.io/([\w./-]+)"$', re.MULTILINE)

Values = dict[tuple[str, str], list[str]]
"""(package, type) -> its values"""


def sources(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(package as `api/core/v1`, text) of every file that declares types."""
    for path in sorted(folder.rglob("*.go")):
        if not path.name.endswith("_test.go") and not path.name.startswith(("generated", "zz_generated")):
            yield f"{folder.name}/{path.parent.relative_to(folder)}", path.read_text()


def values(files: list[tuple[str, str]]) -> Values:
    made: Values = {(package, name): [] for package, text in files for name in _ENUM.findall(text)}
    for package, text in files:
        for name, value in _VALUE.findall(text):
            if (package, name) in made:
                made[package, name].append(value)
    return {key: sorted(set(found)) for key, found in made.items() if found}


def lines(files: list[tuple[str, str]], known: Values) -> Iterator[str]:
    for package, text in files:
        imported = {alias or path.rpartition("/")[2]: path for alias, path in _IMPORT.findall(text)}
        for struct, body in _STRUCT.findall(text):
            for is_list, kind, field in _MEMBER.findall(body):
                alias, _, name = kind.rpartition(".")
                found = known.get((imported.get(alias, "") if alias else package, name))
                if found:
                    words = " ".join(value or '""' for value in found)
                    definition = (
                        f"{MODULES[package.partition('/')[0]]}.{package.partition('/')[2].replace('/', '.')}.{struct}"
                    )
                    yield f"{definition} {field}{is_list} {words}"


def main(folders: list[str]) -> None:
    files = [
        file for folder in folders for file in sources(pathlib.Path(folder)) if pathlib.Path(folder).name in MODULES
    ]
    print("\n".join(sorted(set(lines(files, values(files))))))


if __name__ == "__main__":
    main(sys.argv[1:])
