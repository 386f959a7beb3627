"""Nobody grants what they do not have: roles and bindings are checked against the writer's own rights.

`escalate` on a role, or `bind` on the role that a binding refers to, lifts the check, as upstream's.
"""

from typing import Any

from pinnace.api import errors
from pinnace.apiserver import users
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer, rules

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
_EVERYTHING = (
    rules.Rule(frozenset("*"), frozenset("*"), frozenset("*")),
    rules.Rule(frozenset("*"), urls=("*",)),
)


class RbacEscalation:
    def __init__(self, decide: authorizer.Authorizer) -> None:
        self._authorizer = decide

    async def validate(self, attributes: admission.Attributes) -> None:
        if users.MASTERS in attributes.user.groups:
            return
        assert attributes.obj is not None
        if attributes.kind.plural in ("roles", "clusterroles"):
            self._check_role(attributes, attributes.obj)
        else:
            self._check_binding(attributes, attributes.obj)

    def _check_role(self, attributes: admission.Attributes, role: Object) -> None:
        before = attributes.old or {}
        if (role.get("rules"), role.get("aggregationRule")) == (before.get("rules"), before.get("aggregationRule")):
            return
        if self._may(attributes, "escalate", attributes.kind.plural, attributes.name):
            return
        self._require(attributes, rules.parse_all(role.get("rules")))
        if role.get("aggregationRule") and role["aggregationRule"] != before.get("aggregationRule"):
            owned = self._authorizer.rules_for(attributes.user, "")
            if rules.uncovered(owned, _EVERYTHING):
                raise errors.forbidden(
                    GROUP,
                    attributes.kind.plural,
                    attributes.name,
                    "must have cluster-admin privileges to use the aggregationRule",
                )

    def _check_binding(self, attributes: admission.Attributes, binding: Object) -> None:
        before = attributes.old or {}
        if (binding.get("roleRef"), binding.get("subjects")) == (before.get("roleRef"), before.get("subjects")):
            return
        reference = binding.get("roleRef") or {}
        kind, name = reference.get("kind", ""), reference.get("name", "")
        if self._may(attributes, "bind", "clusterroles" if kind == "ClusterRole" else "roles", name):
            return
        granted = self._authorizer.index.find_role(kind, name, attributes.namespace)
        if granted is None:
            # Whoever makes the role later would hand its rights out.
            raise errors.not_found(GROUP, "clusterroles" if kind == "ClusterRole" else "roles", name)
        self._require(attributes, granted)

    def _may(self, attributes: admission.Attributes, verb: str, plural: str, name: str) -> bool:
        asked = authz.Attributes(verb, GROUP, "v1", plural, "", attributes.namespace, name)
        return self._authorizer.decide(attributes.user, asked).is_allowed

    def _require(self, attributes: admission.Attributes, wanted: tuple[rules.Rule, ...]) -> None:
        owned = self._authorizer.rules_for(attributes.user, attributes.namespace)
        missing = rules.uncovered(owned, wanted)
        if missing:
            groups = " ".join(f'"{group}"' for group in attributes.user.groups)
            raise errors.forbidden(
                GROUP,
                attributes.kind.plural,
                attributes.name,
                f'user "{attributes.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
                "currently held:\n" + "\n".join(sorted(map(rules.shown, rules.compacted(missing)))),
            )
