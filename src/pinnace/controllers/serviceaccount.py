"""What every namespace is given: its `default` ServiceAccount and the cluster's CA certificate; and token
secrets: complete while their ServiceAccount is there, deleted when it is not.

Three small controllers over Namespaces, ServiceAccounts, ConfigMaps and Secrets, each with upstream's identity.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

DEFAULT = "default"
ROOT_CA = "kube-root-ca.crt"
TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 -- the name of a type
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
_DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the"
        " internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes"
        " clusters."
    )
}


def _is_active(view: views.View, key: objects.Key) -> bool:
    namespace = view.get(resources.NAMESPACES, *key)
    if namespace is None or objects.is_deleting(namespace):
        return False
    return bool(objects.status_of(namespace).get("phase", "Active") == "Active")


def plan_account(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    name = key[1]
    if not _is_active(view, key) or view.get(resources.SERVICE_ACCOUNTS, name, DEFAULT) is not None:
        return []
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": name}}
    return [actions.Create(resources.SERVICE_ACCOUNTS, name, account)]


def plan_root_ca(root_ca: str) -> loop.Plan:
    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        if not _is_active(view, key):
            return []
        name, data = key[1], {"ca.crt": root_ca}
        present = view.get(resources.CONFIG_MAPS, name, ROOT_CA)
        if present is None:
            metadata = {"name": ROOT_CA, "namespace": name, "annotations": _DESCRIPTION}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            return [actions.Create(resources.CONFIG_MAPS, name, made)]
        annotations = objects.annotations_of(present)
        if present.get("data") == data and _DESCRIPTION.items() <= annotations.items():
            return []
        metadata = {**present["metadata"], "annotations": {**annotations, **_DESCRIPTION}}
        return [actions.Update(resources.CONFIG_MAPS, {**present, "metadata": metadata, "data": data})]

    return plan


async def observe_token(api: client.Client, view: views.View, key: objects.Key) -> Object | None:
    """The ServiceAccount of a token secret; the API is asked when no cache shows it, before the secret is given up."""
    secret = view.get(resources.SECRETS, *key)
    name = objects.annotations_of(secret).get(ACCOUNT_NAME) if secret and secret.get("type") == TOKEN_TYPE else None
    if not name:
        return None
    found = view.get(resources.SERVICE_ACCOUNTS, key[0], name)
    if found is not None:
        return found
    try:
        return await api.get(resources.SERVICE_ACCOUNTS, key[0], name)
    except client.NotFound:
        return None


def plan_token(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    """A token secret lives no longer than the ServiceAccount it names, and is complete as long as it lives."""
    secret = view.get(resources.SECRETS, *key)
    if secret is None or secret.get("type") != TOKEN_TYPE or objects.is_deleting(secret):
        return []
    annotations = objects.annotations_of(secret)
    account: Object | None = view.live
    if account is None or annotations.get(ACCOUNT_UID, objects.uid_of(account)) != objects.uid_of(account):
        return [actions.Delete(resources.SECRETS, *key, uid=objects.uid_of(secret))]
    wanted = {"token", "namespace"}
    if view.get(resources.CONFIG_MAPS, key[0], ROOT_CA) is not None:
        wanted.add("ca.crt")
    if wanted <= (secret.get("data") or {}).keys() and ACCOUNT_UID in annotations:
        return []
    # The key that signs tokens never leaves the API server: it completes every token secret that is written.
    return [actions.Update(resources.SECRETS, secret)]


def _namespace_of(view: views.View, obj: Object) -> Iterable[objects.Key]:
    return [("", objects.namespace_of(obj))]


def _root_ca_namespace(view: views.View, obj: Object) -> Iterable[objects.Key]:
    return _namespace_of(view, obj) if objects.name_of(obj) == ROOT_CA else ()


def _secrets_of_account(view: views.View, account: Object) -> Iterable[objects.Key]:
    name = f"{objects.namespace_of(account)}/{objects.name_of(account)}"
    return [objects.key_of(secret) for secret in view.by_index(resources.SECRETS, "account", name)]


def _secrets_of_root_ca(view: views.View, published: Object) -> Iterable[objects.Key]:
    if objects.name_of(published) != ROOT_CA:
        return ()
    namespace = objects.namespace_of(published)
    return [objects.key_of(secret) for secret in view.by_index(resources.SECRETS, "tokens", namespace)]


def _index_tokens(secret: Object) -> Iterable[str]:
    return [objects.namespace_of(secret)] if secret.get("type") == TOKEN_TYPE else ()


def _index_by_account(secret: Object) -> Iterable[str]:
    if secret.get("type") != TOKEN_TYPE:
        return ()
    return [f"{objects.namespace_of(secret)}/{objects.annotations_of(secret).get(ACCOUNT_NAME, '')}"]


def controllers(root_ca: str) -> Sequence[loop.Controller]:
    account = loop.Controller(
        name="serviceaccount",
        user="service-account-controller",
        watches=(
            loop.Watch(resources.NAMESPACES, loop.own_key),
            loop.Watch(resources.SERVICE_ACCOUNTS, _namespace_of),
        ),
        plan=plan_account,
        workers=2,
    )
    token = loop.Controller(
        name="serviceaccount-token",
        user=loop.MANAGER,
        watches=(
            loop.Watch(resources.SECRETS, loop.own_key),
            loop.Watch(resources.SERVICE_ACCOUNTS, _secrets_of_account),
            loop.Watch(resources.CONFIG_MAPS, _secrets_of_root_ca),
        ),
        indexes=(
            (resources.SECRETS, "account", _index_by_account),
            (resources.SECRETS, "tokens", _index_tokens),
        ),
        observe=observe_token,
        plan=plan_token,
        workers=2,
    )
    if not root_ca:
        return [account, token]
    publisher = loop.Controller(
        name="root-ca-certificate-publisher",
        user="root-ca-cert-publisher",
        watches=(
            loop.Watch(resources.NAMESPACES, loop.own_key),
            loop.Watch(resources.CONFIG_MAPS, _root_ca_namespace),
        ),
        plan=plan_root_ca(root_ca),
        workers=2,
    )
    return [account, token, publisher]
