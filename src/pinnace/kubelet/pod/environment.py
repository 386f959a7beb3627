"""The environment, command and arguments of a container: everything resolved. Pure.

Called just before a container is created; what is missing raises `ConfigError`, which shows as CreateContainerConfigError.
"""

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from pinnace.kubelet.pod import env_files, fields, podspec

MASTER_SERVICE = ("default", "kubernetes")


class ConfigError(Exception):
    """The container cannot be configured now; the text is upstream's. Tried again when something changes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """What references are looked up in."""

    config_map: Callable[[str], podspec.Object | None]
    secret: Callable[[str], podspec.Object | None]
    services: Sequence[podspec.Object]
    """Of the pod's namespace, and `default/kubernetes`."""
    facts: fields.Facts
    env_file: Callable[[str, str], str | None]
    """(volume, path in it) -> the file's text; None: there is no such file. Raises ConfigError."""


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...] | None
    arguments: tuple[str, ...] | None


def resolve(pod: podspec.Object, container: podspec.Object, sources: Sources) -> Process:
    """Raises ConfigError."""
    variables = _variables(pod, container, sources)
    lookup = variables.get
    command = container.get("command")
    arguments = container.get("args")
    return Process(
        environment=tuple(variables.items()),
        command=tuple(expand(word, lookup) for word in command) if command else None,
        arguments=tuple(expand(word, lookup) for word in arguments) if arguments else None,
    )


def _variables(pod: podspec.Object, container: podspec.Object, sources: Sources) -> dict[str, str]:
    links = service_variables(pod, sources.services)
    result = _from_sources(pod, container, sources)
    known: dict[str, str] = {}

    def lookup(name: str) -> str | None:
        return known.get(name, result.get(name, links.get(name)))

    for entry in container.get("env") or ():
        value = _value(pod, container, entry, sources, lookup)
        if value is not None:
            known[entry["name"]] = value
    result.update(known)
    return result | {name: value for name, value in links.items() if name not in result}


def _from_sources(pod: podspec.Object, container: podspec.Object, sources: Sources) -> dict[str, str]:
    """`envFrom`: whole config maps and secrets; later ones win."""
    result: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        prefix = entry.get("prefix", "")
        data: Mapping[str, str] = {}
        if reference := entry.get("configMapRef"):
            found = _find_config_map(reference, sources)
            data = {} if found is None else found.get("data") or {}
        elif reference := entry.get("secretRef"):
            found = _find_secret(reference, sources)
            data = {} if found is None else secret_text(found)
        for name, value in data.items():
            result[prefix + name] = value
    return result


def _find_config_map(reference: podspec.Object, sources: Sources) -> podspec.Object | None:
    found = sources.config_map(reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'configmap "{reference["name"]}" not found')
    return found


def _find_secret(reference: podspec.Object, sources: Sources) -> podspec.Object | None:
    found = sources.secret(reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'secret "{reference["name"]}" not found')
    return found


def secret_text(secret: podspec.Object) -> dict[str, str]:
    """A secret's data as text; bytes that are no UTF-8 survive into the environment unchanged."""
    return {
        name: base64.b64decode(value).decode("utf-8", "surrogateescape")
        for name, value in (secret.get("data") or {}).items()
    }


def _value(
    pod: podspec.Object,
    container: podspec.Object,
    entry: podspec.Object,
    sources: Sources,
    lookup: Callable[[str], str | None],
) -> str | None:
    """The value of one `env` entry; None: an optional reference that is not there."""
    origin = entry.get("valueFrom")
    if not origin:
        return expand(str(entry.get("value", "")), lookup)
    try:
        if reference := origin.get("fieldRef"):
            return fields.field(pod, reference["fieldPath"], sources.facts)
        if reference := origin.get("resourceFieldRef"):
            return fields.resource(pod, reference, sources.facts, container["name"])
    except fields.FieldError as error:
        raise ConfigError(str(error)) from error
    if reference := origin.get("configMapKeyRef"):
        found = _find_config_map(reference, sources)
        data: Mapping[str, str] = {} if found is None else found.get("data") or {}
        return _key(pod, reference, data, "ConfigMap")
    if reference := origin.get("secretKeyRef"):
        found = _find_secret(reference, sources)
        return _key(pod, reference, {} if found is None else secret_text(found), "Secret")
    if reference := origin.get("fileKeyRef"):
        return _from_file(reference, sources)
    return ""


