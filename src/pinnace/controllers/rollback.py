"""The older way of going back: a Deployment whose annotation names a revision gets that revision's template again.

Pure; upstream's rollback.go. `kubectl rollout undo` writes the template itself and needs none of this.
"""

from collections.abc import Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers import templates
from pinnace.controllers.framework import actions, objects

Object = dict[str, Any]

NOT_FOUND = "DeploymentRollbackRevisionNotFound"
UNCHANGED = "DeploymentRollbackTemplateUnchanged"
DONE = "DeploymentRollback"


def target(deployment: Object) -> int | None:
    """The revision to go back to; 0: the one before the newest; None: nobody asked."""
    text = objects.annotations_of(deployment).get(templates.ROLLBACK_TO, "")
    try:
        return int(text)
    except ValueError:
        return None


def plan(deployment: Object, replica_sets: Sequence[Object], wanted: int) -> list[actions.Action]:
    """Whatever becomes of the wish, its annotation goes, so that it is granted once."""
    if wanted == 0:
        known = sorted((templates.revision_of(each) for each in replica_sets), reverse=True)
        wanted = known[1] if len(known) > 1 else 0
        if wanted == 0:
            return _give_up(deployment, NOT_FOUND, "Unable to find last revision.")
    found = next((each for each in replica_sets if templates.revision_of(each) == wanted), None)
    if found is None:
        return _give_up(deployment, NOT_FOUND, "Unable to find the revision to rollback to.")
    name = objects.name_of(deployment)
    template = found["spec"]["template"]
    if templates.is_same(template, deployment["spec"]["template"]):
        message = f'The rollback revision contains the same template as current deployment "{name}"'
        return _give_up(deployment, UNCHANGED, message)
    told = actions.normal(deployment, DONE, f'Rolled back deployment "{name}" to revision {wanted}')
    own = {key: value for key, value in objects.annotations_of(deployment).items() if key in templates.OWN_ANNOTATIONS}
    annotations = {**own, **templates.copied_annotations(found)}
    spec = {**deployment["spec"], "template": templates.without_hash(template)}
    return [_updated({**deployment, "spec": spec}, annotations, told)]


def _give_up(deployment: Object, reason: str, message: str) -> list[actions.Action]:
    told = actions.warning(deployment, reason, message)
    return [told, _updated(deployment, objects.annotations_of(deployment))]


def _updated(deployment: Object, annotations: Any, *told: actions.Record) -> actions.Update:
    kept = {key: value for key, value in annotations.items() if key != templates.ROLLBACK_TO}
    metadata = {**deployment["metadata"], "annotations": kept}
    return actions.Update(resources.DEPLOYMENTS, {**deployment, "metadata": metadata}, then=told)
