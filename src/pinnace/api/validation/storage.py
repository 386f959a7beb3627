"""Persistent volumes and claims, and the kinds of `storage.k8s.io`."""

from pinnace.api import quantity
from pinnace.api.validation import claims, field, formats, metadata, placement, resources, volumes

Fields = field.Fields
Causes = field.Causes

RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_PARAMETERS_LIMIT = 256 * 1024
_MAX_PARAMETERS = 512
_MAX_NODE_ID = 256
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_VOLUME_FIELDS = frozenset(
    {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    }
)


def persistent_volume(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    spec = field.part(obj, "spec")
    modes = field.items(spec, "accessModes")
    if not modes:
        found.required("spec.accessModes")
    claims.access_modes(found, modes, "spec.accessModes")
    _capacity(found, field.part(spec, "capacity"))
    policy = spec.get("persistentVolumeReclaimPolicy")
    found.maybe_one_of("spec.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            found.required("spec.nodeAffinity.required", "must specify required node constraints")
        else:
            placement.node_selector(found, affinity["required"], "spec.nodeAffinity.required")
    _volume_source(found, spec)
    source = field.part(spec, "hostPath").get("path")
    if source is not None and source.rstrip("/") == "" and policy == "Recycle":
        found.forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
    if spec.get("storageClassName"):
        found.messages(
            "spec.storageClassName", spec["storageClassName"], formats.dns_subdomain(spec["storageClassName"])
        )
    found.maybe_one_of("spec.volumeMode", spec.get("volumeMode"), claims.VOLUME_MODES)


def _capacity(found: Causes, capacity: Fields) -> None:
    path = "spec.capacity"
    if not capacity:
        found.required(path)
        return
    if set(capacity) != {"storage"}:
        found.not_supported(path, capacity, ("storage",))
    for key, value in capacity.items():
        if quantity.parse(value) < 0:
            found.invalid(f"{path}[{key}]", quantity.value(value), "must be a valid resource quantity")
        resources.positive(found, value, f"{path}[{key}]")


def _volume_source(found: Causes, spec: Fields) -> None:
    given = [name for name in spec if name not in _VOLUME_FIELDS]
    if not given:
        found.required("spec", "must specify a volume type")
    for index, name in enumerate(given):
        path, source = f"spec.{name}", spec[name]
        if index:
            found.forbidden(path, "may not specify more than 1 volume type")
        elif name == "local":
            _local(found, source, path, has_affinity="nodeAffinity" in spec)
        elif name == "csi":
            _csi(found, source, path)
        elif name in volumes.SOURCES:
            volumes.SOURCES[name](found, source, path)


def _local(found: Causes, source: Fields, path: str, *, has_affinity: bool) -> None:
    given = source.get("path") or ""
    if not given:
        found.required(f"{path}.path")
    else:
        found.messages(f"{path}.path", given, formats.no_backsteps(given))
    if not has_affinity:
        found.required("spec.nodeAffinity", "Local volume requires node affinity")


def _csi(found: Causes, source: Fields, path: str) -> None:
    volumes.csi(found, source, path)
    if not source.get("volumeHandle"):
        found.required(f"{path}.volumeHandle")


def persistent_volume_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    persistent_volume(found, new)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    sources = [{name: spec[name] for name in spec if name not in _VOLUME_FIELDS} for spec in (after, before)]
    if sources[0] != sources[1]:
        found.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    found.unchanged("volumeMode", after.get("volumeMode"), before.get("volumeMode"))
    if before.get("nodeAffinity") is not None and after.get("nodeAffinity") != before["nodeAffinity"]:
        found.invalid(
            "nodeAffinity", after.get("nodeAffinity"), "field is immutable, except for updating from beta label to GA"
        )


def claim(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    claims.spec(found, field.part(obj, "spec"), "spec")


def claim_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    claim(found, new)
    after, before = dict(field.part(new, "spec")), dict(field.part(old, "spec"))
    new_size, old_size = _size(after), _size(before)
    if not before.get("volumeName"):
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before.get("storageClassName") is None and _may_be_classed(after, old):
        after.pop("storageClassName", None)
    if field.part(new, "status").get("phase") == "Bound":
        for spec in (after, before):
            spec["resources"] = _without_size(spec)
            if after.get("volumeAttributesClassName"):
                spec.pop("volumeAttributesClassName", None)
    if after != before:
        found.forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    if new_size is not None and old_size is not None and quantity.compare(new_size, old_size) < 0:
        held = field.part(field.part(old, "status"), "capacity").get("storage", "0")
        if quantity.compare(new_size, held) <= 0:
            found.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    found.unchanged("volumeMode", after.get("volumeMode"), before.get("volumeMode"))


def _may_be_classed(spec: Fields, old: Fields) -> bool:
    """A claim without a class may be given one, once."""
    beta = field.part(field.part(old, "metadata"), "annotations").get(_BETA_CLASS)
    return spec.get("storageClassName") is not None and beta in (None, spec["storageClassName"])


def _size(spec: Fields) -> str | None:
    return field.part(field.part(spec, "resources"), "requests").get("storage")


def _without_size(spec: Fields) -> Fields:
    made = dict(field.part(spec, "resources"))
    made["requests"] = {name: value for name, value in field.part(made, "requests").items() if name != "storage"}
    return made


def claim_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    if not field.items(field.part(new, "spec"), "accessModes"):
        found.required("Spec.accessModes")
    for key, value in field.part(field.part(new, "status"), "capacity").items():
        if quantity.parse(value) < 0:
            found.invalid(f"status.capacity[{key}]", quantity.value(value), "must be a valid resource quantity")


def storage_class(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    provisioner = obj.get("provisioner") or ""
    if not provisioner:
        found.required("provisioner", "")
    else:
        found.messages("provisioner", provisioner, formats.qualified_name(provisioner.lower()))
    _parameters(found, field.part(obj, "parameters"))
    found.maybe_one_of("reclaimPolicy", obj.get("reclaimPolicy") or None, ("Delete", "Retain"))
    found.one_of("volumeBindingMode", obj.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"))
    for index, term in enumerate(field.items(obj, "allowedTopologies")):
        _topology(found, term, f"allowedTopologies[{index}]")


def csi_node(found: Causes, obj: Fields) -> None:
    """A node without drivers is one whose agent has just come up."""
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    names = set()
    for index, driver in enumerate(field.items(field.part(obj, "spec"), "drivers")):
        path = f"spec.drivers[{index}]"
        name = driver.get("name") or ""
        if not name:
            found.required(f"{path}.name")
        else:
            found.messages(f"{path}.name", name, formats.dns_subdomain(name.lower()))
        if name in names:
            found.duplicate(f"{path}.name", name)
        names.add(name)
        if not driver.get("nodeID"):
            found.required(f"{path}.nodeID", "")
        elif len(driver["nodeID"]) > _MAX_NODE_ID:
            found.invalid(f"{path}.nodeID", driver["nodeID"], f"must be {_MAX_NODE_ID} characters or less")


def csi_node_update(found: Causes, new: Fields, old: Fields) -> None:
    """Drivers come and go; what one said of itself stays, but for how many volumes it can have."""
    metadata.update(found, new, old)
    csi_node(found, new)
    before = {driver.get("name"): driver for driver in field.items(field.part(old, "spec"), "drivers")}
    for driver in field.items(field.part(new, "spec"), "drivers"):
        had = before.get(driver.get("name"))
        if had is not None and any(driver.get(name) != had.get(name) for name in ("nodeID", "topologyKeys")):
            found.invalid("CSINode", driver, field.IMMUTABLE)


def attributes_class(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    driver = obj.get("driverName") or ""
    if not driver:
        found.required("driverName", driver)
    else:
        found.messages("driverName", driver, formats.qualified_name(driver.lower()))
    parameters = field.part(obj, "parameters")
    if not parameters:
        found.required("parameters", "must contain at least one key/value pair")
    _parameters(found, parameters)


def attributes_class_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for name in ("driverName", "parameters"):
        if (new.get(name) or None) != (old.get(name) or None):
            found.forbidden(name, f"updates to {name} are forbidden.")


def _parameters(found: Causes, parameters: Fields) -> None:
    if len(parameters) > _MAX_PARAMETERS:
        found.too_long("parameters", _MAX_PARAMETERS)
        return
    for key in parameters:
        if not key:
            found.invalid("parameters", key, "field can not be empty.")
    if sum(len(key) + len(value) for key, value in parameters.items()) > _PARAMETERS_LIMIT:
        found.too_long("parameters", _PARAMETERS_LIMIT)


def _topology(found: Causes, term: Fields, path: str) -> None:
    keys: set[str] = set()
    for index, requirement in enumerate(field.items(term, "matchLabelExpressions")):
        here, key = f"{path}.matchLabelExpressions[{index}]", requirement.get("key") or ""
        values = field.items(requirement, "values")
        if not values:
            found.required(f"{here}.values")
        for number, value in enumerate(values):
            if value in values[:number]:
                found.duplicate(f"{here}.values[{number}]", value)
        metadata.label_name(found, key, f"{here}.key")
        if key in keys:
            found.duplicate(f"{here}.key", key)
        keys.add(key)


def storage_class_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for name in ("parameters", "provisioner", "reclaimPolicy"):
        if (new.get(name) or None) != (old.get(name) or None):
            found.forbidden(name, f"updates to {name} are forbidden.")
    found.unchanged("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))
