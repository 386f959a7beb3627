"""ServiceAccount: each pod runs as an account of its namespace and finds that account's token mounted."""

import random
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authz import nodes
from pinnace.apiserver.storage import objects
from pinnace.kit import clock

Object = dict[str, Any]

DEFAULT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_TOKEN_SECONDS = 3607
"""An hour and a little: a life by which the API server knows projected tokens from those asked for by hand."""
_ATTEMPTS = 10
_RETRY_SECONDS = 0.1


class ServiceAccount:
    def __init__(self, stored: objects.Objects, time: clock.Clock, rng: random.Random) -> None:
        self._objects = stored
        self._clock = time
        self._rng = rng

    async def mutate(self, attributes: admission.Attributes) -> None:
        pod = attributes.obj
        assert pod is not None
        if nodes.MIRROR in (pod["metadata"].get("annotations") or {}):
            _check_mirror(attributes, pod)
            return
        spec = pod.setdefault("spec", {})
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(attributes, name)
        if _wants_token(spec, account):
            self._mount_token(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(reference) for reference in account["imagePullSecrets"]]

    async def _account(self, attributes: admission.Attributes, name: str) -> Object:
        """The default account is made by a controller just after its namespace: worth a moment's wait."""
        for attempt in range(_ATTEMPTS if name == DEFAULT else 1):
            if attempt:
                await self._clock.sleep(_RETRY_SECONDS)
            found = self._objects.get(resources.SERVICE_ACCOUNTS, attributes.namespace, name)
            if found is not None:
                return found
        raise errors.forbidden(
            "",
            "pods",
            attributes.name,
            f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found',
        )

    def _mount_token(self, spec: Object) -> None:
        volumes = spec.get("volumes") or []
        existing = next((volume["name"] for volume in volumes if _is_token_volume(volume)), "")
        name = existing or VOLUME_PREFIX + "".join(self._rng.choices(_LETTERS, k=5))
        is_used = False
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            is_used = True
        if is_used and not existing:
            spec["volumes"] = [*volumes, token_volume(name)]


def token_volume(name: str) -> Object:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                        ]
                    }
                },
            ],
            "defaultMode": 0o644,
        },
    }


def _is_token_volume(volume: Object) -> bool:
    return str(volume.get("name", "")).startswith(VOLUME_PREFIX) and "projected" in volume


def _wants_token(spec: Object, account: Object) -> bool:
    for owner in (spec, account):
        if owner.get("automountServiceAccountToken") is not None:
            return bool(owner["automountServiceAccountToken"])
    return True


def _check_mirror(attributes: admission.Attributes, pod: Object) -> None:
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        raise errors.forbidden("", "pods", attributes.name, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        projected = (volume.get("projected") or {}).get("sources") or ()
        if volume.get("secret") or any(source.get("serviceAccountToken") for source in projected):
            raise errors.forbidden("", "pods", attributes.name, "a mirror pod may not reference secrets or tokens")
