"""The owner of the cluster's tables: makes them, keeps them as they are, removes them.

Chains, rules and (empty) sets are from here; what is in the sets belongs to others: the pods' to the network, the Services' to the proxy. A
firewall that loads its own rules begins with `flush ruleset`, which takes ours too: every transaction of the machine is heard, and where it
has touched what stands here, the tables are made anew and everybody who keeps elements in them is told.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pinnace.kernel import elements, nft_state, nftables
from pinnace.kit import clock
from pinnace.net import guard, rules

T = TypeVar("T")

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.05
"""Between a transaction and the look at what it left: a program that loads rules makes several."""
BETWEEN_LOOKS = 1.0
"""At least, however busy others (and ourselves) are with the machine's rules."""

Restore = Callable[[], Awaitable[None]]
States = tuple[nft_state.State | None, ...]


class BaseTable:
    """One thread owns the sockets; calls are queued to it in order. Of the network namespace in which that thread begins."""

    def __init__(self, settings: rules.TableSettings) -> None:
        self.settings = settings
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="nftables")
        self._nft: nftables.Nftables | None = None
        self._tables: nft_state.Tables | None = None
        self._made: States = ()
        self._guards = True
        self._keepers: list[Restore] = []

    def on_restored(self, restore: Restore) -> None:
        """`restore` writes its elements again; called after the tables were made anew."""
        self._keepers.append(restore)

    @property
    def guards(self) -> bool:
        """Whether the kernel can filter what enters a bridge."""
        return self._guards

    async def open(self) -> None:
        """Make the tables, or bring older ones to their form. Raises NftablesError; OSError where libnftables is not installed."""
        self._made = await self._run(self._make)

    async def watch(self, time: clock.Clock) -> None:
        """For ever; for a supervisor, once open."""
        heard = asyncio.Event()
        transactions = nft_state.Transactions()
        loop = asyncio.get_running_loop()

        def hear() -> None:
            transactions.drain()
            heard.set()

        loop.add_reader(transactions, hear)
        try:
            while True:
                # First the look: something may have happened before anybody listened.
                await self.restore_if_changed()
                await time.sleep(BETWEEN_LOOKS)
                await heard.wait()
                await time.sleep(SETTLE_SECONDS)
                heard.clear()
        finally:
            loop.remove_reader(transactions)
            transactions.close()

    async def restore_if_changed(self) -> bool:
        """Raises NftablesError."""
        if await self._run(self._states) == self._made:
            return False
        log.warning("another program removed rules of this cluster; they are made anew")
        made, self._made = await self._run(self._make), ()
        for restore in self._keepers:
            await restore()
        self._made = made  # only now: where one of them failed, all of it is done again
        return True

    async def close(self) -> None:
        """Let go; the tables stay."""
        await self._run(self._close)
        self._thread.shutdown()

    async def purge(self) -> None:
        """Remove the tables, open or not."""
        await self._run(self._purge)

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    # Everything below runs on the one thread.

    def _make(self) -> States:
        nft = self._handle()
        self._tables = self._tables or nft_state.Tables()
        nft.run(rules.base_table(self.settings))
        try:
            nft.run(guard.table_text(self.settings.table))
        except nftables.NftablesError as error:
            self._guards = False
            log.warning(
                "the kernel does not filter what enters a bridge, so that pods can pose as each other: %s", error
            )
        return self._states()

    def _states(self) -> States:
        assert self._tables is not None
        name = self.settings.table
        found: list[nft_state.State | None] = []
        for family in (elements.IPV4, elements.BRIDGE) if self._guards else (elements.IPV4,):
            state = self._tables.state(family, name)
            if state is not None:
                # Chains that pick endpoints come and go with Services; who lost one finds out by a refusal.
                fixed = {chain: uses for chain, uses in state.uses.items() if chain in rules.CHAINS}
                state = nft_state.State(state.handle, fixed)
            found.append(state)
        return tuple(found)

    def _handle(self) -> nftables.Nftables:
        self._nft = self._nft or nftables.Nftables()
        return self._nft

    def _close(self) -> None:
        if self._nft is not None:
            self._nft.close()
            self._nft = None
        if self._tables is not None:
            self._tables.close()
            self._tables = None

    def _purge(self) -> None:
        self._handle().run(rules.delete_table("ip", self.settings.table))
        with contextlib.suppress(nftables.NftablesError):  # a kernel that has no such tables has none of ours
            self._handle().run(rules.delete_table("bridge", self.settings.table))
