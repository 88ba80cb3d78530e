"""Either end of the forwarder when a session has used up its stream ids: another one takes over."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

import muxpy
from muxpy_cli._options import ConnectOptions
from muxpy_cli.client import _links
from muxpy_cli.client._links import Links
from muxpy_cli.relay import serve_streams
from muxpy_cli.server import _binding
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Purpose
from tests.helpers.inside import connection_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LAST = 2**31 - 1


class Ends:
    """A listening end that takes every session; the first one has two stream ids left."""

    def __init__(self) -> None:
        self.sessions: list[muxpy.Session] = []
        self.ends: list[muxpy.SessionEnd] = []

    @asynccontextmanager
    async def log_in(self, options: ConnectOptions, *_: object, **__: object) -> AsyncIterator[muxpy.Session]:
        config = muxpy.SessionConfig(drain_timeout=options.drain)
        near, far = trio.testing.memory_stream_pair()
        async with (
            muxpy.open_session(far, client=False, extensions=[]) as server,
            muxpy.open_session(near, client=True, extensions=[], config=config) as client,
            trio.open_nursery() as nursery,
        ):
            if not self.sessions:
                connection_of(client)._table._next_id = LAST - 2
            self.sessions.append(client)
            nursery.start_soon(serve_streams, server, self._echo)
            yield client
            self.ends.append(await client.wait())

    async def _echo(self, stream: muxpy.Stream) -> None:
        async for part in stream:
            await stream.send_all(part)
        await stream.send_eof()


async def ask(stream: muxpy.Stream, text: bytes) -> bytes:
    await stream.send_all(text)
    return bytes(await stream.receive_some())


async def serve(session: muxpy.Session) -> None:
    await session.wait()


@asynccontextmanager
async def linked(monkeypatch: pytest.MonkeyPatch, drain: float) -> AsyncIterator[tuple[Links, Ends]]:
    ends = Ends()
    monkeypatch.setattr(_links, "log_in", ends.log_in)
    options = ConnectOptions(address=Address("localhost", 1), drain=drain)
    links = Links(options, cast("Any", None), Console(), serve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run, links.links[0])
        yield links, ends
        nursery.cancel_scope.cancel()


async def test_when_the_ids_are_used_up_open_connections_finish_and_another_session_takes_the_next(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with linked(monkeypatch, drain=60) as (links, ends):
        first = await links.open_stream(Purpose.CONNECT)
        last = await links.open_stream(Purpose.CONNECT)
        assert (first.id, last.id) == (LAST - 2, LAST)
        assert not links.live
        begun = trio.current_time()
        stream = await links.open_stream(Purpose.CONNECT)
        assert trio.current_time() == begun
        assert (stream.id, stream.session) == (3, ends.sessions[1])
        assert await ask(stream, b"again") == b"again"
        for old in (first, last):  # those that there are go on
            async with old:
                assert await ask(old, b"still here") == b"still here"
                await old.send_eof()
                assert await old.receive_some() == b""
        await first.session.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert [(end.code, end.error) for end in ends.ends] == [(muxpy.ErrorCode.NO_ERROR, None)]


async def test_what_never_ends_does_not_keep_a_used_up_session(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with linked(monkeypatch, drain=3) as (links, ends):
        bound = await links.open_stream(Purpose.LISTEN)
        await links.open_stream(Purpose.CONNECT)
        begun = trio.current_time()
        stream = await links.open_stream(Purpose.CONNECT)
        assert stream.session is ends.sessions[1]
        with pytest.raises(trio.BrokenResourceError):
            await bound.receive_some()
        assert trio.current_time() - begun == pytest.approx(3, abs=1)


@pytest.mark.parametrize(("stream_id", "leaves"), [(LAST - 3, False), (LAST - 1, True)])
async def test_the_listening_end_leaves_a_session_that_it_has_used_up(stream_id: int, leaves: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with (
        muxpy.open_session(far, client=True, extensions=[]) as client,
        muxpy.open_session(near, client=False, extensions=[]) as server,
        trio.open_nursery() as nursery,
    ):
        connection_of(server)._table._next_id = stream_id
        opened: list[bool] = []
        peer = SimpleNamespace(session=server, nursery=nursery, has_opened=partial(opened.append, True))
        stream = await _binding._open(cast("Any", peer))
        assert (stream.id, opened) == (stream_id, [True])
        await trio.testing.wait_all_tasks_blocked()
        assert server._engine.ending.draining is leaves
        stream.reset()
        client.kill()
