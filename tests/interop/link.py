"""A muxpy session joined to the live Go peer, in either role, and what tests do with the two."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.inside import assert_read
from tests.helpers.tasks import LIMIT
from tests.interop.gopeer import GoPeer, GoPeerError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

Role: TypeAlias = Literal["client", "server"]
Opener: TypeAlias = Literal["muxpy", "go"]

QUIET = muxpy.SessionConfig(heartbeat_interval=None)
"""With `-no-heartbeat` on the Go side: nothing is on the wire but what the test puts there."""


@asynccontextmanager
async def linked(
    role: Role,
    *go_options: str,
    config: muxpy.SessionConfig | None = None,
    extensions: Iterable[muxpy.Extension] | None = None,
    patience: float = LIMIT,
) -> AsyncGenerator[tuple[muxpy.Session, GoPeer], None]:
    """Run the Go peer and a muxpy session with it over TCP; trio.TooSlowError after `patience` seconds.

    The session is closed first: a Go peer that is ended says no GOAWAY.
    """
    with trio.fail_after(patience):
        if role == "client":
            async with (
                GoPeer.listen(*go_options) as peer,
                muxpy.open_tcp_session(peer.host, peer.port, config=config, extensions=extensions) as session,
            ):
                yield session, peer
                await wait_all_tasks_blocked()
                assert_read(session)
        else:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            host, port = listener.socket.getsockname()
            async with listener, GoPeer.dial(host, port, *go_options) as peer:
                transport = await listener.accept()
                async with muxpy.open_session(transport, client=False, config=config, extensions=extensions) as session:
                    yield session, peer
                    await wait_all_tasks_blocked()
                    assert_read(session)


async def open_by(opener: Opener, session: muxpy.Session, peer: GoPeer) -> muxpy.Stream:
    """A stream that `opener` opened and the other accepted; the Go peer knows it by its id."""
    if opener == "muxpy":
        stream = await session.open_stream()
        assert (await peer.call("accept"))["stream"] == stream.id
    else:
        opened = await peer.call("open")
        stream = await session.accept_stream()
        assert opened["stream"] == stream.id
    return stream


async def check_usable(session: muxpy.Session, peer: GoPeer) -> None:
    """Whatever happened before: a stream from each side still carries bytes both ways and ends cleanly."""
    for opener in ("muxpy", "go"):
        await check_stream(await open_by(opener, session, peer), peer)


async def check_stream(stream: muxpy.Stream, peer: GoPeer) -> None:
    """Bytes go both ways on an open stream, then FINs."""
    await stream.send_all(b"to Go")
    await stream.send_eof()
    assert (await peer.call("read", stream=stream.id, max=100))["data"] == b"to Go"
    assert (await peer.call("read", stream=stream.id, max=100))["eof"]
    await peer.call("half_close", stream=stream.id, data=b"to muxpy")
    assert await read_to_end(stream) == b"to muxpy"
    await stream.aclose()


async def read_to_end(stream: muxpy.Stream) -> bytes:
    """All that the peer sends before its FIN."""
    return b"".join([chunk async for chunk in stream])


class GoRead(NamedTuple):
    """What was left to read on a stream in Go, and how it ended there: None for EOF, else Go's words."""

    data: bytes
    error: str | None


async def read_rest_in_go(peer: GoPeer, stream_id: int) -> GoRead:
    """Read what Go has of a stream, past errors that come with bytes.

    A Read of the reference returns bytes together with an error once it cannot send WND_INC any more, as after
    the end of the session; the next Read returns more of what is buffered.
    """
    data = bytearray()
    while True:
        try:
            reply, error = await peer.call("read", stream=stream_id, max=1 << 20), None
        except GoPeerError as exc:
            reply, error = exc.reply, exc.message
        data += reply["data"]
        if not reply["data"]:
            return GoRead(bytes(data), error)


def sha256(data: bytes) -> str:
    """The sum as the Go peer reports it."""
    return hashlib.sha256(data).hexdigest()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the session's statistics show; the test's own deadline ends the wait."""
    while not condition():  # noqa: ASYNC110 - the figures have no event to wait for
        await trio.sleep(0.005)
