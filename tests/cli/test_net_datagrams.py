"""UDP to a target with several addresses: only its answers say which is right."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.net import Policy, connect_datagrams
from muxpy_cli.net._resolve import Lookups
from muxpy_cli.specs import Address
from muxpy_cli.wire import Refused
from tests.helpers.tasks import LIMIT

from .program import free_port, tunnel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxpy_cli.net import Socket


class Fixed(Policy):
    """Leads every target to these addresses."""

    def __init__(self, *found: str) -> None:
        super().__init__(Lookups())
        self.found = found

    def addresses(self, target: Address, addresses: Sequence[str]) -> Sequence[str]:
        return self.found


def server(host: str, port: int = 0) -> trio.socket.SocketType:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.bind((host, port))
    one.setblocking(False)
    return trio.socket.from_stdlib_socket(one)


def port_of(one: trio.socket.SocketType) -> int:
    return int(one.getsockname()[1])


def waiting(one: trio.socket.SocketType) -> bool:
    """Whether a datagram has come to it."""
    return bool(select.select([one.fileno()], [], [], 0)[0])


@pytest.fixture
def free() -> int:
    return free_port()


async def test_what_was_sent_last_goes_to_the_next_address() -> None:
    reached: list[str] = []
    with trio.fail_after(LIMIT), server("::1") as target:
        port = port_of(target)
        policy = Fixed("127.0.0.1", "127.0.0.2", "::1")
        with await connect_datagrams(
            Address("x.localhost", port), policy, lambda one: reached.append(one.getpeername()[0])
        ) as flow:
            async with trio.open_nursery() as nursery:

                async def answer() -> None:
                    datagram, address = await target.recvfrom(100)
                    await target.sendto(datagram.upper(), address)

                nursery.start_soon(answer)
                await flow.send(b"question")
                assert await flow.receive(100) == b"QUESTION"
    assert reached == ["127.0.0.1", "127.0.0.2", "::1"]


async def test_the_sender_may_find_out_as_well(free: int) -> None:
    policy = Fixed("127.0.0.1", "127.0.0.2")
    with (
        trio.fail_after(LIMIT),
        server("127.0.0.2", free) as target,
        await connect_datagrams(Address("localhost", free), policy) as flow,
    ):
        await flow.send(b"lost")
        await flow.send(b"found")
        assert await target.recv(100) == b"found"


async def test_one_that_has_answered_is_kept(free: int) -> None:
    with trio.fail_after(LIMIT), server("127.0.0.2", free) as other:
        target = server("127.0.0.1", free)
        with await connect_datagrams(Address("localhost", free), Fixed("127.0.0.1", "127.0.0.2")) as flow:
            await flow.send(b"one")
            _, address = await target.recvfrom(100)
            await target.sendto(b"1", address)
            assert await flow.receive(100) == b"1"
            target.close()
            await flow.send(b"two")
            with pytest.raises(ConnectionRefusedError):
                await flow.receive(100)
            with server("127.0.0.1", free) as target:
                await flow.send(b"three")
                assert await target.recv(100) == b"three"
        assert not waiting(other)


async def test_a_target_that_comes_later_is_found_at_any_address(free: int) -> None:
    """Each datagram is tried at all addresses once, and then is lost, as UDP has it."""
    policy = Fixed("127.0.0.1", "127.0.0.2", "127.0.0.3")
    with trio.fail_after(LIMIT), await connect_datagrams(Address("localhost", free), policy) as flow:
        for _ in range(3):
            await flow.send(b"lost")
            with pytest.raises(ConnectionRefusedError):
                await flow.receive(100)
        for host in policy.found:
            with server(host, free) as target:
                await flow.send(host.encode())
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(flow.receive, 100)  # which is told that nobody is there
                    assert await target.recv(100) == host.encode()
                    nursery.cancel_scope.cancel()


async def test_an_address_that_the_rules_no_longer_allow_is_left_out(free: int) -> None:
    def reached(one: Socket) -> None:
        if one.getpeername()[0] == "127.0.0.2":
            raise Refused("forbidden", "since a reload")

    policy = Fixed("127.0.0.1", "127.0.0.2", "127.0.0.3")
    with (
        trio.fail_after(LIMIT),
        server("127.0.0.2", free) as forbidden,
        server("127.0.0.3", free) as target,
        await connect_datagrams(Address("localhost", free), policy, reached) as flow,
    ):
        await flow.send(b"one")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flow.receive, 100)
            assert await target.recv(100) == b"one"
            nursery.cancel_scope.cancel()
        assert not waiting(forbidden)


async def test_a_sender_that_waits_for_room_while_the_address_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sends goes to the next address, and is not an error."""
    full = trio.Event()
    with trio.fail_after(LIMIT), server("127.0.0.2") as target:
        address = Address("localhost", port_of(target))
        with await connect_datagrams(address, Fixed("127.0.0.1", "127.0.0.2")) as flow:
            present = flow._socket

            async def wait(_: bytes) -> None:
                full.set()
                while flow._socket is present:
                    await trio.lowlevel.checkpoint()
                raise trio.ClosedResourceError  # as who waits for room is told

            await flow.send(b"lost")
            monkeypatch.setattr(type(present), "send", lambda _, datagram: wait(datagram))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flow.send, b"found")
                await full.wait()
                nursery.start_soon(flow.receive, 100)
                assert await target.recv(100) == b"found"
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_localhost_is_both_loopback_addresses_through_a_tunnel(option: str) -> None:
    with trio.fail_after(LIMIT), server("::1") as target:
        async with tunnel(option, f"0:localhost:{port_of(target)}/udp") as ends:
            with server("127.0.0.1") as client:
                await client.connect(("127.0.0.1", ends.ports[0]))
                await client.send(b"question")
                datagram, address = await target.recvfrom(100)
                await target.sendto(datagram.upper(), address)
                assert await client.recv(100) == b"QUESTION"
