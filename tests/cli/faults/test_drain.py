"""SIGTERM and Ctrl-C: what is open may finish, for so long; nothing new begins."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy_cli.wire import Purpose, pack, receive_message
from tests.helpers.inside import connection_of
from tests.helpers.load import until
from tests.helpers.sockets import tcp_sockets
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, run
from .ends import End, Ends, admitted, connected, how_it_ends, ping, started, tell, tunnel

if TYPE_CHECKING:
    from pathlib import Path

DRAIN = "--drain", "3600"
"""Longer than a test may take: what ends earlier has not waited for that."""


def the_end(ends: Ends, who: str) -> End:
    """One of the two."""
    return ends.listening if who == "listening" else ends.connecting


async def until_draining(ends: Ends, who: str) -> None:
    """Wait until it has begun."""
    await the_end(ends, who).until(lambda found: found["draining"])


def unread(port: int, session: muxpy.Session) -> int:
    """Bytes of a session that the end which listens at `port` has not read yet."""
    here = session.local_address
    assert isinstance(here, tuple)
    [found] = [one.unread for one in tcp_sockets() if one.ports == (port, here[1])]
    return found


@pytest.mark.parametrize("who", ["listening", "connecting"])
async def test_open_connections_finish_and_new_ones_are_refused(who: str) -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            both = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            connect = (*DRAIN, "--connect-wait", "0.3")
            async with tunnel(*both, listen=DRAIN, connect=connect) as ends:
                clients = [await connected(port) for port in ends.ports]
                end = the_end(ends, who)
                end.process.send_signal(signal.SIGTERM if who == "listening" else signal.SIGINT)
                await until_draining(ends, who)
                for port in ends.ports:
                    with pytest.raises((OSError, trio.BrokenResourceError)):
                        await connected(port)
                if who == "listening":
                    with pytest.raises(OSError):  # noqa: PT011 - which one, is up to the system
                        await trio.open_tcp_stream("127.0.0.1", ends.port)
                for client in clients:
                    await ping(client)
                    await client.send_eof()
                    assert await how_it_ends(client) == "end"
                    client.socket.close()
                assert await end.code() == 0
                assert "Traceback" not in end.text
                assert "still open" not in end.text


@pytest.mark.parametrize(("option", "who"), [("-L", "connecting"), ("-R", "listening")])
async def test_connections_that_do_not_finish_are_cut_when_the_time_is_over(option: str, who: str) -> None:
    short = "--drain", "0.5"
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            forward = option, f"0:localhost:{target.port}"
            async with tunnel(*forward, listen=short, connect=short) as ends:
                finished, *clients = [await connected(ends.ports[0]) for _ in range(3)]
                await finished.send_eof()
                assert await how_it_ends(finished) == "end"
                begun = trio.current_time()
                end = the_end(ends, who)
                assert await end.stop() == 0
                assert trio.current_time() - begun >= 0.4
                for client in clients:
                    assert await how_it_ends(client) == "reset"
                assert "muxpy.Session" not in end.text  # that is for who uses the library
                await end.said("cut 2 connections that were still open after 0.5 s (--drain gives them more)")
                assert "muxpy.Session" not in end.text  # that is for who uses the library
                for client in (finished, *clients):
                    client.socket.close()


@pytest.mark.parametrize("who", ["listening", "connecting"])
async def test_a_second_signal_ends_it_at_once(who: str) -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            forward = "-L", f"0:localhost:{target.port}"
            async with tunnel(*forward, listen=DRAIN, connect=DRAIN) as ends:
                client = await connected(ends.ports[0])
                end = the_end(ends, who)
                end.process.send_signal(signal.SIGINT)
                await until_draining(ends, who)
                assert await end.stop(signal.SIGINT) == 130
                assert "Traceback" not in end.text
                client.socket.close()


async def test_a_session_is_told_that_it_ends_and_one_that_comes_too_late_is_turned_away() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, tunnel("-L", f"0:localhost:{target.port}", listen=DRAIN) as ends:
            client = await connected(ends.ports[0])
            # It has connected, and says who it is when nobody is let in any more.
            async with muxpy.open_tcp_session("127.0.0.1", ends.port) as late:
                greeting = await late.open_stream(stream_type=Purpose.HELLO)
                await greeting.send_all(pack({})[:1])
                await until(lambda: not unread(ends.port, late))  # it has a place, and waits in no line
                ends.listening.process.send_signal(signal.SIGTERM)
                await until_draining(ends, "listening")
                await greeting.send_all(pack({})[1:])
                answer, _ = await receive_message(greeting)
                assert answer == {"error": "in use", "reason": "it is ending"}
                late.kill()
            await ping(client)
            client.socket.close()
            assert await ends.listening.code() == 0  # nobody is left that it would wait for
            await ends.connecting.said("is ending the session: new connections go over a new one")
            await ends.connecting.said("cannot connect", "trying again")
            await ends.connecting.said("the old session with", "has ended")


async def test_what_a_client_opened_before_it_heard_of_the_end_is_carried() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0", *DRAIN) as listening:
            port = await listening.port("listening on")
            async with admitted(port) as session:
                listening.process.send_signal(signal.SIGTERM)
                await session.wait_going_away()
                connection_of(session)._common.remote_goaway = None  # what comes now is on its way already
                stream, answer = await tell(session, Purpose.CONNECT, {"host": "localhost", "port": target.port})
                assert answer == {}
                session.go_away(final=False)
                await ping(stream)
                await stream.aclose()
                assert await listening.code() == 0


async def test_remote_connections_that_wait_to_be_taken_are_carried_yet() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, tunnel("-R", f"0:localhost:{target.port}", listen=DRAIN) as ends:
            process = ends.listening.process
            process.send_signal(signal.SIGSTOP)
            # The kernel takes them. They are more than the program takes in one turn before it hears of its end.
            clients = [await trio.open_tcp_stream("127.0.0.1", ends.ports[0]) for _ in range(200)]
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            for client in clients:
                await ping(client)
                client.socket.close()
            assert await ends.listening.code() == 0


async def test_the_next_server_takes_over_while_connections_of_the_old_one_finish() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            both = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            async with tunnel(*both, listen=DRAIN, connect=("--connect-wait", "30")) as ends:
                clients = [await connected(port) for port in ends.ports]
                ends.listening.process.send_signal(signal.SIGTERM)
                await until_draining(ends, "listening")
                async with started("listen", f"127.0.0.1:{ends.port}", *DRAIN) as successor:
                    clients.append(await connected(ends.ports[0]))  # which waits for the successor
                    assert await ends.connecting.port("forwarding", "again") == ends.ports[1]
                    clients.append(await connected(ends.ports[1]))
                    found = await ends.connecting.snapshot()
                    assert [one["state"] for one in found["sessions"]] == ["draining", "connected"]
                    assert (found["ready"], found["totals"]["failed"], found["totals"]["reconnects"]) == (True, 0, 1)
                    for client in clients:
                        await ping(client)
                        await client.send_eof()
                        assert await how_it_ends(client) == "end"
                        client.socket.close()
                    assert await ends.listening.code() == 0
                    await ends.connecting.said("the old session with", "has ended")
                    assert "no longer forwards" not in ends.connecting.text
                    assert await successor.stop() == 0


async def test_a_session_that_its_client_leaves_in_order_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    """As when its stream ids are used up. It does not count against max-sessions either."""
    file = tmp_path / "tokens.toml"
    code, token, errors = await run("token", "new", "alice", "--file", str(file), "--max-sessions", "1")
    assert code == 0, errors
    who = {"client": "one", "process": "1", "slot": 0, "token": token.strip()}
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0", "--tokens", str(file), *DRAIN) as listening:
            port = await listening.port("listening on")
            place = {"host": "localhost", "port": target.port}
            async with admitted(port, **who) as old:
                stream, answer = await tell(old, Purpose.CONNECT, place)
                assert answer == {}
                old.go_away(final=False)
                await ping(stream)  # so the other end has read it
                async with admitted(port, **who) as new:
                    other, answer = await tell(new, Purpose.CONNECT, place)
                    assert answer == {}
                    for one in (stream, other):
                        await ping(one)
                    async with admitted(port, **who):  # now the second one is lost; the first one is left still
                        with pytest.raises(muxpy.SessionClosed):
                            await other.receive_some()
                    await ping(stream)
                    await stream.aclose()
                    assert (await old.wait()).error is None
