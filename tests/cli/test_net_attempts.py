"""Several addresses: Happy Eyeballs (RFC 8305), on a clock that jumps. Addresses of 127.0.0.0/8 stand for hosts."""

from __future__ import annotations

import errno
import gc
import os
import socket
from contextlib import ExitStack, contextmanager
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxpy_cli.net import _attempts, connect_first

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 10.0


@contextmanager
def listening(host: str, port: int = 0, backlog: int = 100) -> Iterator[socket.socket]:
    """Takes connections."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        one.listen(backlog)
        yield one


@contextmanager
def dead(host: str, port: int = 0) -> Iterator[int]:
    """A port that drops what comes, like a host that is down: nobody takes the connections that fill its queue."""
    with ExitStack() as stack:
        one = stack.enter_context(listening(host, port, backlog=0))
        while True:
            probe = stack.enter_context(socket.socket(one.family))
            probe.setblocking(False)
            probe.connect_ex(one.getsockname())
            if probe.connect_ex(one.getsockname()) != errno.EISCONN:
                break
        yield one.getsockname()[1]


async def connected(addresses: list[str], port: int, limit: float = LIMIT) -> tuple[str, float]:
    """Which address took it, and after how many seconds."""
    begun = trio.current_time()
    with await connect_first(addresses, port, begun + limit) as one:
        return one.getpeername()[0], trio.current_time() - begun


async def test_a_dead_address_costs_a_quarter_of_a_second(autojump_clock: trio.testing.MockClock) -> None:
    with dead("127.0.0.1") as port, listening("127.0.0.2", port):
        assert await connected(["127.0.0.1", "127.0.0.2"], port) == ("127.0.0.2", 0.25)


async def test_families_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    """RFC 8305, section 4: a family that leads nowhere costs one delay, not one for each of its addresses."""
    with ExitStack() as stack:
        port = stack.enter_context(dead("127.0.0.1"))
        for host in ("127.0.0.2", "127.0.0.3"):
            stack.enter_context(dead(host, port))
        stack.enter_context(listening("::1", port))
        assert await connected(["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"], port) == ("::1", 0.25)


async def test_one_that_refuses_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    with dead("127.0.0.1") as port, listening("127.0.0.4", port):
        addresses = ["127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.4"]
        assert await connected(addresses, port) == ("127.0.0.4", 0.25)


async def test_each_has_all_the_time_that_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """What is not refused is waited for, however many others have been tried meanwhile."""
    with dead("127.0.0.1") as port:
        begun = trio.current_time()
        with pytest.raises(ConnectionRefusedError):
            await connected(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port)
        assert trio.current_time() - begun == LIMIT


async def test_the_deadline_holds_for_any_number_of_addresses(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    tried: list[str] = []
    begin = _attempts._begin

    def noted(address: str, *, port: int, forwarded: bool) -> tuple[socket.socket, bool]:
        tried.append(address)
        return begin(address, port=port, forwarded=forwarded)

    monkeypatch.setattr(_attempts, "_begin", noted)
    hosts = [f"127.0.0.{number}" for number in range(1, 20)]
    with ExitStack() as stack:
        port = stack.enter_context(dead(hosts[0]))
        for host in hosts[1:]:
            stack.enter_context(dead(host, port))
        begun = trio.current_time()
        with pytest.raises(TimeoutError):
            await connected(hosts, port, limit=1.1)
        assert trio.current_time() - begun == pytest.approx(1.1)
    assert tried == hosts[:5]


async def test_the_error_is_the_one_that_says_most(autojump_clock: trio.testing.MockClock) -> None:
    with dead("127.0.0.1") as port:
        with pytest.raises(ConnectionRefusedError):
            await connected(["127.0.0.2", "127.0.0.1"], port)
        with pytest.raises(TimeoutError):  # and not that an interface is missing here
            await connected(["fe80::1%nowhere", "127.0.0.1"], port)
        with pytest.raises(OSError, match="no interface with this name"):
            await connected(["fe80::1%nowhere"], port)


async def test_losers_are_closed_whatever_happens(autojump_clock: trio.testing.MockClock) -> None:
    gc.disable()
    try:
        with dead("127.0.0.1") as port, listening("127.0.0.2", port):
            before = len(os.listdir("/proc/self/fd"))
            await connected(["127.0.0.1", "127.0.0.2"], port)
            with pytest.raises(TimeoutError):
                await connected(["127.0.0.1", "127.0.0.1"], port)
            with trio.move_on_after(0.1) as cut:
                await connected(["127.0.0.1", "127.0.0.2"], port)
            with trio.move_on_after(0.3) as cut_again:
                await connected(["127.0.0.1", "127.0.0.1"], port)
            assert cut.cancelled_caught
            assert cut_again.cancelled_caught
            assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


async def test_two_that_succeed_in_the_same_turn(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Both are scheduled before one can cancel the other."""
    pairs = [socket.socketpair() for _ in range(2)]
    arrived = trio.Event()

    async def finish(one: socket.socket, _deadline: float) -> socket.socket:
        one.close()
        await arrived.wait()
        return pairs.pop()[0]

    ends = list(pairs)
    monkeypatch.setattr(_attempts, "_finish", finish)
    with dead("127.0.0.1") as port:
        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                (await connect_first(["127.0.0.1", "127.0.0.1"], port, inf)).close()

            nursery.start_soon(connect)
            await trio.sleep(1)
            arrived.set()
    for near, far in ends:
        assert near.fileno() < 0
        far.close()


async def test_on_this_machine_no_task_and_no_timer_is_needed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async def race(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(_attempts, "_race", race)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # so that nobody else listens there
        port = closed.getsockname()[1]
        with listening("127.0.0.2", port):
            assert await connected(["127.0.0.2", "127.0.0.1"], port) == ("127.0.0.2", 0)
            assert await connected(["127.0.0.1", "127.0.0.2"], port) == ("127.0.0.2", 0)
    with dead("127.0.0.1") as port, pytest.raises(TimeoutError):  # nor for a lone address elsewhere
        await connected(["127.0.0.1"], port)
