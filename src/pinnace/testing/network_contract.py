"""What every implementation of `net.interface.PodNetwork` must do: one coroutine per behaviour, run against the fake and the real one.

A test module makes a `Harness` around its network and runs each of `CHECKS` on a fresh one. What a network lets through is seen with real
packets only (tests/privileged/net).
"""

import dataclasses
import pathlib
from collections.abc import Awaitable, Callable

from pinnace.net import host_ports as claims
from pinnace.net import interface


@dataclasses.dataclass(slots=True)
class Harness:
    network: interface.PodNetwork
    """Open, with nothing attached."""
    host_ports: claims.HostPorts
    """What it tells its claims to."""
    capacity: int
    """How many sandboxes it has addresses for; at least three."""
    make_namespace: Callable[[], pathlib.Path]
    """A new network namespace."""
    break_next: Callable[[], pathlib.Path]
    """A namespace with which the next attachment fails."""
    reopen: Callable[[], Awaitable[tuple[interface.PodNetwork, claims.HostPorts]]]
    """Close the network, open another one on the same machine."""

    async def attach(self, sandbox_id: str, *ports: interface.HostPort) -> interface.Attachment:
        return await self.network.attach(sandbox_id, self.make_namespace(), ports)

    async def attached(self) -> dict[str, interface.Attachment]:
        return {one.sandbox_id: one for one in await self.network.attachments()}


PORTS = (interface.HostPort("", 31871, 8080, "TCP"), interface.HostPort("127.0.0.1", 31872, 53, "UDP"))


async def every_sandbox_has_its_own_address(harness: Harness) -> None:
    """Addresses and interfaces differ; an attachment is told and listed alike; of each family there is one address and one gateway."""
    found = [await harness.attach(name) for name in ("a", "b", "c")]
    assert len({one.address for one in found}) == len({one.interface for one in found}) == 3
    assert await harness.attached() == {one.sandbox_id: one for one in found}
    for one in found:
        versions = [address.version for address in one.addresses]
        assert one.addresses[0] == one.address
        assert len(set(versions)) == len(versions)
        assert [gateway.version for gateway in one.gateways] == versions
        assert 0 < len(one.interface) < 16
        assert not set(one.addresses) & set(one.gateways)


async def attaching_again_changes_nothing(harness: Harness) -> None:
    """The same id: the same attachment, whoever asks twice (an agent that was killed in between)."""
    namespace = harness.make_namespace()
    first = await harness.network.attach("a", namespace, PORTS)
    claim = harness.host_ports.all()["a"]
    assert await harness.network.attach("a", namespace, PORTS) == first
    assert harness.host_ports.all() == {"a": claim}
    assert list(await harness.attached()) == ["a"]


async def detaching_is_quiet_and_final(harness: Harness) -> None:
    """What is detached is not listed; who is not attached is detached quietly."""
    await harness.attach("a")
    await harness.network.detach("a")
    await harness.network.detach("a")
    await harness.network.detach("nobody")
    assert await harness.attached() == {}


async def an_address_rests_before_it_is_given_again(harness: Harness) -> None:
    """Connections to the old pod do not reach the next one: an address that was given back is the last to be given out."""
    first = await harness.attach("a")
    await harness.network.detach("a")
    others = [await harness.attach(f"other-{number}") for number in range(harness.capacity - 1)]
    assert first.address not in {one.address for one in others}
    assert (await harness.attach("last")).address == first.address


async def no_address_is_left_at_the_end(harness: Harness) -> None:
    """NoAddressLeft, which attaches nothing; an address that comes back is given out."""
    for number in range(harness.capacity):
        await harness.attach(str(number))
    try:
        await harness.attach("more")
    except interface.NoAddressLeft:
        pass
    else:
        raise AssertionError("an address was given out twice")
    assert "more" not in await harness.attached()
    await harness.network.detach("0")
    await harness.attach("more")


async def a_failed_attachment_leaves_nothing(harness: Harness) -> None:
    """NetworkError; neither an address nor a port is held afterwards, and the next try works."""
    try:
        await harness.network.attach("a", harness.break_next(), PORTS)
    except interface.NetworkError:
        pass
    else:
        raise AssertionError("it was to fail")
    assert await harness.attached() == {}
    assert harness.host_ports.all() == {}
    await harness.attach("a", *PORTS)


async def host_ports_are_claimed_while_it_is_attached(harness: Harness) -> None:
    """With the pod's address; told to whoever listens; a sandbox without ports claims nothing."""
    told: list[str] = []
    harness.host_ports.add_handler(told.append)
    await harness.attach("none")
    attachment = await harness.attach("a", *PORTS)
    claim = harness.host_ports.all()["a"]
    assert (claim.address, claim.ports) == (attachment.address, PORTS)
    assert claim.since
    await harness.network.detach("a")
    assert harness.host_ports.all() == {}
    assert told == ["a", "a"]


async def what_is_attached_survives_a_restart(harness: Harness) -> None:
    """Addresses, interfaces, and host ports with their age, are those of before; they are not given to others."""
    before = await harness.attach("a", *PORTS)
    before_claims = dict(harness.host_ports.all())
    harness.network, harness.host_ports = await harness.reopen()
    assert await harness.attached() == {"a": before}
    assert harness.host_ports.all() == before_claims
    assert (await harness.attach("b")).address != before.address


async def what_belongs_to_nobody_is_collected(harness: Harness) -> None:
    """collect gives back what is not alive, ports included, and keeps the rest."""
    kept = await harness.attach("kept", *PORTS)
    await harness.attach("gone", interface.HostPort("", 31873, 80, "TCP"))
    await harness.network.collect(frozenset({"kept", "not attached"}))
    assert await harness.attached() == {"kept": kept}
    assert list(harness.host_ports.all()) == ["kept"]


async def a_network_that_works_says_so(harness: Harness) -> None:
    """check raises nothing, with and without sandboxes."""
    await harness.network.check()
    await harness.attach("a")
    await harness.network.check()


async def purging_forgets_everything(harness: Harness) -> None:
    """Nothing is attached afterwards, and the addresses are free."""
    await harness.attach("a", *PORTS)
    await harness.network.purge()
    harness.network, harness.host_ports = await harness.reopen()
    assert await harness.attached() == {}
    assert harness.host_ports.all() == {}
    await harness.attach("a")


CHECKS: tuple[Callable[[Harness], Awaitable[None]], ...] = (
    every_sandbox_has_its_own_address,
    attaching_again_changes_nothing,
    detaching_is_quiet_and_final,
    an_address_rests_before_it_is_given_again,
    no_address_is_left_at_the_end,
    a_failed_attachment_leaves_nothing,
    host_ports_are_claimed_while_it_is_attached,
    what_is_attached_survives_a_restart,
    what_belongs_to_nobody_is_collected,
    a_network_that_works_says_so,
    purging_forgets_everything,
)
