"""A local, always-current copy of a resource: list once, watch for ever, list again when the history is gone."""

from collections.abc import Callable, Iterable, Sequence

from pinnace.client import client, resources
from pinnace.kit import clock

Handler = Callable[[client.Object | None, client.Object | None], None]
"""(old, new): old None = added, new None = deleted. Called in order, on the loop, must not block."""
IndexFunction = Callable[[client.Object], Iterable[str]]


class Informer:
    """Guarantees: the cache only moves forward per object; handlers see every state change that the cache makes, in order; after a
    relist, objects that vanished meanwhile are reported as deleted. One instance per resource and selector; share it."""

    def __init__(
        self,
        api: client.Client,
        resource: resources.Resource,
        time: clock.Clock,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        raise NotImplementedError

    def add_handler(self, handler: Handler) -> None:
        """Before `run`; a handler that is added later is first told of everything that is there."""
        raise NotImplementedError

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Before `run`."""
        raise NotImplementedError

    async def run(self) -> None:
        """For ever; started by a Supervisor. Errors of the API are retried with back-off inside."""
        raise NotImplementedError

    async def wait_synced(self) -> None:
        """Returns once the first list is in the cache."""
        raise NotImplementedError

    def get(self, namespace: str | None, name: str) -> client.Object | None:
        raise NotImplementedError

    def list(self, namespace: str | None = None) -> Sequence[client.Object]:
        raise NotImplementedError

    def by_index(self, name: str, value: str) -> Sequence[client.Object]:
        raise NotImplementedError
