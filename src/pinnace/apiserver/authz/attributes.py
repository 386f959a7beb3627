"""What is asked to be allowed: the same few facts for every request, as upstream's authorizer.Attributes."""

from typing import NamedTuple


class Attributes(NamedTuple):
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    """ "" for paths that are no resource."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """Of what is no resource."""
    fields: tuple[tuple[str, str], ...] = ()
    """(field, value) that the request's field selector fixes: no more than this is read. Of list, watch and deletecollection."""

    @property
    def full_resource(self) -> str:
        """`pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource
