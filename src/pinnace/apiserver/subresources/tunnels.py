"""pods/log, exec, attach, portforward and the proxies: requests that the API server passes on.

Authorised here, carried out there. Streams are passed through as they come; the protocols inside an upgraded connection are
between the client and the kubelet.
"""

import dataclasses
import urllib.parse
from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import proxying
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.http import respond, socket_streams
from pinnace.apiserver.storage import envelope
from pinnace.apiserver.subresources import kubelet, proxy_targets, rewriting
from pinnace.web import client, messages

Object = dict[str, Any]

_LOG_OPTIONS = (
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
)


_SAFE_IN_PATH = "/:@!$&'()*+,;=~-._"
_LOG_STREAMS = ("All", "Stderr", "Stdout")


class Tunnels:
    """`kubelets` speaks with the API server's client certificate; `others` with what pods and services serve themselves."""

    def __init__(
        self, kubelets: client.HttpClient | None, others: client.HttpClient, decide: authorizer.Authorizer
    ) -> None:
        self._kubelets = kubelets
        self._others = others
        self._authorizer = decide

    def _kubelet(self) -> client.HttpClient:
        if self._kubelets is None:
            raise errors.StatusError(503, "ServiceUnavailable", "this API server has no way to the kubelets")
        return self._kubelets

    async def log(self, context: contexts.Context) -> messages.Answer:
        pod = kubelet.pod_of(context)
        _check_log_options(context)
        container = kubelet.container_of(context, pod)
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            return respond.text("")
        path = f"/containerLogs/{context.namespace}/{context.name}/{container}"
        query = kubelet.encoded(context.query.values, _LOG_OPTIONS)
        url = f"{kubelet.node_url(context, node)}{path}?{query}"
        answer = await proxying.forward(context, self._kubelet(), url, upgrades=False)
        if isinstance(answer, messages.Response) and answer.status >= 400:
            raise await _refused(answer)
        return socket_streams.log(context.request, answer)

    async def exec(self, context: contexts.Context) -> messages.Answer:
        return await self._into_container(context, "exec")

    async def attach(self, context: contexts.Context) -> messages.Answer:
        return await self._into_container(context, "attach")

    async def _into_container(self, context: contexts.Context, verb: str) -> messages.Answer:
        self._require_create(context)
        pod = kubelet.pod_of(context)
        container = kubelet.container_of(context, pod)
        values = context.query
        options: list[tuple[str, str]] = []
        for theirs, ours in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")):
            if values.flag(theirs):
                options.append((ours, "1"))
        if not any(values.flag(stream) for stream in ("stdin", "stdout", "stderr")):
            raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")
        options += [("command", word) for word in values.all("command")]
        path = f"/{verb}/{context.namespace}/{context.name}/{container}?{urllib.parse.urlencode(options)}"
        return await self._to_kubelet(context, pod, path)

    async def port_forward(self, context: contexts.Context) -> messages.Answer:
        self._require_create(context)
        pod = kubelet.pod_of(context)
        query = kubelet.encoded(context.query.values, ("ports",))
        path = f"/portForward/{context.namespace}/{context.name}?{query}"
        return await self._to_kubelet(context, pod, path)

    def _require_create(self, context: contexts.Context) -> None:
        """A WebSocket begins with a GET, but runs commands all the same: who may only read may not."""
        if context.request.method == "GET" and proxying.wants_upgrade(context.request):
            asked = authz.Attributes("create", "", "v1", "pods", context.subresource, context.namespace, context.name)
            self._authorizer.require(context.user, asked)

    async def _to_kubelet(self, context: contexts.Context, pod: Object, path: str) -> messages.Answer:
        node = (pod.get("spec") or {}).get("nodeName")
        if not node:
            raise errors.bad_request(f"pod {context.name} does not have a host assigned")
        return await proxying.forward(context, self._kubelet(), kubelet.node_url(context, node) + path)

    async def node_proxy(self, context: contexts.Context) -> messages.Answer:
        if _needs_slash(context):
            return _with_slash(context)
        name, _, port = context.name.partition(":")
        base = kubelet.node_url(context, name)
        if port and port != base.rpartition(":")[2]:
            raise errors.bad_request(f"the kubelet of {name} listens on another port than {port}")
        return await _through(context, self._kubelet(), base)

    async def pod_proxy(self, context: contexts.Context) -> messages.Answer:
        if _needs_slash(context):
            return _with_slash(context)
        scheme, name, port = split_proxy_name(context.name)
        pod = context.services.objects.record(resources.PODS, context.namespace, name)
        if pod is None:
            raise errors.not_found("", "pods", name)
        found = envelope.parse(pod)
        address = proxy_targets.pod_address(context.services.objects, found)
        number = port or _first_port(found)
        proxy_targets.check_port(number)
        return await self._to(context, scheme, address, number)

    async def service_proxy(self, context: contexts.Context) -> messages.Answer:
        """To one of the service's endpoints that are ready."""
        if _needs_slash(context):
            return _with_slash(context)
        scheme, name, port = split_proxy_name(context.name)
        service = context.services.objects.get(resources.SERVICES, context.namespace, name)
        if service is None:
            raise errors.not_found("", "services", name)
        found = _service_port(service, port)
        if found is None:
            raise errors.StatusError(503, "ServiceUnavailable", f'no service port "{port}" found for service "{name}"')
        stored, port_name = context.services.objects, found.get("name", "")
        addresses = list(proxy_targets.endpoints(stored, context.namespace, name, port_name))
        if not addresses:
            raise errors.StatusError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
        address, number = context.services.rng.choice(addresses)
        return await self._to(context, scheme, address, str(number))

    async def _to(self, context: contexts.Context, scheme: str, address: str, port: str) -> messages.Answer:
        return await _through(context, self._others, f"{scheme or 'http'}://{proxying.bracketed(address)}:{port}")


