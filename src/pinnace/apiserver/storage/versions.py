"""What a request may say about resourceVersions, and what it then gets."""

import asyncio
import base64
import binascii
import dataclasses

import orjson

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import query

_WAIT_SECONDS = 3.0
_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the version of a continue token, no secret


_MOST = 2**63 - 1
_LONGEST = 20
_SHOWN = 100


def parse(text: str) -> int:
    """0 for "" and "0". Raises 400."""
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise errors.invalid(
            "meta.k8s.io",
            "ListOptions",
            "",
            [
                errors.Cause(
                    "FieldValueInvalid", f'Invalid value: "{text}": invalid resource version', "resourceVersion"
                )
            ],
        )
    if len(text) > _LONGEST or int(text) > _MOST:
        raise errors.bad_request(
            f'Invalid value: "{text[:_SHOWN]}": strconv.ParseUint: parsing "{text[:_SHOWN]}": value out of range'
        )
    return int(text)


async def wait_reached(context: contexts.Context, text: str) -> int:
    """Wait a moment for a version that has not happened yet. Raises 504 when it does not."""
    wanted = parse(text)
    stored = context.services.objects
    if wanted > stored.revision:
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await stored.wait_revision(wanted)
        except TimeoutError:
            raise too_large(wanted, stored.revision) from None
    return wanted


def too_large(wanted: int, current: int) -> errors.StatusError:
    cause = errors.Cause("ResourceVersionTooLarge", "Too large resource version", "")
    return errors.StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        causes=[cause],
        retry_after_seconds=1,
    )


def compacted(version: int, oldest: int) -> errors.StatusError:
    return errors.expired(f"too old resource version: {version} ({oldest})")


@dataclasses.dataclass(frozen=True, slots=True)
class Continue:
    """Where a list goes on: after `after` (a key below the collection's prefix) in the snapshot `revision` (-1: the newest)."""

    revision: int
    after: str

    def encode(self) -> str:
        body = orjson.dumps({"v": _TOKEN_VERSION, "rv": self.revision, "start": self.after + "\0"})
        return base64.urlsafe_b64encode(body).rstrip(b"=").decode()

    @staticmethod
    def decode(text: str) -> "Continue":
        """Raises 400."""
        try:
            body = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            version, revision, start = body["v"], int(body["rv"]), str(body["start"])
            if not -1 <= revision <= _MOST:
                raise ValueError("no revision")
        except (binascii.Error, ValueError, KeyError, TypeError):
            raise errors.bad_request("continue key is not valid") from None
        if version != _TOKEN_VERSION:
            raise errors.bad_request(
                f'continue key is not valid: server does not recognize this encoded version "{version}"'
            )
        if revision == 0 or not start or start.startswith("/") or "/../" in f"/{start}/":
            raise errors.bad_request("continue key is not valid")
        return Continue(revision, start.rstrip("\0"))


def check_list(options: query.Query, *, is_watch: bool) -> None:
    """ListOptions whose parts exclude each other. Raises 422 Invalid with upstream's causes."""
    version, match = options.text("resourceVersion"), options.text("resourceVersionMatch")
    initial = options.maybe_flag("sendInitialEvents")
    causes = []
    if initial is not None and not is_watch:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif is_watch and initial is not None:
        causes += _check_initial(match, options)
    elif match:
        causes += _check_match(version, match, options.text("continue"), is_watch=is_watch)
    if causes:
        raise errors.invalid("meta.k8s.io", "ListOptions", "", causes)


def _check_initial(match: str, options: query.Query) -> list[errors.Cause]:
    if not match:
        return [
            _forbidden(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        ]
    if match != "NotOlderThan":
        return [_unsupported("resourceVersionMatch", match, '"NotOlderThan"')]
    return []


def _check_match(version: str, match: str, token: str, *, is_watch: bool) -> list[errors.Cause]:
    field = "resourceVersionMatch"
    if is_watch:
        return [_forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")]
    if token:
        return [_forbidden(field, "resourceVersionMatch is forbidden when continue is provided")]
    if not version:
        return [_forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")]
    if match not in ("Exact", "NotOlderThan"):
        return [_unsupported(field, match, '"Exact", "NotOlderThan", ""')]
    if match == "Exact" and version == "0":
        return [_forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')]
    return []


def _forbidden(field: str, why: str) -> errors.Cause:
    return errors.Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(field: str, found: str, supported: str) -> errors.Cause:
    return errors.Cause("FieldValueNotSupported", f'Unsupported value: "{found}": supported values: {supported}', field)
