"""NamespaceLifecycle: nothing new in a namespace that is not there or on its way out; the system's namespaces stay."""

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
# Asking what one may do must be possible in a namespace that is not there.
_EXEMPT = frozenset({("authorization.k8s.io", "localsubjectaccessreviews")})


class NamespaceLifecycle:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def validate(self, attributes: admission.Attributes) -> None:
        if attributes.resource == ("", "namespaces"):
            if attributes.operation == "DELETE" and attributes.name in _IMMORTAL:
                raise errors.forbidden("", "namespaces", attributes.name, "this namespace may not be deleted")
            return
        if attributes.operation != "CREATE" or not attributes.kind.namespaced or attributes.resource in _EXEMPT:
            return
        found = self._objects.get(resources.NAMESPACES, "", attributes.namespace)
        if found is None:
            raise errors.not_found("", "namespaces", attributes.namespace)
        if (found.get("status") or {}).get("phase") == "Terminating" or found["metadata"].get("deletionTimestamp"):
            raise _terminating(attributes)

    async def mutate(self, attributes: admission.Attributes) -> None:
        """First of all, so that nothing else is made for an object that may not be."""
        await self.validate(attributes)


def _terminating(attributes: admission.Attributes) -> errors.StatusError:
    namespace = attributes.namespace
    error = errors.forbidden(
        attributes.kind.group,
        attributes.kind.plural,
        attributes.name,
        f"unable to create new content in namespace {namespace} because it is being terminated",
    )
    error.causes = (
        errors.Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"),
    )
    return error
