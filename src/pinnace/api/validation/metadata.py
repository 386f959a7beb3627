"""Object metadata, labels, annotations, selectors: what every kind has in common."""

from collections.abc import Callable
from typing import Any

from pinnace.api import labels
from pinnace.api.validation import field, formats

Fields = field.Fields
Causes = field.Causes
NameRule = Callable[[str], formats.Messages]

ANNOTATIONS_LIMIT = 256 * 1024

_STANDARD_FINALIZERS = frozenset({labels.FINALIZER_KUBERNETES, labels.FINALIZER_ORPHAN, labels.FINALIZER_FOREGROUND})


def create(found: Causes, obj: Fields, *, namespaced: bool, name_rule: NameRule) -> None:
    metadata = field.part(obj, "metadata")
    path = "metadata"
    if metadata.get("generateName"):
        # What is generated follows: a dash at the end is right here.
        found.messages(
            f"{path}.generateName", metadata["generateName"], name_rule(_completed(metadata["generateName"]))
        )
    name = metadata.get("name") or ""
    if not name:
        found.required(f"{path}.name", "name or generateName is required")
    else:
        found.messages(f"{path}.name", name, name_rule(name))
    _namespace(found, metadata, namespaced)
    found.not_negative(f"{path}.generation", metadata.get("generation"))
    _common(found, metadata)


def update(found: Causes, new: Fields, old: Fields) -> None:
    metadata, before = field.part(new, "metadata"), field.part(old, "metadata")
    path = "metadata"
    if before.get("deletionTimestamp"):
        added = sorted(set(field.items(metadata, "finalizers")) - set(field.items(before, "finalizers")))
        if added:
            shown = ", ".join(field.quoted(name) for name in added)
            found.forbidden(
                f"{path}.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{shown}}}",
            )
    if not metadata.get("resourceVersion"):
        found.invalid(
            f"{path}.resourceVersion", metadata.get("resourceVersion") or "", "must be specified for an update"
        )
    if (metadata.get("generation") or 0) < (before.get("generation") or 0):
        found.invalid(f"{path}.generation", metadata.get("generation") or 0, "must not be decremented")
    for name in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        found.unchanged(f"{path}.{name}", metadata.get(name), before.get(name))
    _common(found, metadata)


def _completed(base: str) -> str:
    return base[:-1] + "a" if base.endswith("-") else base


def _namespace(found: Causes, metadata: Fields, namespaced: bool) -> None:
    namespace = metadata.get("namespace") or ""
    if not namespaced:
        if namespace:
            found.forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        found.required("metadata.namespace")
    else:
        found.messages("metadata.namespace", namespace, formats.dns_label(namespace))


def _common(found: Causes, metadata: Fields) -> None:
    label_map(found, metadata.get("labels"), "metadata.labels")
    annotations(found, metadata.get("annotations"), "metadata.annotations")
    _owners(found, field.items(metadata, "ownerReferences"))
    _finalizers(found, field.items(metadata, "finalizers"))


def label_map(found: Causes, values: Any, path: str) -> None:
    for key, value in (values or {}).items():
        label_name(found, key, path)
        found.messages(path, value, formats.label_value(value))


def label_name(found: Causes, key: str, path: str) -> None:
    found.messages(path, key, formats.qualified_name(key))


def annotations(found: Causes, values: Any, path: str) -> None:
    if not values:
        return
    for key in values:
        found.messages(path, key, formats.qualified_name(key.lower()))
    if sum(len(key) + len(value) for key, value in values.items()) > ANNOTATIONS_LIMIT // 4 and (
        sum(len(key.encode()) + len(value.encode()) for key, value in values.items()) > ANNOTATIONS_LIMIT
    ):
        found.too_long(path, ANNOTATIONS_LIMIT)


def _owners(found: Causes, owners: list[Fields]) -> None:
    path = "metadata.ownerReferences"
    controller = ""
    for owner in owners:
        api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        if not api_version.rpartition("/")[2]:
            found.invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        if not kind:
            found.invalid(f"{path}.kind", "", "must not be empty")
        for name in ("name", "uid"):
            if not owner.get(name):
                found.invalid(f"{path}.{name}", "", "must not be empty")
        if (api_version, kind) == ("v1", "Event"):
            found.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            current = f"{kind}/{owner.get('name')}"
            if controller:
                found.invalid(
                    path,
                    owners,
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{controller} and {current}",
                )
            else:
                controller = current


def _finalizers(found: Causes, finalizers: list[str]) -> None:
    path = "metadata.finalizers"
    for name in finalizers:
        found.messages(path, name, formats.qualified_name(name))
    if labels.FINALIZER_ORPHAN in finalizers and labels.FINALIZER_FOREGROUND in finalizers:
        found.invalid(
            path,
            finalizers,
            f"finalizer {labels.FINALIZER_ORPHAN} and {labels.FINALIZER_FOREGROUND} cannot be both set",
        )
    for index, name in enumerate(finalizers):
        standard_finalizer(found, name, f"{path}[{index}]")


def standard_finalizer(found: Causes, name: str, path: str) -> None:
    if "/" not in name and name not in _STANDARD_FINALIZERS:
        found.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def label_selector(found: Causes, selector: Fields | None, path: str) -> None:
    if selector is None:
        return
    label_map(found, selector.get("matchLabels"), f"{path}.matchLabels")
    for index, requirement in enumerate(field.items(selector, "matchExpressions")):
        _requirement(found, requirement, f"{path}.matchExpressions[{index}]")


def _requirement(found: Causes, requirement: Fields, path: str) -> None:
    operator, values = requirement.get("operator") or "", field.items(requirement, "values")
    match operator:
        case "In" | "NotIn":
            if not values:
                found.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if values:
                found.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case _:
            found.invalid(f"{path}.operator", operator, "not a valid selector operator")
    label_name(found, requirement.get("key") or "", f"{path}.key")
    for index, value in enumerate(values):
        found.messages(f"{path}.values[{index}]", value, formats.label_value(value))
