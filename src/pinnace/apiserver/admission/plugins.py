"""The list of admission plug-ins, in their order."""

import random

from pinnace.apiserver import objects, settings
from pinnace.apiserver.admission import chain, namespace_lifecycle
from pinnace.apiserver.authz import authorizer
from pinnace.kit import clock

_WRITES = frozenset({"CREATE", "UPDATE"})
_CREATE = frozenset({"CREATE"})
_DELETE = frozenset({"DELETE"})


def build(
    stored: objects.Objects,
    decide: authorizer.Authorizer,
    options: settings.Settings,
    time: clock.Clock,
    rng: random.Random,
) -> chain.Chain:
    lifecycle = namespace_lifecycle.NamespaceLifecycle(stored)
    return chain.Chain(
        (
            chain.Registration(
                "NamespaceLifecycle",
                _CREATE | _DELETE,
                subresources=frozenset({"*"}),
                mutator=lifecycle,
                validator=lifecycle,
            ),
        )
    )
