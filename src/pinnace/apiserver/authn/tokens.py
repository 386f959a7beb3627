"""Service-account tokens: JWTs bound to an account, an audience, a time, and often a pod; signed and checked here."""

import base64
import dataclasses
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pinnace.api import errors, resources
from pinnace.apiserver import settings, users
from pinnace.apiserver.storage import objects
from pinnace.kit import clock

Object = dict[str, Any]

LEGACY_ISSUER = "kubernetes/serviceaccount"
_LEGACY = "kubernetes.io/serviceaccount"
_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 4096
"""Characters. A token of many audiences, or one that a review carries in its body, is checked anew each time."""
_WARN_AFTER_SECONDS = 3607
"""A token that asks for this life is one of the projected kind and gets a year, so that old clients are warned before they break."""
_EXTENDED_SECONDS = 365 * 24 * 3600

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    public: PublicKey
    identifier: str
    """RFC 7638-like: the digest of the key's DER form, as upstream computes it."""
    algorithm: str

    def to_jwk(self) -> Object:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        made: Object = algorithm.to_jwk(self.public, as_dict=True)
        return {"use": "sig", **made, "kid": self.identifier, "alg": self.algorithm}


def _key(public: PublicKey) -> Key:
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    identifier = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    algorithm = "RS256" if isinstance(public, rsa.RSAPublicKey) else f"ES{_CURVES[public.curve.name]}"
    return Key(public, identifier, algorithm)


_CURVES = {"secp256r1": 256, "secp384r1": 384, "secp521r1": 512}


