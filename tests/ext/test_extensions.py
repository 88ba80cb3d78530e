"""Extensions: streams of their own types, a task in the session, and what their failure does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import GOAWAY, MIN_EXTENSION_TYPE, RST, encode_syn
from tests.helpers.pairs import session_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import assert_echo, bounded, read_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Clock = trio.testing.MockClock


class Mailbox:
    """An extension: notes what the streams of its type say."""

    def __init__(self, stream_type: int = MIN_EXTENSION_TYPE + 7) -> None:
        self.stream_type = stream_type
        self.letters: list[bytes] = []
        self.over: list[BaseException] = []

    async def run(self, session: muxpy.Session, accept: Callable[[], Awaitable[muxpy.Stream]]) -> None:
        try:
            while True:
                async with await accept() as stream:
                    self.letters.append(await read_all(stream))
        except BaseException as error:
            self.over.append(error)
            raise


class Failing:
    """An extension with a bug."""

    stream_type = MIN_EXTENSION_TYPE + 8

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self, session: muxpy.Session, accept: Callable[[], Awaitable[muxpy.Stream]]) -> None:
        await accept()
        raise self.error


@bounded()
async def test_an_extension_gets_the_streams_of_its_type(autojump_clock: Clock) -> None:
    one, two = Mailbox(), Mailbox(MIN_EXTENSION_TYPE + 9)
    async with session_pair(server_extensions=[one, two]) as (client, server):
        for number, mailbox in enumerate((one, two, one)):
            async with await client.open_stream(stream_type=mailbox.stream_type) as stream:
                await stream.send_all(b"letter %d" % number)
        await wait_all_tasks_blocked()
        assert one.letters == [b"letter 0", b"letter 2"]
        assert two.letters == [b"letter 1"]
        # Nothing of this was for the application, whose streams go on.
        await assert_echo(client, server)


@bounded()
async def test_extension_streams_do_not_need_the_backlog(autojump_clock: Clock) -> None:
    mailbox = Mailbox()
    config = muxpy.SessionConfig(accept_backlog=1)
    async with session_pair(server_config=config, server_extensions=[mailbox]) as (client, server):
        unaccepted = await client.open_stream()
        await wait_all_tasks_blocked()
        assert server.statistics().backlog == 1
        for number in range(3):
            async with await client.open_stream(stream_type=mailbox.stream_type) as stream:
                await stream.send_all(b"%d" % number)
            await wait_all_tasks_blocked()
        assert mailbox.letters == [b"0", b"1", b"2"]
        unaccepted.reset()


@bounded()
async def test_serve_streams_leaves_extensions_their_streams(autojump_clock: Clock) -> None:
    mailbox = Mailbox()
    async with session_pair(server_extensions=[mailbox]) as (client, server), trio.open_nursery() as nursery:
        served = []

        async def handler(stream: muxpy.Stream) -> None:
            served.append(await read_all(stream))

        nursery.start_soon(server.serve_streams, handler)
        for stream_type in (mailbox.stream_type, 5):
            async with await client.open_stream(stream_type=stream_type) as stream:
                await stream.send_all(b"%d" % stream_type)
        await wait_all_tasks_blocked()
        assert mailbox.letters == [b"%d" % mailbox.stream_type]
        assert served == [b"5"]
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_type_that_no_one_registered_is_reset(autojump_clock: Clock) -> None:
    async with raw_session(client=False) as (session, peer):
        await peer.send(encode_syn(3, 0, MIN_EXTENSION_TYPE), encode_syn(5, 0, 0xFFFFFFFF))
        for stream_id in (3, 5):
            assert (await peer.expect(RST, stream_id)).code == muxpy.ErrorCode.STREAM_CLOSED
        # The largest type that is the application's.
        await peer.send(encode_syn(7, 0, MIN_EXTENSION_TYPE - 1))
        stream = await session.accept_stream()
        assert stream.stream_type == MIN_EXTENSION_TYPE - 1
        stream.reset()


@bounded()
async def test_an_extension_ends_with_its_session(autojump_clock: Clock) -> None:
    mailbox = Mailbox()
    async with raw_session(client=False, extensions=[mailbox]) as (_, peer):
        await peer.aclose()
        await wait_all_tasks_blocked()
        assert isinstance(mailbox.over[0], muxpy.SessionClosed | trio.Cancelled)


@bounded()
async def test_accept_is_a_checkpoint_also_when_the_session_has_ended(autojump_clock: Clock) -> None:
    """An extension that asks again and again holds up nobody."""
    asked = 0

    class Asking:
        stream_type = MIN_EXTENSION_TYPE + 7

        async def run(self, session: muxpy.Session, accept: Callable[[], Awaitable[muxpy.Stream]]) -> None:
            nonlocal asked
            for _ in range(3):
                with trio.testing.assert_checkpoints(), pytest.raises(muxpy.SessionClosed):
                    await accept()
                asked += 1

    async with raw_session(client=False, extensions=[Asking()]) as (session, _):
        await wait_all_tasks_blocked()
        await session.aclose()
    assert asked == 3


@pytest.mark.parametrize("types", [[1], [muxpy.MIN_EXTENSION_TYPE - 1], [2**32], [muxpy.MIN_EXTENSION_TYPE] * 2])
@bounded()
async def test_an_extension_that_cannot_be_registered_is_refused(types: list[int]) -> None:
    near, far = memory_stream_pair()
    with pytest.raises(ValueError, match="stream_type"):
        async with muxpy.open_session(near, client=True, extensions=map(Mailbox, types)):
            pass
    assert await far.receive_some() == b""  # the transport was closed


@pytest.mark.parametrize("wrong", [-1, 0xFFFFFEFE, 2**32])
@bounded()
async def test_the_error_for_a_wrong_type_has_both_bounds(wrong: int) -> None:
    near, _ = memory_stream_pair()
    words = f"an extension's stream_type must lie between 0xfffffeff and 0xffffffff, not {wrong:#x}"
    with pytest.raises(ValueError, match=f"^{words}$"):
        async with muxpy.open_session(near, client=True, extensions=[Mailbox(wrong)]):
            pass


@bounded()
async def test_an_extension_may_return_early(autojump_clock: Clock) -> None:
    class Early:
        stream_type = MIN_EXTENSION_TYPE + 1

        async def run(self, session: muxpy.Session, accept: Callable[[], Awaitable[muxpy.Stream]]) -> None:
            await trio.lowlevel.checkpoint()

    async with session_pair(client_extensions=[Early()]) as (client, server):
        await wait_all_tasks_blocked()
        await assert_echo(client, server)


@bounded()
async def test_an_extension_that_fails_ends_the_session(
    autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012 - the block is what raises
        async with raw_session(client=False, extensions=[Failing(error)]) as (session, peer):
            stream = await session.open_stream()
            await peer.send(encode_syn(3, 0, Failing.stream_type))
            with pytest.raises(muxpy.SessionClosed) as closed:
                await stream.receive_some()
            assert closed.value.__cause__ is error
            assert (await peer.rest())[-1].kind == GOAWAY
            end = await session.wait()
            assert end.code == muxpy.ErrorCode.INTERNAL_ERROR
            assert end.error is error
    assert caught.value is error
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


@bounded()
async def test_the_peer_of_an_extension_that_fails_learns_the_code(autojump_clock: Clock) -> None:
    with pytest.raises(ValueError, match="a bug"):  # noqa: PT012 - the block is what raises
        async with raw_session(client=False, extensions=[Failing(ValueError("a bug"))]) as (_, peer):
            await peer.send(encode_syn(3, 0, Failing.stream_type), data(3, b"x"))
            goaway = (await peer.rest())[-1]
            assert goaway.kind == GOAWAY
            assert goaway.code == muxpy.ErrorCode.INTERNAL_ERROR
            assert goaway.debug == "internal error"


@bounded()
async def test_an_exception_of_the_block_itself_comes_out_with_the_bug_as_the_reason(autojump_clock: Clock) -> None:
    """The block fails because the session did: what comes out leads to the bug either way."""
    error = ValueError("a bug")
    with pytest.raises(muxpy.SessionClosed) as caught:  # noqa: PT012 - the block is what raises
        async with raw_session(client=False, extensions=[Failing(error)]) as (session, peer):
            await peer.send(encode_syn(3, 0, Failing.stream_type))
            await session.accept_stream()
    assert caught.value.__cause__ is error
