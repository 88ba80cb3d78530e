"""Limits that a session sets to its peer while it lives, and a server to clients that have none yet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from tests.helpers.pairs import server_context, session_pair
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from trio.testing import MockClock


@bounded()
async def test_streams_can_be_allowed_while_the_session_lives() -> None:
    async with session_pair("memory") as (client, server):
        server.allow_streams(0)
        refused = await client.open_stream()
        with pytest.raises(muxpy.StreamReset) as caught:
            await refused.receive_some()
        assert caught.value.code is muxpy.ErrorCode.REFUSED_STREAM
        server.allow_streams(1)
        await client.open_stream()
        await server.accept_stream()
        with pytest.raises(ValueError, match="most"):
            server.allow_streams(-1)


async def test_a_client_that_says_nothing_of_tls_is_left(
    caplog: pytest.LogCaptureFixture, mock_clock: MockClock
) -> None:
    async def handler(_: muxpy.Session) -> None:
        raise AssertionError("there is no session")

    caplog.set_level("INFO", "muxpy")
    serve = partial(muxpy.serve_tcp_sessions, handler, 0, host="127.0.0.1", ssl_context=server_context())
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        async with await trio.open_tcp_stream(*listener.socket.getsockname()[:2]) as silent:
            while "no TLS handshake within" not in caplog.text:
                await trio.lowlevel.checkpoint()
                mock_clock.jump(1)
            assert await silent.receive_some() == b""
        nursery.cancel_scope.cancel()
