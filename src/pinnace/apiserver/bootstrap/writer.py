"""How the server writes objects of its own: through the same admission, validation and managed fields as everybody."""

from collections.abc import Callable
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import users
from pinnace.apiserver.http import query
from pinnace.apiserver.verbs import writing
from pinnace.web import messages

Object = dict[str, Any]

SELF = users.UserInfo("system:apiserver", groups=(users.MASTERS, users.AUTHENTICATED))
_OPTIONS = query.WriteOptions(field_manager="kube-apiserver")


class Writer:
    def __init__(self, services: contexts.Services) -> None:
        self._services = services

    def context(self, resource: resources.Resource, namespace: str, name: str, verb: str) -> contexts.Context:
        kind = self._services.objects.kind(resource)
        request = messages.Request("POST", "/", user=SELF)
        return contexts.Context(self._services, request, query.EMPTY, verb, kind, namespace, name, user=SELF)

    async def create(self, resource: resources.Resource, obj: Object) -> bool:
        """False when it is there already."""
        metadata = obj["metadata"]
        context = self.context(resource, metadata.get("namespace", ""), metadata["name"], "create")
        if context.find() is not None:
            return False
        context.kind.rules.defaults(obj)
        try:
            await writing.create(context, obj, _OPTIONS)
        except errors.StatusError as error:
            if error.reason == "AlreadyExists":
                return False
            raise
        return True

    async def update(
        self, resource: resources.Resource, namespace: str, name: str, make: Callable[[Object], Object | None]
    ) -> None:
        """`make` gets the present object and returns the wanted one, or None for nothing to do."""
        context = self.context(resource, namespace, name, "update")

        def made(present: Object) -> Object | None:
            wanted = make(present)
            if wanted is not None:
                context.kind.rules.defaults(wanted)
            return wanted

        await writing.update(context, made, _OPTIONS, retries=True)

    async def create_or_update(
        self, resource: resources.Resource, obj: Object, make: Callable[[Object], Object | None]
    ) -> None:
        metadata = obj["metadata"]
        if not await self.create(resource, obj):
            await self.update(resource, metadata.get("namespace", ""), metadata["name"], make)
