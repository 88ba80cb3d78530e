"""Peers that vanish without a word: forwarded sockets ask, and their places are free again."""

from __future__ import annotations

import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

import muxpy
from muxpy_cli.net import _sockets, prepare_forwarded, unanswered_for
from muxpy_cli.relay import _relay, relay
from tests.helpers.machines import another_machine
from tests.helpers.pairs import session_pair, stream_pair, tcp_pair, unix_pair
from tests.helpers.sockets import tcp_sockets_of
from tests.helpers.tasks import LIMIT

from .program import Server, echo, tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
THREE_MINUTES = 180

TALKER = """
import socket, sys
one = socket.create_connection((sys.argv[1], int(sys.argv[2])))
one.sendall(b"hello")
while one.recv(100):
    pass
"""
"""A program for the other machine."""


def test_it_takes_less_than_three_minutes() -> None:
    assert _sockets.IDLE + _sockets.PROBES * _sockets.INTERVAL < THREE_MINUTES
    assert _relay.VANISHED + _relay.LOOK_EVERY < THREE_MINUTES
    assert _relay.VANISHED > 120  # what Linux lets pass between two probes of a closed window (TCP_RTO_MAX)


async def test_what_a_forwarded_socket_is_given() -> None:
    for one in await tcp_pair():
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 1)
        prepare_forwarded(one.socket)
        assert one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        given = [one.socket.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert given == [_sockets.IDLE, _sockets.INTERVAL, _sockets.PROBES]
        assert one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 16 * 1024
        one.socket.close()
        prepare_forwarded(one.socket)  # of one that has gone: nothing happens
        assert unanswered_for(one.socket) == 0
    for one in unix_pair():
        prepare_forwarded(one.socket)
        assert unanswered_for(one.socket) == 0
        one.socket.close()


class Paced(socket.socket):
    """A socket of a system whose congestion control is BBR, which not every kernel has."""

    chosen: Any = b"bbr"

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:  # noqa: ANN401 - as of socket.socket
        return self.chosen if option == socket.TCP_CONGESTION else super().getsockopt(level, option, size)

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # type: ignore[override] # noqa: ANN401
        if (level, option) == (socket.IPPROTO_TCP, socket.TCP_CONGESTION):
            self.chosen = value
        super().setsockopt(level, option, value)


@pytest.mark.parametrize(
    ("host", "chosen"),
    [("127.0.0.1", b"reno"), ("127.8.9.10", b"reno"), ("::1", b"reno"), ("192.0.2.1", b"bbr"), ("0.0.0.0", b"bbr")],
)
def test_on_this_machine_nothing_is_paced(host: str, chosen: bytes) -> None:
    with Paced(socket.AF_INET, socket.SOCK_STREAM) as one:
        prepare_forwarded(one, host)
        assert one.chosen == chosen


# ---- every socket of both ends ----


def asks(pid: int) -> dict[tuple[int, int], bool]:
    """A process's TCP connections by both ports, and whether their keepalive timer runs."""
    return {one.ports: one.asks for one in tcp_sockets_of(pid) if one.established}


@pytest.mark.parametrize("rate", [(), ("--rate", "1GiB")])
async def test_all_forwarded_sockets_of_both_ends_ask(rate: tuple[str, ...]) -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            to_target = f"0:127.0.0.1:{target.port}"
            forwards = "-L", to_target, "-D", "0", "--http-proxy", "0", "-R", to_target, "-R", "0"
            async with tunnel(*forwards, listen=rate) as ends:
                _, socks, http, _, reverse = ends.ports
                for index in range(5):
                    await ends.client(index)
                for client, port in zip(ends.clients, ends.ports, strict=True):
                    if port in (socks, reverse):
                        await client.send_all(b"\5\1\0\5\1\0\1\x7f\0\0\1" + target.port.to_bytes(2, "big"))
                    elif port == http:
                        where = f"127.0.0.1:{target.port}"
                        await client.send_all(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
                    await client.send_all(b"a round")
                    received = b""
                    while not received.endswith(b"a round"):
                        received += await client.receive_some()
                for end in (ends.listening, ends.connecting):
                    await until_five_ask(end.process.pid)


async def until_five_ask(pid: int) -> None:
    """And there are no others but the session's own, whose heartbeat does the same."""
    while True:
        found = asks(pid)
        assert len(found) == 6
        if sum(found.values()) == 5:
            return
        await trio.sleep(0.05)  # data that is on its way has the timer


# ---- another machine ----


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[muxpy.Stream, trio.Event]]:
    """The far end of a stream that is relayed to a client on another machine, which then vanishes; and whether the
    relay has ended."""
    ended = trio.Event()

    async with AsyncExitStack() as stack:
        machine = stack.enter_context(another_machine())
        client, server = await stack.enter_async_context(session_pair("unix"))
        peer, stream = await stream_pair(client, server)
        nursery = await stack.enter_async_context(trio.open_nursery())
        [listener] = await trio.open_tcp_listeners(0, host=machine.address)
        port = int(listener.socket.getsockname()[1])
        talker = machine.command(sys.executable, "-c", TALKER, machine.address, str(port))
        nursery.start_soon(partial(trio.run_process, talker, check=False))
        near = await listener.accept()
        await listener.aclose()
        prepare_forwarded(near.socket)

        async def carry() -> None:
            assert not await relay(near, stream)
            ended.set()

        nursery.start_soon(carry)
        assert await peer.receive_some() == b"hello"
        machine.vanish()
        yield peer, ended
        nursery.cancel_scope.cancel()


async def test_a_silent_peer_that_has_vanished_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    short = [(socket.IPPROTO_TCP, option, 1) for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)]
    monkeypatch.setattr(_sockets, "_KEEPALIVE", [*short, (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)])
    with trio.fail_after(LIMIT):
        async with relayed() as (peer, ended):
            await ended.wait()
            with pytest.raises(muxpy.StreamReset):
                await peer.receive_some()


async def test_a_peer_that_has_vanished_with_data_on_its_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepalive does not ask then, and TCP gives up after a quarter of an hour."""
    monkeypatch.setattr(_relay, "VANISHED", 2.0)
    monkeypatch.setattr(_relay, "LOOK_EVERY", 0.1)
    with trio.fail_after(LIMIT):
        async with relayed() as (peer, ended):
            await peer.send_all(b"an answer")
            await ended.wait()
            with pytest.raises(muxpy.StreamReset):
                await peer.receive_some()
