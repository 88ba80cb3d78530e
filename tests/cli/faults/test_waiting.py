"""All that takes as long as a time limit does: heartbeats that stay out, greetings that do not come. It is waited for
once, with all cases at the same time."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.server._entrance import GREETING_TIMEOUT
from muxpy_cli.server._waiting import LINE, PLACES
from muxpy_cli.wire import Purpose, pack
from tests.helpers.links import Way
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, run
from .ends import Ends, connected, how_it_ends, started, tunnel
from .strangers import CLIENT_HELLO, closed_by_peer, crowd, many_descriptors, session_from

if TYPE_CHECKING:
    from pathlib import Path

    from .ends import End

FOUND_OUT = "nothing was received for"
"""How a session ends whose peer says nothing: by the heartbeat, and by nothing else."""

CROWD = 2000


async def stopped_end(ends: Ends, stopped: End, other: End) -> None:
    """Stop one end; the other finds out and resets its clients; then all is as before."""
    clients = [await connected(port) for port in ends.ports]
    at_other = clients[0] if other is ends.connecting else clients[1]
    stopped.process.send_signal(signal.SIGSTOP)
    assert await how_it_ends(at_other) == "reset"
    await other.said("has ended", FOUND_OUT)
    stopped.process.send_signal(signal.SIGCONT)
    await ends.connecting.said("connected to", times=2)
    await recovered(ends)
    for client in clients:
        client.socket.close()


async def recovered(ends: Ends) -> None:
    """Both forwards work, the remote one at the port that it had."""
    await ends.connecting.said("forwarding", "again", str(ends.ports[1]))
    for port in ends.ports:
        (await connected(port)).socket.close()


async def silent_link(ends: Ends, way: Way) -> None:
    """Drop everything on the way; both ends find out, and meet again on a new connection."""
    clients = [await connected(port) for port in ends.ports]
    way.silence()
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(_expect_reset, client)
        nursery.start_soon(ends.listening.said, "session with", "has ended", FOUND_OUT)
        nursery.start_soon(ends.connecting.said, "has ended", FOUND_OUT, "trying again")
    await ends.connecting.said("connected to", times=2)
    await recovered(ends)
    for client in clients:
        client.socket.close()


async def _expect_reset(client: trio.SocketStream) -> None:
    assert await how_it_ends(client) == "reset"


async def silent_crowd(listening: End, port: int, size: int, start: bytes = b"") -> None:
    """So many connections; those that kept their places are dropped when the time is over."""
    before = listening.resident
    with crowd() as strangers:
        for number in range(size):
            begun = trio.current_time()
            # From some addresses, since each may have so many in line and inside only.
            stranger = await trio.open_tcp_stream("127.0.0.1", port, local_address=f"127.0.1.{number % 8 + 1}")
            strangers.append(stranger)
            if start:
                with suppress(trio.BrokenResourceError):  # it has had to make room already
                    await stranger.send_all(start)
        # A place costs 96 KiB at most, with TLS, and being in line a socket and some hundred bytes.
        assert listening.resident - before < PLACES * 96 * 1024 + LINE * 2048 + 5_000_000
        async with trio.open_nursery() as nursery:
            for stranger in strangers:
                nursery.start_soon(closed_by_peer, stranger)
        # The last of them could wait for as long as a greeting may take.
        assert trio.current_time() - begun > GREETING_TIMEOUT - 2


async def trickle(port: int) -> None:
    """A greeting that comes byte by byte does not gain time by that."""
    async with session_from("127.0.2.1", port) as session:
        stream = await session.open_stream(stream_type=Purpose.HELLO)
        greeting = pack({"client": "x" * 60})
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - which of them, is a matter of time
            for byte in greeting:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.3)
            raise AssertionError("it had all the time that it wanted")


async def silent_session(port: int) -> None:
    """A session that answers heartbeats and says nothing else is dropped as well."""
    async with session_from("127.0.2.2", port) as session:
        await session.wait()


async def real_client(port: int, *options: str) -> None:
    """It gets in while strangers hold all places, and it works."""
    async with Server(echo) as target:
        forward = "-L", f"0:localhost:{target.port}"
        async with started("connect", f"localhost:{port}", *options, *forward) as connecting:
            (await connected(await connecting.port("forwarding"))).socket.close()


@pytest.mark.slow
async def test_time_limits_are_kept(tmp_path: Path) -> None:
    with many_descriptors(), trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(silence)
            nursery.start_soon(strangers_who_say_nothing, tmp_path)


async def silence() -> None:
    """A peer that says nothing is found out within interval and tolerance."""
    ways: list[Way] = []

    def way(port: int) -> Way:
        ways.append(Way(port))
        return ways[-1]

    async with Server(echo) as target:
        both = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
        async with (
            tunnel(*both) as one,
            tunnel(*both) as two,
            tunnel(*both, through=way) as three,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(stopped_end, one, one.listening, one.connecting)
            nursery.start_soon(stopped_end, two, two.connecting, two.listening)
            nursery.start_soon(silent_link, three, ways[0])


async def strangers_who_say_nothing(folder: Path) -> None:
    """They are dropped when the time is over, and a real client comes into the middle of them."""
    assert (await run("keygen", str(folder)))[0] == 0
    tls = "--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")
    async with started("listen", "0") as plain, started("listen", "0", *tls) as secure:
        ports = [await end.port("listening on") for end in (plain, secure)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(silent_crowd, plain, ports[0], CROWD)
            nursery.start_soon(silent_crowd, secure, ports[1], CROWD // 4, CLIENT_HELLO)
            nursery.start_soon(silent_session, ports[0])
            nursery.start_soon(trickle, ports[0])
            nursery.start_soon(real_client, ports[0])
            nursery.start_soon(real_client, ports[1], "--tls-ca", tls[1])
        await plain.until(lambda found: not found["sessions"])
