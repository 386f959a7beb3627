"""The API server: one request in, one answer out.

`ApiServer.handle` is the only entry. A socket (`web.server`) and `client.DirectTransport` call the same function; whoever calls it with
`request.user` set has authenticated that user already, and nothing else is skipped.
"""

import asyncio
import functools
import logging
import random

from pinnace.api import errors, kinds, resources
from pinnace.apiserver import context as contexts
from pinnace.apiserver import flow, settings, users
from pinnace.apiserver.admission import plugins
from pinnace.apiserver.authn import authenticate, tokens
from pinnace.apiserver.authz import authorizer, rbac
from pinnace.apiserver.bootstrap import own_services, start
from pinnace.apiserver.endpoints import health, metrics, openid
from pinnace.apiserver.http import bodies, documents, negotiate, query, respond
from pinnace.apiserver.keepers import allocators, expiry, flow_objects, node_ports, quota_counts, ticker
from pinnace.apiserver.routing import routes, special_routes
from pinnace.apiserver.storage import objects
from pinnace.apiserver.subresources import tunnels
from pinnace.kit import clock, tasks
from pinnace.store import interface
from pinnace.web import client, messages, tls

log = logging.getLogger(__name__)


class ApiServer:
    def __init__(
        self,
        store: interface.Store,
        time: clock.Clock,
        options: settings.Settings,
        *,
        registry: kinds.Registry | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = options
        self._store = store
        self._clock = time
        registry = registry or kinds.builtin()
        stored = objects.Objects(store, registry)
        self.authorizer = authorizer.Authorizer(stored)
        issuer = tokens.Issuer(options, time)
        self._bearer = tokens.Authenticator(issuer, options, stored, time)
        # Names and uids have to differ, not to be secret; the seed comes from the system.
        rng = rng or random.Random()  # noqa: S311
        self._addresses = allocators.Addresses(stored, options.service_cidr, time, rng, own_services.addresses(options))
        self._ports = node_ports.NodePorts(stored, options.node_port_first, options.node_port_last, rng)
        self._quota_counts = quota_counts.QuotaCounts(stored, time)
        self.services = contexts.Services(
            registry=registry,
            objects=stored,
            clock=time,
            settings=options,
            authorizer=self.authorizer,
            admission=plugins.build(stored, self.authorizer, options, time, rng, issuer, self._addresses, self._ports),
            rng=rng,
            ticker=ticker.Ticker(time),
            documents=documents.Documents(registry),
        )
        self._flow = flow.FlowControl(options.max_in_flight, options.max_queued_per_user)
        self._system_flow = flow.FlowControl(options.max_system_in_flight, options.max_system_in_flight)
        self._arrivals = flow.Arrivals(options.max_arriving_per_user)
        self._metrics = metrics.Metrics()
        self._others = client.HttpClient(context=tls.client_context(verify=False))
        self._kubelets = client.HttpClient(context=options.kubelet_tls) if options.kubelet_tls is not None else None
        tunnel = tunnels.Tunnels(self._kubelets, self._others, self.authorizer)
        self._is_started = False
        self._is_stopping = False
        self._supervisor = tasks.Supervisor(time)
        checks = self._health()
        self._routes = routes.Table(
            routes.Kinds(registry, special_routes.special(self.authorizer, issuer, self._bearer, options, tunnel)),
            routes.Pages(special_routes.plain(checks, self._metrics, openid.OpenId(issuer, options))),
            routes.PagesBelow(special_routes.below(checks)),
        )
        self._metrics.gauge(
            "apiserver_current_inflight_requests",
            "Requests being worked on.",
            lambda: self._flow.in_flight + self._system_flow.in_flight,
        )
        self._metrics.gauge(
            "apiserver_current_inqueue_requests",
            "Requests waiting for a place.",
            lambda: self._flow.queued + self._system_flow.queued,
        )

    def _health(self) -> health.Health:
        return health.Health(
            live={"ping": lambda: "", "etcd": self._store_problem},
            ready={
                "poststarthook/rbac/bootstrap-roles": lambda: "" if self._is_started else "not finished",
                "store-space": lambda: self._store.trouble,
                "informer-sync": lambda: "" if self.authorizer.index.is_synced else "roles are not read yet",
                "shutdown": lambda: "process is shutting down" if self._is_stopping else "",
            },
            components=self.services.components,
        )

    def _store_problem(self) -> str:
        """Under the name that every monitoring asks for, whatever the store is."""
        try:
            self._store.get("/registry/health")
        except interface.StoreFailed as error:
            return str(error)
        return ""

    async def start(self) -> None:
        """Returns once requests can be answered."""
        self._supervisor.start("ticker", self.services.ticker.run)
        self._supervisor.start("expiry of events", expiry.Expiry(self.services.objects, self._clock).run)
        self._supervisor.start("quotas to count", self._quota_counts.follow)
        self._supervisor.start("counts of quotas", self._quota_counts.count)
        for resource in rbac.RESOURCES:
            self._supervisor.start(f"rbac {resource.plural}", functools.partial(self.authorizer.index.run, resource))
        await self.authorizer.index.wait_synced()
        await self._ports.repair()
        await start.run(self.services)
        flows = flow_objects.FlowObjects(self.services)
        await flows.keep()
        for kept in (resources.PRIORITY_LEVELS, resources.FLOW_SCHEMAS):
            self._supervisor.start(f"flow objects after {kept.plural}", functools.partial(flows.follow, kept))
        own = own_services.OwnServices(self.services)
        for kind, owner in own.kept():
            name = f"{kind.plural} {'/'.join(owner)} is kept"
            self._supervisor.start(name, functools.partial(own.follow, kind, owner))
        self._supervisor.start("addresses of services", self._addresses.run)
        self._is_started = True

    async def stop(self) -> None:
        self._is_stopping = True
        await self._supervisor.stop()
        await self._others.close()
        if self._kubelets is not None:
            await self._kubelets.close()

    async def handle(self, request: messages.Request) -> messages.Answer:
        started = self._clock.monotonic()
        match = None
        warnings: list[str] = []
        try:
            options = query.Query(request.query_values()) if request.query else query.EMPTY
            match = self._routes.match(request.method, request.path, options)
            answer = await self._serve(request, match, options, warnings)
        except errors.StatusError as error:
            answer = respond.status(error, negotiate.error_form(request.headers.get("accept", "")), warnings)
        except interface.NoSpace as error:
            answer = respond.status(
                errors.no_space(str(error)), negotiate.error_form(request.headers.get("accept", ""))
            )
        except interface.StoreFailed as error:
            log.critical("the store has failed: %s", error)
            answer = respond.status(errors.internal(f"the store has failed: {error}"))
        except (messages.Disconnected, asyncio.CancelledError):
            raise
        except Exception:
            # One request's failure must not take the others with it: it is logged with its request, and answered.
            log.exception("%r %r failed", request.method, request.path)
            answer = respond.status(errors.internal("the request could not be handled; the server's log says why"))
        code = answer.status if isinstance(answer, messages.Response) else 101
        seconds = self._clock.monotonic() - started
        if match is not None and match.route.is_installed:
            asked = match.attributes
            self._metrics.observe(match.route.verb, asked.group, asked.resource, asked.subresource, code, seconds)
        else:
            self._metrics.observe_other(code, seconds)
        return await respond.maybe_compress(request, await respond.maybe_indent(request, answer))

    async def _serve(
        self, request: messages.Request, match: routes.Match, options: query.Query, warnings: list[str]
    ) -> messages.Answer:
        user = authenticate.authenticate(request, self._bearer, allows_anonymous=self.settings.anonymous_enabled)
        if authenticate.is_impersonating(request):
            user = authenticate.impersonate(request, user, self.authorizer)
        self.authorizer.require(user, match.attributes)
        context = contexts.Context(
            services=self.services,
            request=request,
            query=options,
            verb=match.route.verb,
            kind=match.kind,
            namespace=match.namespace,
            name=match.name,
            subresource=match.subresource,
            tail=match.tail,
            user=user,
            asked=match.attributes,
            warnings=warnings,
        )
        if context.kind.rules.deprecation:
            warnings.append(context.kind.rules.deprecation)
        if match.route.is_long or match.route.is_exempt:
            return await match.route.handler(context)
        return await self._bounded(context, match.route.handler, user)

    async def _bounded(
        self, context: contexts.Context, handler: routes.Handler, user: users.UserInfo
    ) -> messages.Answer:
        """Within the limits of work in flight and of time."""
        if context.verb not in ("get", "list") and not context.request.body.is_finished:
            await self._arrive(context, user)
        places = self._system_flow if users.is_system(user) else self._flow
        if not places.try_enter(user):
            await places.enter(user)
        try:
            if context.verb in ("get", "list"):
                return await handler(context)
            async with asyncio.timeout(self.settings.request_timeout):
                return await handler(context)
        except TimeoutError:
            raise errors.StatusError(
                504, "Timeout", "Timeout: request did not complete within the allotted timeout"
            ) from None
        finally:
            places.leave()

    async def _arrive(self, context: contexts.Context, user: users.UserInfo) -> None:
        """Wait for the request's body, which takes no place meanwhile. Raises 413, 429, 504."""
        try:
            with self._arrivals.one(user):
                async with asyncio.timeout(self.settings.request_timeout):
                    context.request.body = messages.BytesBody(await bodies.read(context))
        except TimeoutError:
            raise errors.StatusError(504, "Timeout", "Timeout: the request's body did not arrive in time") from None
