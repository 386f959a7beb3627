"""Secrets, accounts and quotas."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pinnace.api import quantity
from pinnace.api.warnings import key_pairs

Object = Mapping[str, Any]

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_MOUNTABLE_OLD = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
_COUNTED = ("cpu", "memory", "storage", "ephemeral-storage")


def secret(new: Object, old: Object | None, subresource: str) -> list[str]:
    if new.get("type") != "kubernetes.io/tls":
        return []
    data = new.get("data") or {}
    problem = key_pairs.problem(_decoded(data.get("tls.crt")), _decoded(data.get("tls.key")))
    return [problem] if problem else []


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "")
    except binascii.Error:
        return b""


def service_account(new: Object, old: Object | None, subresource: str) -> list[str]:
    key = _MOUNTABLE
    before = ((old or {}).get("metadata") or {}).get("annotations") or {}
    if key not in (new["metadata"].get("annotations") or {}) or key in before:
        return []
    return [f"metadata.annotations[{key}]: {_MOUNTABLE_OLD}"]


def resource_quota(new: Object, old: Object | None, subresource: str) -> list[str]:
    """Requests that could never be used up (pkg/registry/core/resourcequota)."""
    hard = (new.get("spec") or {}).get("hard") or {}
    if old is not None and hard == ((old.get("spec") or {}).get("hard") or {}):
        return []
    pairs = [(f"requests.{name}", f"limits.{name}") for name in _COUNTED]
    pairs += [(name, f"limits.{name}") for name in ("cpu", "memory")]
    return [
        f"ResourceQuota {asked} ({quantity.canonical(str(hard[asked]))}) should be less than "
        f"{limit} ({quantity.canonical(str(hard[limit]))})"
        for asked, limit in pairs
        if asked in hard and limit in hard and quantity.compare(str(hard[asked]), str(hard[limit])) > 0
    ]
