"""May this user do that? Masters may; nodes may what their pods need; RBAC says the rest; unknown is denied."""

from pinnace.api import errors
from pinnace.apiserver import users
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import nodes, rbac, rules
from pinnace.apiserver.storage import objects

NODE_ROLE = "system:node"


class Authorizer:
    def __init__(self, stored: objects.Objects) -> None:
        self.index = rbac.Index(stored)
        self._nodes = nodes.NodeRules(stored)

    def decide(self, user: users.UserInfo, asked: authz.Attributes) -> rbac.Decision:
        if users.MASTERS in user.groups:
            return rbac.Decision(True)
        if asked.resource and users.node_name(user) and self._node_may(user, asked):
            return rbac.Decision(True)
        return self.index.decide(user, asked)

    def _node_may(self, user: users.UserInfo, asked: authz.Attributes) -> bool:
        granted = self.index.role_rules("ClusterRole", NODE_ROLE, "")
        if not any(rule.allows(asked) for rule in granted):
            return False
        return not self._nodes.concerns(asked) or self._nodes.allows(user, asked)

    def require(self, user: users.UserInfo, asked: authz.Attributes) -> None:
        """Raises 403 in upstream's words."""
        decision = self.decide(user, asked)
        if not decision.is_allowed:
            raise refusal(user, asked, decision.reason)

    def rules_for(self, user: users.UserInfo, namespace: str) -> list[rules.Rule]:
        return self.index.rules_for(user, namespace)


def refusal(user: users.UserInfo, asked: authz.Attributes, reason: str = "") -> errors.StatusError:
    more = f": {reason}" if reason else ""
    if not asked.resource:
        return errors.StatusError(
            403, "Forbidden", f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"{more}'
        )
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}" {where}{more}'
    return errors.forbidden(asked.group, asked.resource, asked.name, why)
