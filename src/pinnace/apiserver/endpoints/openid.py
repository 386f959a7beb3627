"""The keys of service-account tokens, for whoever has to check such a token without asking this server."""

import orjson

from pinnace.apiserver import context as contexts
from pinnace.apiserver import settings
from pinnace.apiserver.authn import tokens
from pinnace.web import messages

_CACHED = ("Cache-Control", "public, max-age=3600")


class OpenId:
    """What others need to check this cluster's service-account tokens."""

    def __init__(self, issuer: tokens.Issuer, options: settings.Settings) -> None:
        self._issuer = issuer
        self._options = options

    async def configuration(self, _: contexts.Context) -> messages.Answer:
        options = self._options
        body = {
            "issuer": options.service_account_issuer,
            "jwks_uri": f"https://{options.advertise_address}:{options.advertise_port}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self._issuer.keys}),
        }
        return messages.Response(200, (("Content-Type", "application/json"), _CACHED), orjson.dumps(body))

    async def keys(self, _: contexts.Context) -> messages.Answer:
        body = {"keys": [key.to_jwk() for key in self._issuer.keys]}
        return messages.Response(200, (("Content-Type", "application/jwk-set+json"), _CACHED), orjson.dumps(body))
