"""OwnerReferencesPermissionEnforcement: who says that an owner's deletion must wait for this object must be able to do so otherwise."""

from typing import Any

from pinnace.api import errors, kinds
from pinnace.apiserver import users
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer

Object = dict[str, Any]


class OwnerReferences:
    def __init__(self, decide: authorizer.Authorizer, registry: kinds.Registry) -> None:
        self._authorizer = decide
        self._registry = registry

    async def validate(self, attributes: admission.Attributes) -> None:
        """New references that block their owner's deletion need the right to set finalizers on the owner."""
        assert attributes.obj is not None
        references = attributes.obj["metadata"].get("ownerReferences")
        if not references or users.MASTERS in attributes.user.groups:
            return
        before = ((attributes.old or {}).get("metadata") or {}).get("ownerReferences") or []
        known = {reference.get("uid") for reference in before if reference.get("blockOwnerDeletion")}
        for reference in references:
            if reference.get("blockOwnerDeletion") and reference.get("uid") not in known:
                self._require(attributes, reference)

    def _require(self, attributes: admission.Attributes, reference: Object) -> None:
        group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
        kind = self._registry.by_kind(group, version, str(reference.get("kind", "")))
        if kind is None:
            raise self._refusal(
                attributes, "cannot set blockOwnerDeletion in this case because cannot find RESTMapping"
            )
        namespace = attributes.namespace if kind.namespaced else ""
        asked = authz.Attributes(
            "update", group, version, kind.plural, "finalizers", namespace, str(reference.get("name", ""))
        )
        if not self._authorizer.decide(attributes.user, asked).is_allowed:
            raise self._refusal(
                attributes,
                "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: ",
            )

    def _refusal(self, attributes: admission.Attributes, why: str) -> errors.StatusError:
        return errors.forbidden(attributes.kind.group, attributes.kind.plural, attributes.name, why)
