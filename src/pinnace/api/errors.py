"""Errors of the API as values: each becomes one `Status` object with upstream's code, reason and words.

Raised anywhere below the API server's edge; turned into bytes only there.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """One field that is wrong, in the words of upstream's field.Error."""

    reason: str
    """`FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, `FieldValueDuplicate`, `FieldValueForbidden`,
    `FieldValueNotFound`, `FieldValueTooLong`, `FieldValueTooMany`, `FieldValueTypeInvalid`."""
    message: str
    """As field.Error.ErrorBody() prints it: `Required value`, `Invalid value: -1: must be greater than or equal to 0`."""
    field: str
    """`spec.containers[0].name`."""

    def to_json(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class StatusError(Exception):
    """An answer other than success; `to_json()` is the `Status` object (metav1.Status)."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        name: str = "",
        group: str = "",
        kind: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.name = name
        self.group = group
        self.kind = kind
        """In `details.kind` upstream writes the resource's plural for most errors and the kind for Invalid."""
        self.uid = uid
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds
        self.continue_token = ""
        """Of an expired list: where to go on, without consistency (ListMeta.continue)."""

    def to_json(self) -> dict[str, Any]:
        named = {"name": self.name, "group": self.group, "kind": self.kind, "uid": self.uid}
        details: dict[str, Any] = {key: value for key, value in named.items() if value}
        if self.causes:
            details["causes"] = [cause.to_json() for cause in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if details:
            status["details"] = details
        status["code"] = self.code
        return status


def not_found(group: str, plural: str, name: str) -> StatusError:
    return StatusError(
        404, "NotFound", f'{qualified(group, plural)} "{name}" not found', name=name, group=group, kind=plural
    )


def already_exists(group: str, plural: str, name: str) -> StatusError:
    return StatusError(
        409, "AlreadyExists", f'{qualified(group, plural)} "{name}" already exists', name=name, group=group, kind=plural
    )


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}',
        name=name,
        group=group,
        kind=plural,
    )


OBJECT_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    shown = (
        f'{qualified(group, plural)} "{name}" is forbidden: {why}'
        if name
        else f"{qualified(group, plural)} is forbidden: {why}"
    )
    return StatusError(403, "Forbidden", shown, name=name, group=group, kind=plural)


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    shown = str(causes[0]) if len(causes) == 1 else "[" + ", ".join(str(cause) for cause in causes) + "]"
    return StatusError(
        422,
        "Invalid",
        f'{qualified(group, kind)} "{name}" is invalid: {shown}',
        name=name,
        group=group,
        kind=kind,
        causes=causes,
    )


def no_space(message: str) -> StatusError:
    """A write that the disk has no room for: RFC 4918's code for it. Upstream answers 500 and etcd's own words."""
    return StatusError(507, "InsufficientStorage", f"{message}: nothing was changed; free some and try again")


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def method_not_supported(group: str, plural: str, verb: str) -> StatusError:
    return StatusError(
        405,
        "MethodNotAllowed",
        f"{verb} is not supported on resources of kind {qualified(group, plural)!r}".replace("'", '"'),
        group=group,
        kind=plural,
    )


def too_many_requests(message: str, retry_after_seconds: int) -> StatusError:
    return StatusError(429, "TooManyRequests", message, retry_after_seconds=retry_after_seconds)


def internal(message: str) -> StatusError:
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


def qualified(group: str, name: str) -> str:
    """`deployments.apps`; the core group has no suffix."""
    return f"{name}.{group}" if group else name
