"""Before it is admitted, a peer gets what it takes to say who it is, and no more."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import DATA, MIN_EXTENSION_TYPE, RST, encode_syn
from muxpy.proto._limits import LOGIN_FRAMES
from muxpy.session._group import turns_of
from muxpy.transport._base import LOGIN_BYTES
from tests.frame import wire
from tests.helpers.load import until
from tests.helpers.pairs import client_context, server_context, tcp_pair
from tests.helpers.raw_peer import RawPeer, data
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG = muxpy.SessionConfig(wants_login=True, heartbeat_interval=None, linger_timeout=0.2)
KINDS = pytest.mark.parametrize("kind", ["tcp", "tls", "stream"])


@asynccontextmanager
async def stranger(
    kind: str, config: muxpy.SessionConfig = CONFIG, group: muxpy.SessionGroup | None = None
) -> AsyncIterator[tuple[muxpy.Session, RawPeer]]:
    """A session that wants a login, and its peer."""
    near: trio.abc.Stream
    far: trio.abc.Stream
    near, far = trio.testing.memory_stream_pair() if kind == "stream" else await tcp_pair()
    context = server_context() if kind == "tls" else None
    async with trio.open_nursery() as nursery:
        if kind == "tls":
            far = trio.SSLStream(far, client_context(), server_hostname="127.0.0.1", https_compatible=True)
            nursery.start_soon(far.do_handshake)
        async with (
            far,
            muxpy.open_session(near, client=False, ssl_context=context, config=config, group=group) as session,
        ):
            yield session, RawPeer(cast("trio.abc.HalfCloseableStream", far))
            session.kill()


@bounded()
@KINDS
async def test_it_has_one_stream_and_one_of_an_extension(kind: str) -> None:
    async with stranger(kind) as (session, peer):
        for stream_id, stream_type in ((3, 1), (5, 1), (7, MIN_EXTENSION_TYPE), (9, MIN_EXTENSION_TYPE)):
            await peer.send(encode_syn(stream_id, 0, stream_type))
        for refused in (5, 9):
            assert (await peer.expect(RST, refused)).code == muxpy.ErrorCode.REFUSED_STREAM
        assert (await session.accept_stream()).id == 3
        session.admit()
        await peer.send(encode_syn(11))
        assert (await session.accept_stream()).id == 11


@bounded()
@KINDS
async def test_its_heartbeat_is_answered_when_it_is_admitted(kind: str) -> None:
    async with stranger(kind) as (session, peer):
        await peer.send(encode_syn(3, 0, MIN_EXTENSION_TYPE), data(3, b"beat"), encode_syn(5))
        stream = await session.accept_stream()
        await wait_all_tasks_blocked()  # so whoever would answer the heartbeat has had time for it
        await stream.send_all(b"hello")
        assert (await peer.expect(DATA, 5)).body == b"hello"  # and nothing before it
        session.admit()
        assert (await peer.expect(DATA, 3)).body == b"beat"
        session.admit()  # again: nothing more
        await peer.send(data(3, b"more"))
        assert (await peer.expect(DATA, 3)).body == b"more"


@bounded()
@KINDS
async def test_it_sends_so_many_frames(kind: str) -> None:
    async with stranger(kind) as (session, peer):
        await peer.send(encode_syn(3), *[data(3, b"x")] * (LOGIN_FRAMES - 1))
        await until(lambda: session.statistics().frames_received == LOGIN_FRAMES)
        assert session._engine.ending.end is None
        await peer.send(data(3, b"x"))
        end = await session.wait()
        assert isinstance(end.error, muxpy.ProtocolError)
        assert "64 frames before it was let in" in str(end.error)


@bounded()
@KINDS
async def test_it_sends_so_many_bytes(kind: str) -> None:
    async with stranger(kind) as (session, peer):
        await peer.send(encode_syn(3), wire.data(3, bytes(LOGIN_BYTES // 2)), wire.data(3, bytes(LOGIN_BYTES // 2)))
        end = await session.wait()
        assert f"more than {LOGIN_BYTES} bytes before it was let in" in str(end.error)
        assert session.statistics().bytes_received <= LOGIN_BYTES


@bounded()
@KINDS
async def test_to_the_last_byte(kind: str) -> None:
    async with stranger(kind) as (session, peer):
        overhead = 2 * 8 + 8  # the frames' headers
        sent = LOGIN_BYTES - overhead - 3000 * (kind == "tls")  # of which TLS takes less
        await peer.send(encode_syn(3), wire.data(3, bytes(8000)), wire.data(3, bytes(sent - 8000)))
        stream = await session.accept_stream()
        received = 0
        while received < sent:
            received += len(await stream.receive_some())
        await wait_all_tasks_blocked()
        session.admit()
        await peer.send(wire.data(3, b"more"))
        assert await stream.receive_some() == b"more"


@bounded()
async def test_ciphertext_counts() -> None:
    async with stranger("tls") as (session, peer):
        await peer.send(encode_syn(3))
        with suppress(trio.BrokenResourceError):  # it need not wait for all
            for _ in range(LOGIN_FRAMES - 2):  # 22 bytes of TLS and 8 of a header for each
                await peer.send(wire.data(3, bytes(235)))
        end = await session.wait()
        assert "bytes before it was let in" in str(end.error)
        assert session.statistics().bytes_received < LOGIN_BYTES - 20 * LOGIN_FRAMES


@bounded()
@KINDS
async def test_who_is_admitted_sends_what_it_likes(kind: str) -> None:
    async with stranger(kind, replace(CONFIG, receive_budget=1 << 20)) as (session, peer):
        await peer.send(encode_syn(3), data(3, b"let me in"))
        stream = await session.accept_stream()
        assert await stream.receive_some() == b"let me in"
        assert session.statistics().receive_budget_left == 0
        session.admit()
        assert session.statistics().receive_budget_left == 1 << 20
        received = 0
        for _ in range(20):
            await peer.send(*[data(3, bytes(100))] * 100)
            while received % 10_000 or not received:
                received += len(await stream.receive_some())
            received = 0


@bounded()
async def test_a_session_that_has_ended_may_be_admitted_all_the_same() -> None:
    async with stranger("tcp") as (session, _):
        session.kill()
        session.admit(muxpy.SessionGroup())
        await session.wait()


@bounded()
async def test_it_changes_its_group() -> None:
    strangers, users = muxpy.SessionGroup(), muxpy.SessionGroup()
    async with stranger("tcp", group=strangers) as (one, _), stranger("tcp", group=strangers) as (two, _):
        assert turns_of(strangers).crowded
        one.admit(users)
        assert not turns_of(strangers).crowded
        two.admit(users)
        assert turns_of(users).crowded
        one.kill()
        await one.wait()
        assert not turns_of(users).crowded
