"""Jobs and CronJobs."""

import zoneinfo

from pinnace.api import cron, labels, selectors
from pinnace.api.validation import field, formats, metadata, pods

Fields = field.Fields
Causes = field.Causes

_CRON_JOB_NAME_LENGTH = 52
_MAX_INDEXED_PARALLELISM = 100_000
_IMMUTABLE = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
# What may still change in the template of a suspended job of which nothing runs, beside resources.
_SUSPENDED_MUTABLE = ("nodeSelector", "tolerations", "schedulingGates", "affinity")


def job(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _generated_selector(found, obj)
    spec = field.part(obj, "spec")
    _job(found, spec)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        name = obj["metadata"].get("name") or ""
        for message in formats.dns_label(f"{name}-{completions - 1}"):
            found.invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {message}")


def _generated_selector(found: Causes, obj: Fields) -> None:
    spec, meta = field.part(obj, "spec"), field.part(obj, "metadata")
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    if not uid:
        found.required("metadata.uid")
    given = field.part(field.part(field.part(spec, "template"), "metadata"), "labels")
    wanted = {
        labels.LEGACY_CONTROLLER_UID: uid,
        labels.CONTROLLER_UID: uid,
        labels.LEGACY_JOB_NAME: name,
        labels.JOB_NAME: name,
    }
    for key, value in wanted.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in given:
            found.required(path, f"must be '{value}'")
        elif given[key] != value:
            found.invalid(path, given, f"must be '{value}'")
    if not _matches(spec["selector"], wanted):
        found.invalid("spec.selector", spec["selector"], "`selector` not auto-generated")


def _matches(selector: Fields | None, given: Fields) -> bool:
    """True too for a selector that is wrong in itself: that is told elsewhere."""
    try:
        return selectors.from_object(selector).matches(given)
    except ValueError:
        return True


def _job(found: Causes, spec: Fields) -> None:
    _job_spec(found, spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        found.required("spec.selector")
    else:
        metadata.label_selector(found, selector, "spec.selector")
    given = field.part(field.part(field.part(spec, "template"), "metadata"), "labels")
    if not _matches(selector, given):
        found.invalid("spec.template.metadata.labels", given, "`selector` does not match template `labels`")


def _job_spec(found: Causes, spec: Fields, path: str) -> None:
    for name in _COUNTS:
        found.not_negative(f"{path}.{name}", spec.get(name))
    _completion_mode(found, spec, path)
    found.maybe_one_of(
        f"{path}.podReplacementPolicy", spec.get("podReplacementPolicy"), ("Failed", "TerminatingOrFailed")
    )
    if spec.get("podFailurePolicy") is not None:
        _failure_policy(found, spec, f"{path}.podFailurePolicy")
    manager = spec.get("managedBy")
    if manager is not None:
        if "/" not in manager:
            found.invalid(f"{path}.managedBy", manager, 'must be a domain-prefixed path (such as "acme.io/foo")')
        if len(manager) > 63:
            found.too_long(f"{path}.managedBy", 63)
    template = field.part(spec, "template")
    pods.template(found, template, f"{path}.template")
    restart = field.part(template, "spec").get("restartPolicy")
    if restart not in ("OnFailure", "Never"):
        found.required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')


def _completion_mode(found: Causes, spec: Fields, path: str) -> None:
    mode = spec.get("completionMode")
    if mode is None:
        return
    found.maybe_one_of(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"), is_sorted=False)
    if mode == "Indexed":
        if spec.get("completions") is None:
            found.required(f"{path}.completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > _MAX_INDEXED_PARALLELISM:
            found.invalid(
                f"{path}.parallelism",
                spec["parallelism"],
                f"must be less than or equal to {_MAX_INDEXED_PARALLELISM} when completion mode is Indexed",
            )
    else:
        for name in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"):
            if spec.get(name) is not None:
                found.invalid(f"{path}.{name}", spec[name], "requires indexed completion mode")


def _failure_policy(found: Causes, spec: Fields, path: str) -> None:
    names = {
        container.get("name")
        for kind in ("containers", "initContainers")
        for container in field.items(field.part(field.part(spec, "template"), "spec"), kind)
    }
    actions = ("Count", "FailIndex", "FailJob", "Ignore")
    if field.part(field.part(spec, "template"), "spec").get("restartPolicy") != "Never":
        found.invalid(
            path, spec["podFailurePolicy"], 'only "Never" restartPolicy is supported when podFailurePolicy is set'
        )
    for index, rule in enumerate(field.items(spec["podFailurePolicy"], "rules")):
        here = f"{path}.rules[{index}]"
        found.one_of(f"{here}.action", rule.get("action"), actions)
        codes, conditions = rule.get("onExitCodes"), field.items(rule, "onPodConditions")
        if codes is not None and conditions:
            found.invalid(here, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is None and not conditions:
            found.invalid(here, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        if codes is not None:
            _exit_codes(found, codes, names, f"{here}.onExitCodes")


def _exit_codes(found: Causes, codes: Fields, names: set[str | None], path: str) -> None:
    found.one_of(f"{path}.operator", codes.get("operator"), ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in names:
        found.invalid(
            f"{path}.containerName", name, "must be one of the container or initContainer names in the pod template"
        )
    values = field.items(codes, "values")
    if not values:
        found.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > 255:
        found.too_many(f"{path}.values", len(values), 255)
    if codes.get("operator") == "In" and 0 in values:
        found.invalid(f"{path}.values[{values.index(0)}]", 0, "must not be 0 for the In operator")


def job_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    _job(found, after)
    _completions_update(found, after, before)
    for name in _IMMUTABLE:
        found.unchanged(f"spec.{name}", after.get(name), before.get(name))
    _template_update(found, new, old)


def _completions_update(found: Causes, new: Fields, old: Fields) -> None:
    """An indexed job may grow and shrink as long as all its indexes run at once."""
    is_elastic = (
        new.get("completionMode") == "Indexed"
        and new.get("completions") is not None
        and new.get("completions") == new.get("parallelism")
    )
    if not is_elastic:
        found.unchanged("spec.completions", new.get("completions"), old.get("completions"))


def _template_update(found: Causes, new: Fields, old: Fields) -> None:
    after, before = field.part(field.part(new, "spec"), "template"), field.part(field.part(old, "spec"), "template")
    if after == before:
        return
    if _is_at_rest(old):
        before = _with_changes(before, after)
    if after != before:
        found.invalid("spec.template", after, field.IMMUTABLE)


def _is_at_rest(old: Fields) -> bool:
    """Suspended, and nothing of it runs: it never started, or the controller says that it has stopped it."""
    status = field.part(old, "status")
    if not field.part(old, "spec").get("suspend") or status.get("active"):
        return False
    conditions = field.items(status, "conditions")
    is_stopped = any(each.get("type") == "Suspended" and each.get("status") == "True" for each in conditions)
    return is_stopped or not status.get("startTime")


def _with_changes(before: Fields, after: Fields) -> Fields:
    """`before` with what may change taken from `after`."""
    made = {**before, "metadata": {**field.part(before, "metadata")}, "spec": {**field.part(before, "spec")}}
    for section, names in (("metadata", ("labels", "annotations")), ("spec", _SUSPENDED_MUTABLE)):
        for name in names:
            _take(made[section], field.part(after, section), name)
    for kind in ("containers", "initContainers"):
        given = {each.get("name"): each for each in field.items(field.part(after, "spec"), kind)}
        if made["spec"].get(kind):
            containers = [{**each} for each in made["spec"][kind]]
            for each in containers:
                _take(each, given.get(each.get("name"), each), "resources")
            made["spec"][kind] = containers
    return made


def _take(into: Fields, source: Fields, name: str) -> None:
    if source.get(name) is None:
        into.pop(name, None)
    else:
        into[name] = source[name]


def cron_job(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _cron_job_spec(found, field.part(obj, "spec"))
    name = field.part(obj, "metadata").get("name") or ""
    if len(name) > _CRON_JOB_NAME_LENGTH:
        # Eleven characters are kept for the time that the name of each job ends with.
        found.invalid("metadata.name", name, f"must be no more than {_CRON_JOB_NAME_LENGTH} characters")


def cron_job_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _cron_job_spec(found, field.part(new, "spec"))


def _cron_job_spec(found: Causes, spec: Fields) -> None:
    schedule = spec.get("schedule") or ""
    if not schedule:
        found.required("spec.schedule")
    else:
        _schedule(found, schedule, spec.get("timeZone"))
    _time_zone(found, spec.get("timeZone"))
    found.not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    found.one_of(
        "spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"), is_sorted=False
    )
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        found.not_negative(f"spec.{name}", spec.get(name))
    inner, path = field.part(field.part(spec, "jobTemplate"), "spec"), "spec.jobTemplate.spec"
    _job_spec(found, inner, path)
    if inner.get("selector") is not None:
        found.invalid(f"{path}.selector", inner["selector"], "`selector` will be auto-generated")
    if inner.get("manualSelector"):
        found.not_supported(f"{path}.manualSelector", True, ("nil", "false"))


def _schedule(found: Causes, schedule: str, time_zone: str | None) -> None:
    try:
        cron.parse(schedule.partition(" ")[2] if schedule.startswith(("TZ=", "CRON_TZ=")) else schedule)
    except cron.ScheduleError as error:
        found.invalid("spec.schedule", schedule, str(error))
    if "TZ" in schedule:
        what = "timeZone field is already set" if time_zone else "use timeZone field instead"
        found.invalid("spec.schedule", schedule, f"cannot use TZ or CRON_TZ in schedule, {what}")


def _time_zone(found: Causes, name: str | None) -> None:
    if name is None:
        return
    if not name:
        found.invalid("spec.timeZone", name, "timeZone must be nil or non-empty string")
        return
    try:
        known = name.lower() != "local" and bool(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        found.invalid("spec.timeZone", name, f"unknown time zone {name}")