def _from_file(reference: podspec.Object, sources: Sources) -> str | None:
    """None: it is optional and not there."""
    volume, path, key = (str(reference.get(name, "")) for name in ("volumeName", "path", "key"))
    text = sources.env_file(volume, path)
    try:
        value = None if text is None else env_files.find(text, key)
    except env_files.BadFile as error:
        raise ConfigError(f"couldn't parse env file {path} of volume {volume}: {error}") from error
    if value is None and not reference.get("optional"):
        what = "file" if text is None else f"key {key} in file"
        raise ConfigError(f"environment variable {what} {path} of volume {volume} not found")
    return value


def _key(pod: podspec.Object, reference: podspec.Object, data: Mapping[str, str], kind: str) -> str | None:
    if reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    name = f"{podspec.namespace(pod)}/{reference['name']}"
    raise ConfigError(f"couldn't find key {reference['key']} in {kind} {name}")


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """`$(NAME)` by its value; `$$` is a dollar sign; a name that is not known stays as it is written."""
    if "$" not in text:
        return text
    pieces: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        following = text[position + 1] if position + 1 < len(text) else ""
        if character != "$" or not following:
            pieces.append(character)
            position += 1
        elif following == "$":
            pieces.append("$")
            position += 2
        elif following == "(":
            end = text.find(")", position + 2)
            if end < 0:
                pieces.append("$(")
                position += 2
                continue
            name = text[position + 2 : end]
            value = lookup(name)
            pieces.append(text[position : end + 1] if value is None else value)
            position = end + 1
        else:
            pieces.append("$" + following)
            position += 2
    return "".join(pieces)


# ---------------------------------------------------------------- services


def service_variables(pod: podspec.Object, services: Sequence[podspec.Object]) -> dict[str, str]:
    """`NAME_SERVICE_HOST` and the Docker-link variables of the services that a pod sees."""
    links = pod["spec"].get("enableServiceLinks", True)
    chosen: dict[str, podspec.Object] = {}
    for service in services:
        identity = (service["metadata"]["namespace"], service["metadata"]["name"])
        address = service["spec"].get("clusterIP")
        if not address or address == "None":
            continue
        if identity[0] == podspec.namespace(pod) and (links or identity == MASTER_SERVICE):
            chosen[identity[1]] = service
        elif identity == MASTER_SERVICE:
            chosen.setdefault(identity[1], service)
    result: dict[str, str] = {}
    for name in sorted(chosen):
        result.update(_links(chosen[name]))
    return result


def _links(service: podspec.Object) -> dict[str, str]:
    prefix = service["metadata"]["name"].upper().replace("-", "_")
    address = service["spec"]["clusterIP"]
    shown = f"[{address}]" if ":" in address else address
    ports = service["spec"].get("ports") or []
    if not ports:
        return {}
    result = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{shown}:{port['port']}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        base = f"{prefix}_PORT_{port['port']}_{protocol}"
        result[base] = url
        result[f"{base}_PROTO"] = protocol.lower()
        result[f"{base}_PORT"] = str(port["port"])
        result[f"{base}_ADDR"] = address
    return result


# ---------------------------------------------------------------- what a pod refers to


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Reference:
    kind: str
    """`configmap` or `secret`, as in upstream's messages."""
    name: str


def references(pod: podspec.Object) -> frozenset[Reference]:
    """Every config map and secret that the pod names: in its environment, its volumes and its pull secrets."""
    found: set[Reference] = set()
    for _, container in podspec.containers(pod):
        for entry in container.get("env") or ():
            origin = entry.get("valueFrom") or {}
            _add(found, origin, "configMapKeyRef", "secretKeyRef")
        for entry in container.get("envFrom") or ():
            _add(found, entry, "configMapRef", "secretRef")
    for secret in pod["spec"].get("imagePullSecrets") or ():
        if secret.get("name"):
            found.add(Reference("secret", secret["name"]))
    for volume in pod["spec"].get("volumes") or ():
        for source in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
            _add(found, source, "configMap", "secret")
    return frozenset(found)


def _add(found: set[Reference], holder: podspec.Object, config_map_field: str, secret_field: str) -> None:
    for field, kind in ((config_map_field, "configmap"), (secret_field, "secret")):
        reference = holder.get(field)
        if reference:
            name = reference.get("name") or reference.get("secretName")
            if name:
                found.add(Reference(kind, name))
