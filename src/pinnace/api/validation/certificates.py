"""CertificateSigningRequests: what may be asked for, and how conditions and the certificate may change (pkg/apis/certificates/validation).

That the request itself is one is checked where it is parsed anyway, at admission.
"""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SIGNER_SHAPE = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
_LASTING = ("Approved", "Denied", "Failed")
_SHORTEST_SECONDS = 600


def create(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.path_segment)
    spec = field.part(obj, "spec")
    _usages(found, field.items(spec, "usages"))
    signer = spec.get("signerName") or ""
    if signer == _LEGACY_SIGNER:
        found.invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    else:
        _signer(found, signer)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_SECONDS:
        found.invalid(
            "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
        )
    conditions(found, field.items(field.part(obj, "status"), "conditions"))


def _usages(found: Causes, usages: list[str]) -> None:
    if not usages:
        found.required("spec.usages")
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        path = f"spec.usages[{index}]"
        if usage not in USAGES:
            found.not_supported(path, usage, USAGES)
        if usage in seen:
            found.duplicate(path, usage)
        seen.add(usage)


def _signer(found: Causes, signer: str) -> None:
    path = "spec.signerName"
    if not signer:
        found.required(path)
        return
    domain, slash, name = signer.partition("/")
    if not slash or "/" in name:
        found.invalid(path, signer, _SIGNER_SHAPE)
        return
    problems = formats.dns_subdomain(domain)
    for problem in problems:
        found.invalid(path, domain, f"validating label {domain!r}: {problem}".replace("'", '"', 2))
    if not problems and "." not in domain:
        found.invalid(path, signer, "should be a domain with at least two segments separated by dots")
    for problem in formats.dns_subdomain(name):
        found.invalid(path, name, f"validating label {name!r}: {problem}".replace("'", '"', 2))


def conditions(found: Causes, present: list[Fields]) -> None:
    kinds: set[str] = set()
    for index, condition in enumerate(present):
        path, kind, status = f"status.conditions[{index}]", condition.get("type") or "", condition.get("status") or ""
        if not kind:
            found.required(f"{path}.type")
        if kind in _LASTING:
            found.one_of(f"{path}.status", status, ("True",))
        else:
            found.one_of(f"{path}.status", status, ("False", "True", "Unknown"))
        if kind in ("Approved", "Denied") and kinds & ({"Approved", "Denied"} - {kind}):
            found.invalid(f"{path}.type", kind, "Approved and Denied conditions are mutually exclusive")
        if kind in kinds:
            found.duplicate(f"{path}.type", kind)
        kinds.add(kind)


def update(found: Causes, new: Fields, old: Fields) -> None:
    """Of the object, of its approval and of its status: what one of them may not touch is as before already."""
    metadata.update(found, new, old)
    status, before = field.part(new, "status"), field.part(old, "status")
    lists = field.items(status, "conditions"), field.items(before, "conditions")
    if lists[0] != lists[1]:
        conditions(found, lists[0])
    for kind in _LASTING:
        here, there = ([item for item in items if item.get("type") == kind] for items in lists)
        if len(here) < len(there):
            found.forbidden("status.conditions", f"updates may not remove a condition of type {field.quoted(kind)}")
    if before.get("certificate") and before["certificate"] != status.get("certificate"):
        found.forbidden("status.certificate", "updates may not modify or clear the certificate")
