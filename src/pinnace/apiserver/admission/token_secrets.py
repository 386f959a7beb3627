"""Secrets of type `kubernetes.io/service-account-token`: filled with a token that lives as long as the Secret."""

import base64

from pinnace.api import resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.storage import objects

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
_ROOT_CA = "kube-root-ca.crt"


class TokenSecrets:
    def __init__(self, stored: objects.Objects, issuer: tokens.Issuer) -> None:
        self._objects = stored
        self._issuer = issuer

    async def mutate(self, attributes: admission.Attributes) -> None:
        """Validation refuses such a Secret without the name of an account; one of an account that is not there stays empty."""
        secret = attributes.obj
        assert secret is not None
        if secret.get("type") != TYPE:
            return
        annotations = secret["metadata"].get("annotations") or {}
        account = self._objects.get(resources.SERVICE_ACCOUNTS, attributes.namespace, annotations.get(ACCOUNT, ""))
        if account is None or annotations.get(ACCOUNT_UID, account["metadata"]["uid"]) != account["metadata"]["uid"]:
            return
        secret["metadata"]["annotations"] = {**annotations, ACCOUNT_UID: account["metadata"]["uid"]}
        data = dict(secret.get("data") or {})
        if not data.get("token"):
            token = self._issuer.issue_legacy(account, secret["metadata"]["name"])
            data["token"] = base64.b64encode(token.encode()).decode()
        data.setdefault("namespace", base64.b64encode(attributes.namespace.encode()).decode())
        authority = self._objects.get(resources.CONFIG_MAPS, attributes.namespace, _ROOT_CA)
        if authority is not None and "ca.crt" in (authority.get("data") or {}):
            data.setdefault("ca.crt", base64.b64encode(authority["data"]["ca.crt"].encode()).decode())
        secret["data"] = data
