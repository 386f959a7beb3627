"""What a registry client says when a registry refuses. Everything quoted is the registry's own error document, cut and made printable:
whoever reads a pod's status must not read there what some other server answered to the node."""

import json
from typing import Any

from pinnace.oci import registries, transport

MAXIMUM_ERROR_BODY = 64 << 10
MAXIMUM_QUOTE = 300
_MEANINGS = {
    400: "bad request", 401: "unauthorized", 403: "forbidden", 404: "not found", 405: "method not allowed",
    413: "content too large", 429: "too many requests", 500: "internal server error", 501: "not implemented",
    502: "bad gateway", 503: "service unavailable", 504: "gateway timeout",
}  # fmt: skip


class RegistryError(Exception):
    """The registry refused or failed. `is_permanent`: asking again will not help. `is_missing`: it does not have it."""

    def __init__(self, message: str, *, is_permanent: bool = False, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.is_missing = is_missing


def printable(text: str, limit: int = MAXIMUM_QUOTE) -> str:
    """One line without control characters, at most `limit` characters and an ellipsis."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return cleaned if len(cleaned) <= limit else cleaned[:limit] + "…"


async def complaint(response: transport.Response) -> str:
    """`CODE: message` of the specification's error document, else what the status means; never anything else of the body."""
    meaning = _meaning(response.status)
    try:
        data = await response.read(MAXIMUM_ERROR_BODY)
        first = json.loads(data)["errors"][0]
        code, message = _string(first.get("code")), _string(first.get("message"))
    except (transport.TransportError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return meaning
    return printable(message or code) or meaning


def refusal(endpoint: registries.Endpoint, path: str, status: int, text: str, action: str = "pull") -> RegistryError:
    """For an answer that another try would not change."""
    if status == 404 and action == "pull":
        what = "manifest" if path.startswith("manifests/") else "blob"
        return RegistryError(f"{what} {path.partition('/')[2]} not found: {text}", is_permanent=True, is_missing=True)
    if status in (401, 403):
        return RegistryError(
            f"{action} access denied for {endpoint.repository}, repository does not exist or may require authorization: {text}",
            is_permanent=True,
            is_missing=True,
        )
    return RegistryError(f"{endpoint.url}: status {status}: {text}", is_permanent=True)


def _meaning(status: int) -> str:
    return _MEANINGS.get(status, f"status {status}")


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
