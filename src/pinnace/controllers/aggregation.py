"""ClusterRoles made of others: `admin`, `edit` and `view` gather the rules of every role that carries their labels.

Watches ClusterRoles. Owns the rules of those with an aggregationRule.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources, selectors
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    role = view.get(resources.CLUSTER_ROLES, *key)
    if role is None or not role.get("aggregationRule"):
        return []
    rules: list[Object] = []
    for each in role["aggregationRule"].get("clusterRoleSelectors") or ():
        selector = selectors.from_object(each)
        for other in sorted(view.list(resources.CLUSTER_ROLES), key=objects.name_of):
            if objects.name_of(other) == key[1] or not selector.matches(objects.labels_of(other)):
                continue
            rules += [rule for rule in other.get("rules") or () if rule not in rules]
    if objects.is_same(role.get("rules"), rules):
        return []
    return [actions.Update(resources.CLUSTER_ROLES, {**role, "rules": rules})]


def _all_aggregated(view: views.View, role: Object) -> Iterable[objects.Key]:
    """Labels may bring a role into any of them or take it out."""
    return [objects.key_of(each) for each in view.list(resources.CLUSTER_ROLES) if each.get("aggregationRule")]


def controller() -> loop.Controller:
    return loop.Controller(
        name="clusterrole-aggregation",
        user="clusterrole-aggregation-controller",
        watches=(
            loop.Watch(resources.CLUSTER_ROLES, loop.own_key),
            loop.Watch(resources.CLUSTER_ROLES, _all_aggregated),
        ),
        plan=plan,
        workers=2,
    )
