"""One request on its way: who asks, for what, and the parts of the server that answer."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pinnace.api import errors, kinds
from pinnace.apiserver import settings, users
from pinnace.apiserver.admission import chain
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.http import documents, serializers
from pinnace.apiserver.http import query as queries
from pinnace.apiserver.keepers import ticker
from pinnace.apiserver.storage import memo, objects
from pinnace.kit import clock
from pinnace.web import messages


class Verdict(NamedTuple):
    """What there is to say about a new object."""

    wrong: list[errors.Cause]
    warnings: Sequence[str]


@dataclasses.dataclass(slots=True)
class Services:
    """What handlers work with. Made once, by the server."""

    registry: kinds.Registry
    objects: objects.Objects
    clock: clock.Clock
    settings: settings.Settings
    authorizer: authorizer.Authorizer
    admission: chain.Chain
    rng: random.Random
    ticker: ticker.Ticker
    documents: documents.Documents
    fields_of_new: memo.Remembered[list[dict[str, Any]]] = dataclasses.field(default_factory=memo.Remembered)
    verdicts_on_new: memo.Remembered[Verdict] = dataclasses.field(default_factory=memo.Remembered)
    messages: serializers.Messages = dataclasses.field(default_factory=serializers.Messages)
    components: dict[str, Callable[[], str]] = dataclasses.field(default_factory=dict)
    """What else of the control plane runs in this process, by upstream's name: "" while it is well, else what is wrong."""


@dataclasses.dataclass(slots=True)
class Context:
    services: Services
    request: messages.Request
    query: queries.Query
    verb: str
    """As the authoriser sees it."""
    kind: kinds.Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    tail: str = ""
    """Of the path, after `proxy/`."""
    user: users.UserInfo = dataclasses.field(default_factory=users.anonymous)
    asked: authz.Attributes = dataclasses.field(default=authz.Attributes(""))
    """What was authorised."""
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def accept(self) -> str:
        return self.request.headers.get("accept", "")

    def find(self) -> objects.Stored | None:
        """The named object."""
        return self.services.objects.find(self.kind, self.namespace, self.name)

    def record(self) -> objects.Stored:
        """The same. Raises NotFound."""
        found = self.find()
        if found is None:
            raise self.not_found()
        return found

    def require(self, verb: str) -> None:
        """That the user may do `verb` too to what the request names: what it turns out to need beyond its own verb. Raises 403."""
        self.services.authorizer.require(self.user, self.asked._replace(verb=verb))

    def not_found(self) -> errors.StatusError:
        return errors.not_found(self.kind.group, self.kind.plural, self.name)

    def conflict(self, why: str = errors.OBJECT_MODIFIED) -> errors.StatusError:
        return errors.conflict(self.kind.group, self.kind.plural, self.name, why)

    def manager(self, options: queries.WriteOptions) -> str:
        """Who managed fields are booked on: as upstream, the first part of the user agent unless it is named."""
        if options.field_manager:
            return options.field_manager
        agent = str(self.request.headers.get("user-agent", "")).partition("/")[0]
        return "".join(character for character in agent if character.isprintable())[:128] or "unknown"
