"""`batch`: Jobs and CronJobs."""

from pinnace.api import labels, selectable
from pinnace.api.defaults import pods
from pinnace.api.rules import base
from pinnace.api.tables import workloads
from pinnace.api.validation import batch, job_status
from pinnace.api.warnings import workloads as warnings

Object = base.Object

_MAX_INT32 = 2**31 - 1


def _job_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", _MAX_INT32 if "backoffLimitPerIndex" in spec else 6)
    given = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if given and not obj.setdefault("metadata", {}).get("labels"):
        obj["metadata"]["labels"] = dict(given)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    policy = spec.get("podFailurePolicy")
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions", ()):
            pattern["status"] = pattern.get("status") or "True"
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed")
    pods.template(spec)


def _new_job(obj: Object) -> None:
    """Its pods are found by its uid, unless the client brings a selector of its own."""
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector") is True or "template" not in spec:
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    template = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for label in (labels.LEGACY_JOB_NAME, labels.JOB_NAME):
        template.setdefault(label, name)
    for label in (labels.LEGACY_CONTROLLER_UID, labels.CONTROLLER_UID):
        template.setdefault(label, uid)
    selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    selector.setdefault(labels.CONTROLLER_UID, uid)


JOB = base.Rules(
    warnings=warnings.job,
    defaults=_job_defaults,
    prepare_create=_new_job,
    generation_of=base.but_status,
    validate_create=batch.job,
    update=base.Part(validate=batch.job_update),
    status=base.Part(base.status_alone, job_status.update),
    deletion=base.Deletion(orphans_by_default=True),
    printer=workloads.JOB,
    fields=selectable.Fields({"status.successful": selectable.at("status.succeeded", "0")}),
)


def _cron_job_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    pods.template(spec.get("jobTemplate", {}).get("spec", {}))


CRON_JOB = base.Rules(
    warnings=warnings.cron_job,
    defaults=_cron_job_defaults,
    generation_of=base.but_status,
    validate_create=batch.cron_job,
    update=base.Part(validate=batch.cron_job_update),
    printer=workloads.CRON_JOB,
)

V1: base.Rows = (
    base.Row("CronJob", "cronjobs", base.NAMESPACED, "cj", "all", base.STATUS, CRON_JOB),
    base.Row("Job", "jobs", base.NAMESPACED, "", "all", base.STATUS, JOB),
)
