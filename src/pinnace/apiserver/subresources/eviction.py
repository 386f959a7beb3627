"""pods/eviction: a deletion that keeps to disruption budgets."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from pinnace.api import errors, kinds, pods, resources, selectors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.http import bodies, query
from pinnace.apiserver.storage import envelope, objects
from pinnace.apiserver.subresources import answers, binding
from pinnace.apiserver.verbs import deleting
from pinnace.kit import clock
from pinnace.web import messages

Object = dict[str, Any]

_VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
_PROCESSING_RETRY_SECONDS = 10
_MOST_DISRUPTED = 2000

KIND = kinds.Kind("policy", "v1", "Eviction", "", "", True, definition="io.k8s.api.policy.v1.Eviction")


async def evict(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "CreateOptions")
    eviction = bodies.decoded(context, await bodies.read(context), options, kind=KIND)
    bodies.check_name(context, eviction)
    wanted = deleting.from_object(eviction.get("deleteOptions") or {})
    wanted = dataclasses.replace(wanted, dry_run=wanted.dry_run or options.dry_run)
    pod = context.services.objects.get(resources.PODS, context.namespace, context.name)
    if pod is None:
        raise context.not_found()
    await _admit(context, eviction, dry_run=wanted.dry_run)
    if not can_ignore_budgets(pod):
        await _spend(context, pod, dry_run=wanted.dry_run)
        if not wanted.dry_run:
            await _tell(context)
    await deleting.delete(dataclasses.replace(context, subresource=""), wanted)
    return answers.success(context)


async def _admit(context: contexts.Context, eviction: Object, *, dry_run: bool) -> None:
    """Before a budget is spent for what may not be."""
    attributes = admission.Attributes(
        "CREATE",
        context.kind,
        "eviction",
        context.namespace,
        context.name,
        context.user,
        eviction,
        dry_run=dry_run,
        warnings=context.warnings,
    )
    await context.services.admission.mutate(attributes)
    await context.services.admission.validate(attributes)


def can_ignore_budgets(pod: Object) -> bool:
    """A pod that does not run, or goes anyway, disrupts nothing."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _budgets(context: contexts.Context, pod: Object) -> Sequence[objects.Stored]:
    labels = pod["metadata"].get("labels") or {}
    found = []
    for record in context.services.objects.records(resources.POD_DISRUPTION_BUDGETS, context.namespace):
        spec = envelope.shared(record).get("spec") or {}
        if selectors.from_object(spec.get("selector")).matches(labels):
            found.append(record)
    return found


async def _spend(context: contexts.Context, pod: Object, *, dry_run: bool) -> None:
    """Take one disruption out of the pod's budget: one commit, so that the budget is never overdrawn. Raises 429."""
    stored = context.services.objects
    for _ in range(objects.ATTEMPTS):
        records = _budgets(context, pod)
        if not records:
            return
        if len(records) > 1:
            raise errors.StatusError(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        budget = envelope.parse(records[0])
        if may_evict_unhealthy(budget, pod):
            return
        spend(budget, pod["metadata"]["name"], clock.rfc3339(context.services.clock.now()))
        if dry_run:
            return
        try:
            await stored.replace(stored.kind(resources.POD_DISRUPTION_BUDGETS), records[0], budget)
        except objects.Overtaken:
            continue
        return
    raise errors.too_many_requests(_VIOLATION, 1)


def may_evict_unhealthy(budget: Object, pod: Object) -> bool:
    """A running pod that is not ready may go without a disruption, as far as the budget's policy says so."""
    if pods.is_ready(pod):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    return bool(status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0)


def spend(budget: Object, pod_name: str, now: str) -> None:
    """Raises 429 with the cause that tells why."""
    metadata, status = budget["metadata"], budget.setdefault("status", {})
    name = metadata["name"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        raise _violated(
            f"The disruption budget {name} is still being processed by the server.", _PROCESSING_RETRY_SECONDS
        )
    disrupted = status.setdefault("disruptedPods", {})
    if len(disrupted) > _MOST_DISRUPTED:
        raise errors.forbidden(
            "policy",
            "poddisruptionbudgets",
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    if status.get("disruptionsAllowed", 0) <= 0:
        raise _violated(
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently",
            0,
        )
    status["disruptionsAllowed"] -= 1
    disrupted[pod_name] = now


def _violated(why: str, retry_after_seconds: int) -> errors.StatusError:
    error = errors.too_many_requests(_VIOLATION, retry_after_seconds)
    error.causes = (errors.Cause("DisruptionBudget", why, ""),)
    return error


async def _tell(context: contexts.Context) -> None:
    """The pod's status says why it goes."""

    def told(pod: Object) -> Object:
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
        binding.set_condition(pod, condition, clock.rfc3339(context.services.clock.now()))
        return pod

    stored = context.services.objects
    await stored.guaranteed_update(stored.kind(resources.PODS), context.namespace, context.name, told)