async def _through(context: contexts.Context, http: client.HttpClient, base: str) -> messages.Answer:
    """To the server at `base`, as a reverse proxy: it is told how it was reached, and its links lead back through here."""
    request = context.request
    prefix = urllib.parse.quote(request.path.removesuffix(context.tail).rstrip("/"), safe=_SAFE_IN_PATH)
    host = request.headers.get("host", "")
    more = [("X-Forwarded-Uri", prefix + urllib.parse.quote(context.tail or "/", safe=_SAFE_IN_PATH))]
    if host:
        more.append(("Host", host))
    client_address = request.peer.address.rpartition(":")[0].strip("[]")
    if client_address:
        before = request.headers.get("x-forwarded-for")
        more.append(("X-Forwarded-For", f"{before}, {client_address}" if before else client_address))
    answer = await proxying.forward(context, http, base + _rest(context), more=more)
    if not isinstance(answer, messages.Response):
        return answer
    own = frozenset({base.partition("://")[2], host} - {""})
    shown = [(name, value) for name, value in answer.headers if not name.lower().startswith("access-control-")]
    return rewriting.rewrite(dataclasses.replace(answer, headers=shown), rewriting.Place(prefix, own))


def split_proxy_name(name: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `name`, `name:port`, `https:name:port`. Raises 400."""
    parts = name.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0], parts[1], parts[2]
    raise errors.bad_request(f'invalid proxy request "{name}": expected [scheme:]name[:port]')


def _needs_slash(context: contexts.Context) -> bool:
    """Links of a page that was asked for without the last slash would lead astray."""
    request = context.request
    is_bare = request.method in ("GET", "HEAD") and not context.tail and not request.path.endswith("/")
    return is_bare and not proxying.wants_upgrade(request)


def _with_slash(context: contexts.Context) -> messages.Response:
    request = context.request
    query = f"?{request.query}" if request.query else ""
    return messages.Response(
        301, [("Location", f"{urllib.parse.quote(request.path, safe=_SAFE_IN_PATH)}/{query}")], b""
    )


def _rest(context: contexts.Context) -> str:
    """Path and query below `proxy`, encoded again."""
    path = urllib.parse.quote(context.tail or "/", safe=_SAFE_IN_PATH)
    return f"{path}?{context.request.query}" if context.request.query else path


def _first_port(pod: Object) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return str(port["containerPort"])
    return "80"


def _service_port(service: Object, wanted: str) -> Object | None:
    ports = (service.get("spec") or {}).get("ports") or []
    if not wanted:
        return ports[0] if len(ports) == 1 else next((port for port in ports if not port.get("name")), None)
    return next((port for port in ports if wanted in (port.get("name"), str(port.get("port")))), None)


def _check_log_options(context: contexts.Context) -> None:
    """Raises 400, 422."""
    values = context.query
    causes = []
    for field in ("tailLines", "sinceSeconds", "limitBytes"):
        number = values.number(field)
        least = 0 if field == "tailLines" else 1
        if number is not None and number < least:
            why = "must be greater than 0" if least else "must be greater than or equal to 0"
            causes.append(errors.Cause("FieldValueInvalid", f"Invalid value: {number}: {why}", field))
    if values.text("sinceSeconds") and values.text("sinceTime"):
        why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(errors.Cause("FieldValueForbidden", why, ""))
    stream = values.text("stream")
    if stream and stream not in _LOG_STREAMS:
        supported = ", ".join(f'"{each}"' for each in _LOG_STREAMS)
        why = f'Unsupported value: "{stream}": supported values: {supported}'
        causes.append(errors.Cause("FieldValueNotSupported", why, "stream"))
    if stream and stream != "All" and values.text("tailLines"):
        why = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now"
        causes.append(errors.Cause("FieldValueForbidden", why, ""))
    if causes:
        raise errors.invalid("", "PodLogOptions", context.name, causes)


async def _refused(answer: messages.Response) -> errors.StatusError:
    """The kubelet's refusal, as a Status: its text says why."""
    text = b""
    if not isinstance(answer.body, (bytes, list, tuple)):
        async for chunk in answer.body:  # type: ignore[union-attr]
            text += chunk if isinstance(chunk, bytes) else b"".join(chunk)
    else:
        text = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    said = text.decode("utf-8", "replace").strip()
    reasons = {400: "BadRequest", 404: "NotFound", 403: "Forbidden", 401: "Unauthorized"}
    return errors.StatusError(answer.status, reasons.get(answer.status, "InternalError"), said or "the kubelet refused")
