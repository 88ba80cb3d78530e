"""What the listening end remembers of its users while their sessions come and go, and what a reload meets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest
import trio
import trio.testing

import muxpy
from muxpy_cli._garbage import Garbage
from muxpy_cli._options import ListenOptions
from muxpy_cli.access import Limits, User
from muxpy_cli.relay import refuse
from muxpy_cli.relay._streams import SPARE_STREAMS
from muxpy_cli.server import Server
from muxpy_cli.server._bindings import Bindings
from muxpy_cli.server._door import Greeting
from muxpy_cli.server._ending import follow_rules
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Refused

if TYPE_CHECKING:
    from muxpy_cli.server._peer import Peer

ALICE = User(name="alice", limits=Limits(sessions=2))
NO_FIGURES = SimpleNamespace(bytes_received=0, bytes_sent=0)


def admit(server: Server, nursery: trio.Nursery | None = None) -> Peer:
    """A session of alice's, as it looks to the server."""
    session = cast(
        "Any", SimpleNamespace(statistics=lambda: NO_FIGURES, go_away=Mock(), aclose=Mock(), allow_streams=Mock())
    )
    return server.admit(
        session, Greeting(ALICE, "client", "", 0, cast("Any", None)), "127.0.0.1:9", cast("Any", nursery)
    )


async def test_sessions_that_end_late_do_not_make_room_for_more_than_the_limit() -> None:
    server = Server(ListenOptions(address=Address("127.0.0.1", 0)), Console())
    early, late = admit(server), admit(server)
    for peer in (early, late):
        peer.end()  # their connections still deliver what came
    server.dismiss(early, None)
    third = admit(server)
    server.dismiss(late, None)
    fourth = admit(server)
    assert fourth.usage is third.usage
    with pytest.raises(Refused, match="max-sessions = 2"):
        admit(server)
    for peer in (third, fourth):
        server.dismiss(peer, None)
    assert not server._peers._usages


async def test_what_a_session_takes_follows_the_users_limits() -> None:
    server = Server(ListenOptions(address=Address("127.0.0.1", 0)), Console())
    peer = admit(server)
    allowed = cast("Mock", peer.session.allow_streams)
    allowed.assert_called_once_with(4096 + 64 + SPARE_STREAMS)  # connections, forwards, and those refused in words
    for streams, expected in ((10_000, 10_000 + 64 + SPARE_STREAMS), (5, 1024)):
        peer.usage.change(peer.usage.rules, replace(peer.usage.limits, streams=streams))
        await follow_rules([peer], Bindings(lambda one: one, Console()), Console(), Garbage())
        assert allowed.call_args.args == (expected,)


async def test_a_reload_meets_a_session_that_ends_this_very_moment() -> None:
    async with trio.open_nursery() as nursery:
        pass
    server = Server(ListenOptions(address=Address("127.0.0.1", 0)), Console())
    peer = admit(server, nursery)
    peer.revoked = True
    await follow_rules([peer], Bindings(lambda one: one, Console()), Console(), Garbage())


async def test_a_stream_that_was_reset_here_meanwhile_is_refused_without_an_error() -> None:
    near, far = trio.testing.memory_stream_pair()
    async with muxpy.open_session(near, client=True) as client, muxpy.open_session(far, client=False) as server:
        await (await client.open_stream()).send_all(b"x")
        stream = await server.accept_stream()
        stream.reset()
        await refuse(stream, Refused("timeout", "too late"))
        client.kill()
