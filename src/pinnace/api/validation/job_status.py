"""What a Job's status may say: whoever writes it, the controller of the cluster or one that `managedBy` names, cannot make it
contradict itself or take back what was said. Upstream's validation of JobStatus; a rule is applied where the update
touches what the rule is about."""

from typing import Any

from pinnace.api.validation import field, metadata

Fields = field.Fields
Causes = field.Causes

_CONDITIONS = "status.conditions"
_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")


def update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    changes = _Changes(new, old)
    for name in _COUNTS:
        found.not_negative(f"status.{name}", changes.after.get(name))
    _uncounted(found, changes.after)
    _conditions(found, changes)
    _times(found, changes)
    _finished(found, changes)
    _indexes(found, changes)
    _taken_back(found, changes)


class _Changes:
    """One update of a status."""

    def __init__(self, new: Fields, old: Fields) -> None:
        self.spec = field.part(new, "spec")
        self.after, self.before = field.part(new, "status"), field.part(old, "status")

    def touches(self, *names: str) -> bool:
        """Whether fields, or conditions (in capitals) as being true or not, are changed."""
        return any(
            is_true(self.after, name) != is_true(self.before, name)
            if name[0].isupper()
            else (self.after.get(name) or None) != (self.before.get(name) or None)
            for name in names
        )

    @property
    def is_finished(self) -> bool:
        return is_true(self.after, "Complete") or is_true(self.after, "Failed")

    @property
    def ends(self) -> bool:
        was_finished = is_true(self.before, "Complete") or is_true(self.before, "Failed")
        return self.is_finished != was_finished


def is_true(status: Fields, condition: str) -> bool:
    return any(
        each.get("type") == condition and each.get("status") == "True" for each in field.items(status, "conditions")
    )


def _uncounted(found: Causes, status: Fields) -> None:
    seen: set[Any] = set()
    for kind in ("succeeded", "failed"):
        for position, uid in enumerate(field.items(field.part(status, "uncountedTerminatedPods"), kind)):
            path = f"status.uncountedTerminatedPods.{kind}[{position}]"
            if not uid:
                found.invalid(path, uid, "must not be empty")
            elif uid in seen:
                found.duplicate(path, uid)
            seen.add(uid)


def _conditions(found: Causes, changes: _Changes) -> None:
    after = changes.after
    for bad in ("Failed", "FailureTarget"):
        if changes.touches("Complete", bad) and is_true(after, "Complete") and is_true(after, bad):
            found.contradictory(_CONDITIONS, f"cannot set Complete=True and {bad}=true conditions")
    if is_true(after, "SuccessCriteriaMet"):
        for bad in ("Failed", "FailureTarget"):
            if is_true(after, bad):
                found.contradictory(_CONDITIONS, f"cannot set {bad}=True and SuccessCriteriaMet=true conditions")
    if changes.touches("Failed", "failedIndexes") and is_true(after, "Failed") and not is_true(after, "FailureTarget"):
        message = "cannot set Failed=True condition without the FailureTarget=true condition"
        found.contradictory(_CONDITIONS, message)
    is_half = is_true(after, "Complete") and not is_true(after, "SuccessCriteriaMet")
    if changes.touches("Complete", "SuccessCriteriaMet") and is_half:
        message = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        found.contradictory(_CONDITIONS, message)


def _times(found: Causes, changes: _Changes) -> None:
    started, completed = changes.after.get("startTime"), changes.after.get("completionTime")
    is_complete = is_true(changes.after, "Complete")
    if changes.touches("Complete", "completionTime"):
        if completed and not is_complete:
            message = "cannot set completionTime when there is no Complete=True condition"
            found.invalid("status.completionTime", completed, message)
        elif is_complete and not completed:
            found.required("status.completionTime", "completionTime is required for Complete jobs")
    # Times of this one form are ordered as their texts are.
    if changes.touches("startTime", "completionTime") and started and completed and completed < started:
        found.invalid("status.completionTime", completed, "completionTime cannot be set before startTime")
    if completed and changes.before.get("completionTime") not in (None, completed):
        found.invalid("status.completionTime", completed, "completionTime cannot be mutated")
    # A job that is resumed starts anew.
    is_resumed = is_true(changes.before, "Suspended") and not is_true(changes.after, "Suspended")
    is_kept = changes.spec.get("suspend") or not changes.before.get("startTime") or not changes.touches("startTime")
    if not is_kept and not (started and is_resumed):
        found.required("status.startTime", "startTime cannot be removed for unsuspended job")


