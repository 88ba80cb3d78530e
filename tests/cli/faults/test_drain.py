"""SIGTERM and Ctrl-C: what is open may finish, for so long; nothing new begins."""

from __future__ import annotations

import signal

import pytest
import trio

import muxpy
from muxpy_cli.wire import Purpose, pack, receive_message
from tests.helpers.tasks import LIMIT

from ..program import Server, echo
from .ends import End, Ends, connected, how_it_ends, ping, tunnel

DRAIN = "--drain", "3600"
"""Longer than a test may take: what ends earlier has not waited for that."""


def the_end(ends: Ends, who: str) -> End:
    """One of the two."""
    return ends.listening if who == "listening" else ends.connecting


async def until_draining(ends: Ends, who: str) -> None:
    """Wait until it has begun."""
    await the_end(ends, who).until(lambda found: found["draining"])


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


@pytest.mark.parametrize("who", ["listening", "connecting"])
async def test_connections_that_do_not_finish_are_cut_when_the_time_is_over(who: str) -> None:
    short = "--drain", "0.5"
    with trio.fail_after(LIMIT):
        async with Server(echo) as target:
            forward = "-L", f"0:localhost:{target.port}"
            async with tunnel(*forward, listen=short, connect=short) as ends:
                client = await connected(ends.ports[0])
                begun = trio.current_time()
                assert await the_end(ends, who).stop() == 0
                assert trio.current_time() - begun >= 0.4
                assert await how_it_ends(client) == "reset"
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
                ends.listening.process.send_signal(signal.SIGTERM)
                await until_draining(ends, "listening")
                await greeting.send_all(pack({})[1:])
                answer, _ = await receive_message(greeting)
                assert answer == {"error": "in use", "reason": "it is ending"}
                late.kill()
            await ping(client)
            client.socket.close()
            assert await ends.listening.code() == 0  # nobody is left that it would wait for
            assert "the other end closed it" in await ends.connecting.said("has ended", "trying again")
