"""What makes pods from a template: pods' warnings, told of the template, and a few of their own."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api.warnings import pods, storage

Object = Mapping[str, Any]

_MANY_COMPLETIONS = 100_000
_MANY_AT_ONCE = 10_000
_TOO_MANY = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might "
    "not be able to track completedIndexes when a big number of indexes fail"
)


def replicated(new: Object, old: Object | None, subresource: str) -> list[str]:
    """Deployments, replica sets, replication controllers: their name is the beginning of their pods' names."""
    if _is_told(new, old, subresource):
        return []
    named = pods.name_of_pods(new) if old is None else ()
    return [*named, *pods.template("spec.template", new["spec"].get("template") or {})]


def daemon_set(new: Object, old: Object | None, subresource: str) -> list[str]:
    if _is_told(new, old, subresource):
        return []
    return list(pods.template("spec.template", new["spec"].get("template") or {}))


def stateful_set(new: Object, old: Object | None, subresource: str) -> list[str]:
    if _is_told(new, old, subresource):
        return []
    return list(_of_stateful_set(new["spec"]))


def _of_stateful_set(spec: Object) -> Iterator[str]:
    yield from pods.template("spec.template", spec.get("template") or {})
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        yield from storage.claim_spec(f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        yield (
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
        )


def job(new: Object, old: Object | None, subresource: str) -> list[str]:
    if _is_told(new, old, subresource):
        return []
    named = pods.name_of_pods(new) if old is None else ()
    return [*named, *_of_job("spec", new["spec"])]


def cron_job(new: Object, old: Object | None, subresource: str) -> list[str]:
    if _is_told(new, old, subresource):
        return []
    named = pods.name_of_pods(new) if old is None else ()
    return [*named, *_of_job("spec.jobTemplate.spec", (new["spec"].get("jobTemplate") or {}).get("spec") or {})]


def _of_job(path: str, spec: Object) -> Iterator[str]:
    is_indexed = spec.get("completionMode") == "Indexed"
    if (
        is_indexed
        and (spec.get("completions") or 0) > _MANY_COMPLETIONS
        and (spec.get("parallelism") or 0) > _MANY_AT_ONCE
    ):
        yield f"{path}: {_TOO_MANY}"
    yield from pods.template(f"{path}.template", spec.get("template") or {})


def pod_template(new: Object, old: Object | None, subresource: str) -> list[str]:
    if old is not None and old.get("template") == new.get("template"):
        return []
    return list(pods.template("template", new.get("template") or {}))


def _is_told(new: Object, old: Object | None, subresource: str) -> bool:
    return bool(subresource) or (old is not None and old.get("spec") == new.get("spec"))
