"""Limits that hold: rates, idle connections, sessions, descriptors."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from muxpy_cli.wire import Purpose, pack, receive_message
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, receive_all
from .ends import admitted, connected, how_it_ends, ping, started, tunnel
from .strangers import crowd, many_descriptors

if TYPE_CHECKING:
    import muxpy

    from .ends import End, Ends

MIB = 2**20
RATE = 4 * MIB
AMOUNT = 5 * MIB
PIECE = 64 * 1024
"""What one direction of a connection may be ahead of its bucket."""
SHORT = 60_000
"""Bytes that go with an opening before the other end has given window for more."""


async def pour(stream: trio.SocketStream) -> None:
    """A target that sends much."""
    await stream.send_all(bytes(AMOUNT))
    await stream.send_eof()


async def poured(port: int) -> None:
    """A client that receives it."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        assert len(await receive_all(client)) == AMOUNT


def least(amount: int, connections: int) -> float:
    """Seconds that the bucket makes it take: it begins with a second's worth, and each connection is a piece ahead."""
    return (amount - RATE - 2 * connections * PIECE) / RATE


async def test_rates_hold_for_a_session_and_for_a_user() -> None:
    async def session_rate(port: int) -> None:
        async with tunnel("-L", f"0:localhost:{port}", listen=("--session-rate", "4MiB")) as ends:
            begun = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poured, ends.ports[0])
                nursery.start_soon(poured, ends.ports[0])
            assert trio.current_time() - begun >= least(2 * AMOUNT, 2)

    async def user_rate(port: int) -> None:
        """Over two sessions, and a third one that comes when the first have gone: it does not find a full bucket."""
        forward = "-L", f"0:localhost:{port}"
        async with tunnel(*forward, listen=("--rate", "4MiB")) as one:
            server = f"127.0.0.1:{one.port}"
            begun = trio.current_time()
            async with started("connect", server, *forward) as two, trio.open_nursery() as nursery:
                nursery.start_soon(poured, one.ports[0])
                nursery.start_soon(poured, await two.port("forwarding"))
            assert await one.connecting.stop() == 0
            await one.listening.until(lambda found: not found["sessions"])
            async with started("connect", server, *forward) as three:
                await poured(await three.port("forwarding"))
            assert trio.current_time() - begun >= least(3 * AMOUNT, 3)

    with trio.fail_after(LIMIT):
        async with Server(pour) as target, trio.open_nursery() as nursery:
            nursery.start_soon(session_rate, target.port)
            nursery.start_soon(user_rate, target.port)


IDLE = 1.2


async def is_closed_when_idle(port: int) -> None:
    """A connection that is used once."""
    begun = trio.current_time()
    client = await connected(port)
    assert await how_it_ends(client) == "reset"
    assert trio.current_time() - begun >= IDLE / 2
    client.socket.close()


async def stays_while_active(port: int) -> None:
    """A connection that is used all the time, for twice as long as one may be idle. A busy machine may leave it idle
    after all: then it may be closed, and another one is tried."""
    stays = False
    while not stays:
        begun = used = trio.current_time()
        client = await connected(port)
        try:
            while trio.current_time() - begun < 2 * IDLE:
                await trio.sleep(0.1)
                now = trio.current_time()
                await ping(client)
                used = now
            stays = True
        except trio.BrokenResourceError:
            assert trio.current_time() - used >= IDLE
        client.socket.close()


async def test_short_connections_keep_to_the_rate_as_well() -> None:
    """All that they send comes with their openings, and they are gone when it is there."""
    arrived = 0
    connections = 2 * AMOUNT // SHORT

    async def sink(stream: trio.SocketStream) -> None:
        nonlocal arrived
        async for data in stream:
            arrived += len(data)

    async def short(session: muxpy.Session, opening: bytes) -> None:
        async with await session.open_stream(stream_type=Purpose.CONNECT) as stream:
            await stream.send_all(opening + bytes(SHORT))
            await stream.send_eof()
            assert "error" not in (await receive_message(stream))[0]
            assert not await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with Server(sink) as target, started("listen", "0", "--rate", "4MiB") as listening:
            port = await listening.port("listening on")
            opening = pack({"host": "127.0.0.1", "port": target.port})
            begun = trio.current_time()
            async with admitted(port) as session, trio.open_nursery() as nursery:
                for _ in range(connections):
                    nursery.start_soon(short, session, opening)
            assert arrived == connections * SHORT
            assert trio.current_time() - begun >= least(arrived, 1)


