"""The label and field selectors of a request, over records."""

import dataclasses
from collections.abc import Sequence

from pinnace.api import errors, kinds, selectors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import query
from pinnace.apiserver.storage import envelope
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

    def select(self, records: Sequence[interface.Record]) -> Sequence[interface.Record]:
        """Those that match, in their order. One requirement after the other over all records: a list of thousands costs as many
        look-ups, not as many calls of `matches`."""
        if self.labels.is_nothing:
            return []
        labels = envelope.labels
        for requirement in self.labels.requirements:
            if requirement.operator in ("=", "==", "in") and len(requirement.values) == 1:
                key, value = requirement.key, requirement.values[0]
                records = [record for record in records if labels(record).get(key) == value]
            else:
                records = [record for record in records if requirement.matches(labels(record))]
        if self.fields.is_everything:
            return records
        return [record for record in records if self.fields.matches(envelope.fields(self.kind, record))]


def _of_one_name(fields: selectors.FieldSelector, name: str) -> selectors.FieldSelector:
    """A path that ends in a name (`/watch/…/pods/a`) is about that object and no other: what was authorised is what is shown."""
    if not name:
        return fields
    if not fields.is_everything and fields.required_value("metadata.name") != name:
        raise errors.bad_request("fieldSelector metadata.name doesn't match requested name")
    return selectors.FieldSelector((selectors.FieldRequirement("metadata.name", "=", name), *fields.requirements))


def selected_fields(kind: kinds.Kind, options: query.Query) -> selectors.FieldSelector:
    """The one reading of a request's field selector, for the authoriser as for the filter. Raises ValueError."""
    return selectors.FieldSelector.parse(options.text("fieldSelector")).renamed(kind.rules.fields.name)


def parse(context: contexts.Context, options: query.Query | None = None) -> Filter:
    """Raises 400."""
    options = options or context.query
    try:
        labels = selectors.LabelSelector.parse(options.text("labelSelector"))
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    try:
        fields = selected_fields(context.kind, options)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    fields = _of_one_name(fields, context.name)
    return Filter(context.kind, labels, fields, fields.required_value("metadata.name") or "")
