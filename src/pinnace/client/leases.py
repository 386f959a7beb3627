"""Leader election with a Lease: at most one of several processes acts, as client-go's leaderelection does it.

A holder renews often and gives up well before others may take over (`renew_deadline` < `lease_duration`); others judge the
age of a lease by their own monotonic clock from the moment they saw it change, never by the timestamps in it.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable

from pinnace.api import resources
from pinnace.client import client
from pinnace.kit import clock

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Seconds; the defaults are upstream's. Others wait `lease_duration` after the last renewal that they saw."""

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    """A holder that could not renew for so long stops leading. Must be below `lease_duration`."""
    retry_period: float = 2.0


class LeaseLost(Exception):
    """Somebody else leads, or nobody could be told that we still do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """A lease as one candidate saw it, and when (monotonic seconds) it last saw it change."""

    lease: client.Object
    changed: float


def observe(previous: Observed | None, lease: client.Object, moment: float) -> Observed:
    if previous is not None and previous.lease.get("spec") == lease.get("spec"):
        return Observed(lease, previous.changed)
    return Observed(lease, moment)


def is_held_by(lease: client.Object, identity: str) -> bool:
    return (lease.get("spec") or {}).get("holderIdentity") == identity


def can_take(observed: Observed, identity: str, moment: float) -> bool:
    spec = observed.lease.get("spec") or {}
    holder = spec.get("holderIdentity")
    if not holder or holder == identity:
        return True
    return moment >= observed.changed + float(spec.get("leaseDurationSeconds") or 0)


def claimed(lease: client.Object, identity: str, settings: Settings, now: str) -> client.Object:
    """`lease` as `identity` writes it to take or renew it at `now` (MicroTime)."""
    spec = dict(lease.get("spec") or {})
    if spec.get("holderIdentity") != identity:
        # A first holder counts as no transition, as client-go has it.
        spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if "acquireTime" in spec else 0)
        spec["acquireTime"] = now
    spec |= {
        "holderIdentity": identity,
        "leaseDurationSeconds": int(settings.lease_duration),
        "renewTime": now,
    }
    return {**lease, "spec": spec}


class LeaderElection:
    """One candidate for one lease. A name that is the same after a restart takes its own lease back at once; two processes that may
    run at the same time must never share one."""

    def __init__(
        self,
        api: client.Client,
        time: clock.Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        settings: Settings | None = None,
    ) -> None:
        self._api = api
        self._clock = time
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._settings = settings or Settings()
        self._observed: Observed | None = None
        self._renewed = 0.0

    async def lead(self, act: Callable[[], Awaitable[None]]) -> None:
        """Wait until we lead, and `act()` as long as we do: it is cancelled, and has ended, before this raises LeaseLost (or what it
        raised itself). Cancelled, or once `act` has ended, the lease is given up for others to take at once."""
        await self.wait_acquired()
        log.info("%s leads as holder of lease %s/%s", self._identity, self._namespace, self._name)
        acting = asyncio.ensure_future(act())
        renewing = asyncio.ensure_future(self.wait_lost())
        try:
            await asyncio.wait({acting, renewing}, return_when=asyncio.FIRST_COMPLETED)
            is_lost = renewing.done()
        except asyncio.CancelledError:
            is_lost = False
            raise
        finally:
            acting.cancel()
            renewing.cancel()
            await asyncio.gather(acting, renewing, return_exceptions=True)
            if not is_lost:
                await self.release()
        if is_lost:
            raise LeaseLost(f"{self._identity} lost the lease {self._namespace}/{self._name}")
        if not acting.cancelled():
            acting.result()

    async def wait_acquired(self) -> None:
        while not await self._try():
            await self._clock.sleep(self._settings.retry_period)

    async def wait_lost(self) -> None:
        """Renews until that fails for `renew_deadline` or somebody else holds the lease."""
        while True:
            await self._clock.sleep(self._settings.retry_period)
            left = self._renewed + self._settings.renew_deadline - self._clock.monotonic()
            try:
                # An answer that hangs must not make us lead for longer than others wait.
                async with asyncio.timeout(max(0.0, left)):
                    if await self._try():
                        continue
            except TimeoutError:
                return
            if self._observed is not None and not is_held_by(self._observed.lease, self._identity):
                return
            if self._clock.monotonic() - self._renewed >= self._settings.renew_deadline:
                return

    async def release(self) -> None:
        """Give the lease up at once, so that another candidate need not wait for it to run out."""
        if self._observed is None or not is_held_by(self._observed.lease, self._identity):
            return
        spec = {**self._observed.lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.update(resources.LEASES, {**self._observed.lease, "spec": spec})
        except client.ApiError as error:
            log.info("lease %s/%s not released: %s", self._namespace, self._name, error)

    async def _try(self) -> bool:
        """Take or renew once. A lost race or an unreachable server is a no, never an error."""
        started = self._clock.monotonic()
        try:
            lease = await self._write()
        except client.ApiError as error:
            log.info("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        if lease is None:
            return False
        self._observed = Observed(lease, started)
        # Others count from a later moment than this one: the deadline errs on the safe side.
        self._renewed = started
        return True

    async def _write(self) -> client.Object | None:
        now = clock.rfc3339_micro(self._clock.now())
        try:
            lease = await self._api.get(resources.LEASES, self._namespace, self._name)
        except client.NotFound:
            fresh = {
                "apiVersion": resources.LEASES.api_version,
                "kind": resources.LEASES.kind,
                "metadata": {"namespace": self._namespace, "name": self._name},
            }
            return await self._api.create(
                resources.LEASES, self._namespace, claimed(fresh, self._identity, self._settings, now)
            )
        self._observed = observe(self._observed, lease, self._clock.monotonic())
        if not can_take(self._observed, self._identity, self._clock.monotonic()):
            return None
        return await self._api.update(resources.LEASES, claimed(lease, self._identity, self._settings, now))
