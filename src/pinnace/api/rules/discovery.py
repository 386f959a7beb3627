"""`discovery.k8s.io`: endpoint slices."""

from pinnace.api.rules import base
from pinnace.api.tables import network
from pinnace.api.validation import services
from pinnace.api.warnings import network as warnings


def _defaults(obj: base.Object) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


ENDPOINT_SLICE = base.Rules(
    warnings=warnings.endpoint_slice,
    defaults=_defaults,
    generation_of=base.but_status,
    validate_create=services.endpoint_slice,
    update=base.Part(validate=services.endpoint_slice_update),
    printer=network.ENDPOINT_SLICE,
)

V1: base.Rows = (base.Row("EndpointSlice", "endpointslices", base.NAMESPACED, rules=ENDPOINT_SLICE),)