def _finished(found: Causes, changes: _Changes) -> None:
    after = changes.after
    ready = after.get("ready")
    if ready is not None and changes.touches("ready", "active") and ready > (after.get("active") or 0):
        found.invalid("status.ready", ready, "cannot set more ready pods than active")
    if not changes.is_finished:
        return
    for name in ("active", "terminating"):
        if (changes.ends or changes.touches(name)) and after.get(name):
            found.invalid(f"status.{name}", after[name], f"{name}>0 is invalid for finished job")
    is_empty = changes.spec.get("suspend") and changes.spec.get("completions") == 0
    if (changes.ends or changes.touches("startTime")) and not after.get("startTime") and not is_empty:
        found.required("status.startTime", "startTime is required for finished job")
    uncounted = field.part(after, "uncountedTerminatedPods")
    if (changes.ends or changes.touches("uncountedTerminatedPods")) and any(uncounted.values()):
        message = "uncountedTerminatedPods needs to be empty for finished job"
        found.invalid("status.uncountedTerminatedPods", uncounted, message)


def _indexes(found: Causes, changes: _Changes) -> None:
    after, spec = changes.after, changes.spec
    sets: dict[str, set[int]] = {}
    for name in ("completedIndexes", "failedIndexes"):
        text = after.get(name)
        if not changes.touches("completedIndexes", "failedIndexes") or spec.get("completions") is None or not text:
            continue
        try:
            sets[name] = _parsed(text, int(spec["completions"]))
        except ValueError as error:
            if changes.touches(name):
                found.invalid(f"status.{name}", text, f"error parsing {name}: {error}")
    completed, failed = after.get("completedIndexes"), after.get("failedIndexes")
    if changes.touches("completedIndexes") and completed and spec.get("completionMode") != "Indexed":
        message = "cannot set non-empty completedIndexes when non-indexed completion mode"
        found.invalid("status.completedIndexes", completed, message)
    if changes.touches("failedIndexes") and failed is not None and spec.get("backoffLimitPerIndex") is None:
        message = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        found.invalid("status.failedIndexes", failed, message)
    both = sets.get("completedIndexes", set()) & sets.get("failedIndexes", set())
    if both:
        found.invalid(
            "status.failedIndexes", failed, f"failedIndexes and completedIndexes overlap at index {min(both)}"
        )


def _parsed(text: str, completions: int) -> set[int]:
    """The indexes of "0,2-4". Raises ValueError in upstream's words."""
    result: set[int] = set()
    last = -1
    for part in text.split(","):
        limits = part.split("-")
        if len(limits) > 2:
            rule = "the requirement that an index interval can have at most two parts separated by '-'"
            raise ValueError(f'the fragment "{part}" violates {rule}')
        numbers = [_number(each) for each in limits]
        for number in numbers:
            if number >= completions:
                raise ValueError(f'too large index: "{number}"')
        if len(numbers) == 2 and numbers[0] >= numbers[1]:
            raise ValueError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
        if numbers[0] <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {numbers[0]}")
        last = numbers[-1]
        result |= set(range(numbers[0], last + 1))
    return result


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    return int(text)


def _taken_back(found: Causes, changes: _Changes) -> None:
    after, before, spec = changes.after, changes.before, changes.spec
    for name in ("Failed", "Complete", "FailureTarget"):
        if is_true(before, name) and not is_true(after, name):
            found.contradictory(_CONDITIONS, f"cannot disable the terminal {name}=True condition")
    if is_true(before, "SuccessCriteriaMet") and not is_true(after, "SuccessCriteriaMet"):
        found.contradictory(_CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition")
    # An indexed job that shrinks forgets successes.
    is_elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for name in ("succeeded", "failed"):
        count = after.get(name) or 0
        if count < (before.get(name) or 0) and not (name == "succeeded" and is_elastic):
            found.invalid(f"status.{name}", count, f"cannot decrease the {name} counter")