def _load_public(pem: bytes) -> PublicKey:
    is_private = b"PRIVATE KEY" in pem
    private = serialization.load_pem_private_key(pem, None) if is_private else None
    loaded = private.public_key() if private is not None else serialization.load_pem_public_key(pem)
    if not isinstance(loaded, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        raise TypeError("a service-account key is RSA or EC")
    return loaded


class Issuer:
    """Signs tokens."""

    def __init__(self, options: settings.Settings, time: clock.Clock) -> None:
        self._options = options
        self._clock = time
        private = serialization.load_pem_private_key(options.service_account_key, None)
        if not isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise TypeError("a service-account key is RSA or EC")
        self._private = private
        self.key = _key(private.public_key())
        self.keys = (self.key, *(_key(_load_public(pem)) for pem in options.service_account_verification_keys))

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(
            dict(claims), self._private, self.key.algorithm, headers={"kid": self.key.identifier, "typ": None}
        )

    def issue(
        self,
        account: Object,
        audiences: Sequence[str],
        seconds: int,
        *,
        pod: Object | None = None,
        secret: Object | None = None,
        node: Object | None = None,
        may_extend: bool = False,
    ) -> tuple[str, int]:
        """(token, the moment of its end in Unix seconds). What it is bound to is given as objects.

        `may_extend`: a projected token gets more life than was asked for, so that clients that never read it again keep working.
        """
        metadata = account["metadata"]
        now = int(self._clock.now().timestamp())
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        for field, obj in (("pod", pod), ("secret", secret), ("node", node)):
            if obj is not None:
                private[field] = {"name": obj["metadata"]["name"], "uid": obj["metadata"].get("uid", "")}
        expiry = now + seconds
        if may_extend and seconds == _WARN_AFTER_SECONDS:
            private["warnafter"] = expiry
            expiry = now + _EXTENDED_SECONDS
        claims = {
            "aud": list(audiences),
            "exp": expiry,
            "iat": now,
            "iss": self._options.service_account_issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": users.service_account_name(metadata["namespace"], metadata["name"]),
        }
        return self.sign(claims), expiry

    def issue_legacy(self, account: Object, secret_name: str) -> str:
        """A token without an end, for a Secret of type `kubernetes.io/service-account-token`: it lives as long as that Secret."""
        metadata = account["metadata"]
        return self.sign(
            {
                "iss": LEGACY_ISSUER,
                f"{_LEGACY}/namespace": metadata["namespace"],
                f"{_LEGACY}/secret.name": secret_name,
                f"{_LEGACY}/service-account.name": metadata["name"],
                f"{_LEGACY}/service-account.uid": metadata["uid"],
                "sub": users.service_account_name(metadata["namespace"], metadata["name"]),
            }
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    user: users.UserInfo
    audiences: tuple[str, ...]


class Authenticator:
    """Tells whose token it is. The signature is checked once for each token, everything that can change at every request."""

    def __init__(self, issuer: Issuer, options: settings.Settings, stored: objects.Objects, time: clock.Clock) -> None:
        self._options = options
        self._objects = stored
        self._clock = time
        self._keys = {key.identifier: key for key in issuer.keys}
        self._claims: dict[str, Object] = {}

    def authenticate(self, token: str, audiences: Sequence[str] = ()) -> Verified:
        """Raises 401. `audiences`: of which the token must name one (default: this server's)."""
        claims = self._claims.get(token)
        if claims is None:
            claims = self._checked(token)
            if len(token) <= _LONGEST_REMEMBERED:
                if len(self._claims) >= _MOST_REMEMBERED:
                    self._claims.clear()
                self._claims[token] = claims
        if claims.get("iss") == LEGACY_ISSUER:
            return self._legacy(claims, token, audiences)
        accepted = audiences or self._options.api_audiences
        named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        matching = tuple(audience for audience in named if audience in accepted)
        now = self._clock.now().timestamp()
        if not matching or claims.get("exp", 0) <= now or claims.get("nbf", 0) > now + 10:
            raise errors.unauthorized()
        return Verified(self._bound_user(claims), matching)

    def _checked(self, token: str) -> Object:
        """The claims of a token with a good signature and a known issuer."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(header.get("kid", ""))
            candidates = [key] if key is not None else list(self._keys.values())
            for candidate in candidates:
                claims = self._decode(token, candidate)
                if claims is not None:
                    return claims
        except (jwt.PyJWTError, ValueError, TypeError):
            pass
        raise errors.unauthorized()

    def _decode(self, token: str, key: Key) -> Object | None:
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            claims: Object = jwt.decode(token, key.public, algorithms=[key.algorithm], options=options)
        except jwt.PyJWTError:
            return None
        known = (self._options.service_account_issuer, LEGACY_ISSUER)
        return claims if claims.get("iss") in known and (claims["iss"] == LEGACY_ISSUER or "aud" in claims) else None

    def _bound_user(self, claims: Object) -> users.UserInfo:
        private = claims.get("kubernetes.io") or {}
        namespace = private.get("namespace", "")
        account = private.get("serviceaccount") or {}
        self._require(resources.SERVICE_ACCOUNTS, namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.get('jti', '')}",)}
        if private.get("pod"):
            pod = self._require(resources.PODS, namespace, private["pod"])
            extra["authentication.kubernetes.io/pod-name"] = (pod["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (pod["uid"],)
        if private.get("secret"):
            self._require(resources.SECRETS, namespace, private["secret"])
        if private.get("node"):
            node = private["node"]
            if not private.get("pod"):
                self._require(resources.NODES, "", node)
            extra["authentication.kubernetes.io/node-name"] = (node.get("name", ""),)
            if node.get("uid"):
                extra["authentication.kubernetes.io/node-uid"] = (node["uid"],)
        return account_user(namespace, account.get("name", ""), account.get("uid", ""), extra)

    def _require(self, resource: resources.Resource, namespace: str, reference: Object) -> Object:
        """What the token is bound to, which must still be the same object."""
        found = self._objects.get(resource, namespace, reference.get("name", ""))
        if found is None or found["metadata"].get("uid") != reference.get("uid"):
            raise errors.unauthorized()
        return reference

    def _legacy(self, claims: Object, token: str, audiences: Sequence[str]) -> Verified:
        namespace = claims.get(f"{_LEGACY}/namespace", "")
        name, uid = claims.get(f"{_LEGACY}/service-account.name", ""), claims.get(f"{_LEGACY}/service-account.uid", "")
        self._require(resources.SERVICE_ACCOUNTS, namespace, {"name": name, "uid": uid})
        secret = self._objects.get(resources.SECRETS, namespace, claims.get(f"{_LEGACY}/secret.name", ""))
        data = ((secret or {}).get("data") or {}).get("token", "")
        if data != base64.b64encode(token.encode()).decode() or (secret or {})["metadata"].get("deletionTimestamp"):
            raise errors.unauthorized()
        accepted = tuple(audiences or self._options.api_audiences)
        matching = tuple(audience for audience in accepted if audience in self._options.api_audiences)
        if not matching:
            raise errors.unauthorized()
        return Verified(account_user(namespace, name, uid, {}), matching)


def account_user(namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]]) -> users.UserInfo:
    groups = (users.SERVICE_ACCOUNTS, f"{users.SERVICE_ACCOUNTS}:{namespace}", users.AUTHENTICATED)
    return users.UserInfo(users.service_account_name(namespace, name), uid, groups, extra)