async def test_idle_connections_are_closed_and_active_ones_are_not() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            both = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            async with tunnel(*both, listen=("--idle-timeout", f"{IDLE}s")) as ends, trio.open_nursery() as nursery:
                for port in ends.ports:
                    nursery.start_soon(is_closed_when_idle, port)
                    nursery.start_soon(stays_while_active, port)


async def test_as_many_sessions_as_are_allowed() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:localhost:1", listen=("--max-sessions", "1")) as ends:
            second = "connect", f"127.0.0.1:{ends.port}", "-L", "0:localhost:1"
            async with started(*second, "--max-retries", "0") as turned_away, started(*second) as waits:
                assert await turned_away.code() == 1
                assert "max-sessions = 1" in turned_away.text
                await waits.said("max-sessions = 1", "trying again")
                assert await ends.connecting.stop() == 0
                await waits.said("forwarding")


def spare(end: End, number: int) -> None:
    """Let a process open so many descriptors more than it has."""
    resource.prlimit(end.process.pid, resource.RLIMIT_NOFILE, (end.descriptors + number, 20_000))


USED_UP = "connections wait until others end", "all file descriptors of this process are used up", "LimitNOFILE="


async def exhaust(ends: Ends, end: End) -> None:
    """Open more connections than one end has descriptors for; those that work go on, and it recovers."""
    first = await connected(ends.ports[0])
    spare(end, 10)
    with crowd() as clients:
        for _ in range(40):
            # The reset of one that cannot be carried may come before its connecting is reported.
            with suppress(OSError, trio.BrokenResourceError):
                clients.append(await trio.open_tcp_stream("127.0.0.1", ends.ports[0]))
                await clients[-1].send_all(b"hello")
        await trio.sleep(0.3)  # some accept, some wait, some are refused
        await ping(first)
        assert await served(clients) < 20
    while True:
        try:
            (await connected(ends.ports[0])).socket.close()
            break
        except (OSError, trio.BrokenResourceError):  # those that were closed are not forgotten yet
            await trio.sleep(0.1)
    await ping(first)
    first.socket.close()
    assert "internal error" not in end.text


async def served(clients: list[trio.SocketStream]) -> int:
    """How many are answered now."""
    count = 0
    for client in clients:
        with suppress(trio.BrokenResourceError), trio.move_on_after(0.02):
            count += bool(await client.receive_some())
    return count


async def test_an_end_without_descriptors_recovers() -> None:
    async def listening(forward: str) -> None:
        async with tunnel("-L", forward) as ends:
            await exhaust(ends, ends.listening)
            await ends.connecting.said("too many open files (ulimit -n, or LimitNOFILE= of a unit, allows more)")

    async def connecting(forward: str) -> None:
        async with tunnel("-L", forward) as ends:
            await exhaust(ends, ends.connecting)
            await ends.connecting.said(*USED_UP)

    async def remote(forward: str) -> None:
        async with tunnel("-R", forward) as ends:
            await exhaust(ends, ends.listening)
            await ends.listening.said(*USED_UP)

    with trio.fail_after(LIMIT):
        async with Server(echo) as target, trio.open_nursery() as nursery:
            for case in (listening, connecting, remote):
                nursery.start_soon(case, f"0:localhost:{target.port}")


async def test_a_reconnect_without_descriptors_comes_when_there_are_some() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, tunnel("-L", f"0:localhost:{target.port}") as ends:
            ends.listening.process.kill()
            await ends.connecting.said("trying again")
            spare(ends.connecting, 0)
            async with started("listen", str(ends.port)):
                await ends.connecting.said("too many open files", "trying again")
                spare(ends.connecting, 100)
                await ends.connecting.said("connected to", times=2)
                (await connected(ends.ports[0])).socket.close()


async def test_one_session_carries_as_many_connections_as_the_limit_says() -> None:
    """More than a session of the library takes by default. Those past the limit are refused in words."""
    most, more = 1100, 50
    with trio.fail_after(LIMIT), many_descriptors():
        async with (
            Server(echo) as target,
            started("listen", "0", "--max-streams", str(most)) as listening,
            admitted(await listening.port("listening on")) as session,
        ):
            streams = [await session.open_stream(stream_type=Purpose.CONNECT) for _ in range(most + more)]
            for stream in streams:
                await stream.send_all(pack({"host": "127.0.0.1", "port": target.port}))
            answers = [(await receive_message(stream))[0] for stream in streams]
            assert answers.count({}) == most
            assert [one["error"] for one in answers if one] == ["limit"] * more
