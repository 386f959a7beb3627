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
        node = users.node_name(user)
        if not node or not asked.resource:
            return self.index.decide(user, asked)
        refusal = self._nodes.refusal(node, asked)
        if refusal is None:
            granted = self.index.role_rules("ClusterRole", NODE_ROLE, "")
            refusal = "" if any(rule.allows(asked) for rule in granted) else None
        if refusal == nodes.ALLOWED:
            return rbac.Decision(True)
        found = self.index.decide(user, asked)
        return found if found.is_allowed or not refusal else rbac.Decision(False, refusal)

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
