"""Reading a configuration file: YAML, one mapping, known keys only; every value with the line it is on."""

import difflib
import pathlib

import yaml

from pinnace.assemble import configuration


def read(path: pathlib.Path) -> dict[str, configuration.Line]:
    """Raises ConfigurationError, which names file, line, and what would be right."""
    try:
        loader = yaml.SafeLoader(path.read_text())
        root = loader.get_single_node()
    except (OSError, UnicodeDecodeError) as error:
        raise configuration.ConfigurationError(f"{path}: not readable: {error}") from error
    except yaml.YAMLError as error:
        raise configuration.ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise configuration.ConfigurationError(f"{path}: not a mapping; write lines such as `port: 6443`")
    found = {}
    for key_node, value_node in root.value:
        origin = f"{path}:{key_node.start_mark.line + 1}"
        key = str(key_node.value)
        if key not in configuration.KEYS:
            raise configuration.ConfigurationError(f"{origin}: {key}: no such setting; {_hint(key)}")
        found[key] = configuration.Line(loader.construct_object(value_node, deep=True), origin)
    return found


def _hint(key: str) -> str:
    near = difflib.get_close_matches(key.lower().replace("_", "-"), configuration.KEYS, 1)
    known = ", ".join(configuration.KEYS)
    return f"did you mean {near[0]}?" if near else f"known are {known}"
