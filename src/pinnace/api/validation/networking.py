"""Network policies, ingresses and ingress classes."""

import ipaddress

from pinnace.api.validation import containers, field, formats, metadata

Fields = field.Fields
Causes = field.Causes

_MAX_INGRESS_CLASS = 250
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def network_policy(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _policy_spec(found, field.part(obj, "spec"))


def network_policy_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _policy_spec(found, field.part(new, "spec"))


def _policy_spec(found: Causes, spec: Fields) -> None:
    metadata.label_selector(found, spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(field.items(spec, direction)):
            path = f"spec.{direction}[{index}]"
            for number, port in enumerate(field.items(rule, "ports")):
                _policy_port(found, port, f"{path}.ports[{number}]")
            for number, peer in enumerate(field.items(rule, peers)):
                _peer(found, peer, f"{path}.{peers}[{number}]")
    types = field.items(spec, "policyTypes")
    if len(types) > 2:
        found.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, name in enumerate(types):
        found.maybe_one_of(f"spec.policyTypes[{index}]", name, ("Egress", "Ingress"))


def _policy_port(found: Causes, port: Fields, path: str) -> None:
    found.maybe_one_of(f"{path}.protocol", port.get("protocol"), containers.PROTOCOLS)
    number, end = port.get("port"), port.get("endPort")
    if number is not None:
        containers.port(found, number, f"{path}.port")
    if end is None:
        return
    if number is None:
        found.required(f"{path}.endPort", "may not be specified when `port` is not specified")
    elif isinstance(number, str):
        found.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
    elif end < number:
        found.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
    else:
        found.messages(f"{path}.endPort", end, formats.port_number(end))


def _peer(found: Causes, peer: Fields, path: str) -> None:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if name in peer]
    for name in given[:2]:
        if name != "ipBlock":
            metadata.label_selector(found, peer[name], f"{path}.{name}")
    if "ipBlock" in given:
        _ip_block(found, peer["ipBlock"], f"{path}.ipBlock")
    if not given:
        found.required(path, "must specify a peer")
    elif len(given) > 1 and "ipBlock" in given:
        found.forbidden(path, "may not specify both ipBlock and another peer")


def _ip_block(found: Causes, block: Fields, path: str) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        found.required(f"{path}.cidr")
        return
    messages = formats.cidr(cidr)
    found.messages(f"{path}.cidr", cidr, messages)
    if messages:
        return
    whole = ipaddress.ip_network(cidr, strict=False)
    for index, text in enumerate(field.items(block, "except")):
        here = f"{path}.except[{index}]"
        messages = formats.cidr(text)
        found.messages(here, text, messages)
        if messages:
            continue
        part = ipaddress.ip_network(text, strict=False)
        is_inside = part.version == whole.version and part != whole and part.subnet_of(whole)  # type: ignore[arg-type]
        if not is_inside:
            found.invalid(here, text, "must be a strict subset of `cidr`")


def ingress(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _ingress_spec(found, field.part(obj, "spec"))
    annotation = field.part(field.part(obj, "metadata"), "annotations").get("kubernetes.io/ingress.class")
    if annotation is not None and field.part(obj, "spec").get("ingressClassName") is not None:
        found.invalid(
            "metadata.annotations[kubernetes.io/ingress.class]",
            annotation,
            "can not be set when the class field is also set",
        )


def ingress_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _ingress_spec(found, field.part(new, "spec"))


def _ingress_spec(found: Causes, spec: Fields) -> None:
    rules, default = field.items(spec, "rules"), spec.get("defaultBackend")
    if not rules and default is None:
        found.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified")
    if default is not None:
        _backend(found, default, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        path, host = f"spec.rules[{index}]", rule.get("host") or ""
        if host:
            if formats.parse_ip(host) is not None:
                found.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
            _host(found, host, f"{path}.host")
        http = rule.get("http")
        if http is not None:
            _paths(found, http, f"{path}.http.paths")
    for index, tls in enumerate(field.items(spec, "tls")):
        for number, host in enumerate(field.items(tls, "hosts")):
            _host(found, host, f"spec.tls[{index}].hosts[{number}]")
        name = tls.get("secretName")
        if name:
            found.messages(f"spec.tls[{index}].secretName", name, formats.dns_subdomain(name))
    if spec.get("ingressClassName") is not None:
        name = spec["ingressClassName"]
        found.messages("spec.ingressClassName", name, formats.dns_subdomain(name))


def _host(found: Causes, host: str, path: str) -> None:
    found.messages(path, host, formats.wildcard_subdomain(host) if "*" in host else formats.dns_subdomain(host))


def _paths(found: Causes, http: Fields, path: str) -> None:
    paths = field.items(http, "paths")
    if not paths:
        found.required(path)
    for index, item in enumerate(paths):
        here, kind, text = f"{path}[{index}]", item.get("pathType"), item.get("path") or ""
        if kind is None:
            found.required(f"{here}.pathType", "pathType must be specified")
        elif kind in ("Exact", "Prefix"):
            _strict_path(found, text, f"{here}.path")
        elif kind == "ImplementationSpecific":
            if text and not text.startswith("/"):
                found.invalid(f"{here}.path", text, "must be an absolute path")
        else:
            found.not_supported(f"{here}.pathType", kind, _PATH_TYPES)
        _backend(found, field.part(item, "backend"), f"{here}.backend")


def _strict_path(found: Causes, text: str, path: str) -> None:
    if not text.startswith("/"):
        found.invalid(path, text, "must be an absolute path")
    for sequence in ("//", "/./", "/../", "%2f", "%2F"):
        if sequence in text:
            found.invalid(path, text, f"must not contain '{sequence}'")
    for suffix in ("/..", "/."):
        if text.endswith(suffix):
            found.invalid(path, text, f"cannot end with '{suffix}'")


def _backend(found: Causes, backend: Fields, path: str) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        found.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        for name in ("kind", "name"):
            if not resource.get(name):
                found.required(f"{path}.resource.{name}")
    elif service is None:
        found.required(path, "resource or service backend is required")
    else:
        _service_backend(found, service, f"{path}.service")


def _service_backend(found: Causes, service: Fields, path: str) -> None:
    name, port = service.get("name") or "", field.part(service, "port")
    if not name:
        found.required(f"{path}.name")
    else:
        found.messages(f"{path}.name", name, formats.dns_1035_label(name))
    if port.get("name") and port.get("number"):
        found.invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        found.messages(f"{path}.port.name", port["name"], formats.port_name(port["name"]))
    elif port.get("number"):
        found.messages(f"{path}.port.number", port["number"], formats.port_number(port["number"]))
    else:
        found.required(path, "port name or number is required")


def ingress_class(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    spec = field.part(obj, "spec")
    controller = spec.get("controller") or ""
    if len(controller) > _MAX_INGRESS_CLASS:
        found.too_long("spec.controller", _MAX_INGRESS_CLASS)
    domain_path(found, controller, "spec.controller")
    parameters = spec.get("parameters")
    if parameters is not None:
        _class_parameters(found, parameters, "spec.parameters")


def domain_path(found: Causes, value: str, path: str) -> None:
    """`acme.io/foo`."""
    host, _, rest = value.partition("/")
    if not value:
        found.required(path)
    elif not host or not rest:
        found.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        found.messages(path, host, formats.dns_subdomain(host))


def _class_parameters(found: Causes, parameters: Fields, path: str) -> None:
    for name in ("kind", "name"):
        if not parameters.get(name):
            found.required(f"{path}.{name}", f"{name} is required")
    scope = parameters.get("scope")
    if scope is None:
        found.required(f"{path}.scope")
    found.maybe_one_of(f"{path}.scope", scope, ("Cluster", "Namespace"))
    namespace = parameters.get("namespace")
    if scope == "Namespace":
        if not namespace:
            found.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            found.messages(f"{path}.namespace", namespace, formats.dns_label(namespace))
    elif scope == "Cluster" and namespace is not None:
        found.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def ingress_class_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("spec.controller", *(field.part(obj, "spec").get("controller") for obj in (new, old)))
    ingress_class(found, new)
