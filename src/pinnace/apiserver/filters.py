"""The label and field selectors of a request, over records."""

import dataclasses

from pinnace.api import errors, kinds, selectors
from pinnace.apiserver import context as contexts
from pinnace.apiserver import conversion, envelope, query
from pinnace.store import interface


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    kind: kinds.Kind
    labels: selectors.LabelSelector
    fields: selectors.FieldSelector
    name: str = ""
    """Every match has this name, when it is not ""."""

    @property
    def is_everything(self) -> bool:
        return self.labels.is_everything and self.fields.is_everything

    def matches(self, record: interface.Record) -> bool:
        """Labels first: they cost less."""
        if not self.labels.is_everything and not self.labels.matches(envelope.labels(record)):
            return False
        return self.fields.is_everything or self.fields.matches(envelope.fields(self.kind, record))


def parse(context: contexts.Context, options: query.Query | None = None) -> Filter:
    """Raises 400."""
    options = options or context.query
    try:
        labels = selectors.LabelSelector.parse(options.text("labelSelector"))
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    try:
        fields = selectors.FieldSelector.parse(options.text("fieldSelector")).for_kind(context.kind)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    stored = context.kind
    if conversion.is_converted(stored):
        stored = conversion.storage_kind(context.services.registry, stored)
    return Filter(stored, labels, fields, fields.required_value("metadata.name") or "")
