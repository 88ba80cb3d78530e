"""The transport is cut at every byte offset of a conversation: all wake, and a part never passes for the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.cuts import cut_anywhere, every_cut
from tests.helpers.inside import assert_read, may_open
from tests.helpers.links import Channel, Clip, pipe_pair
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

Clock = trio.testing.MockClock

CONFIG = muxpy.SessionConfig(drain_timeout=2, linger_timeout=1)
QUESTIONS = {1: b"who is there?", 2: b"one" * 9, 3: b""}
FAILURES = (muxpy.StreamReset, muxpy.SessionClosed)
LIMIT = 30  # seconds on the mock clock: more than all timeouts together


def answer_to(question: bytes) -> bytes:
    return b"<" + question[::-1] + b">"


@dataclass
class Conversation:
    """What each side got: data with the peer's word that it is all, or the error that stopped it."""

    complete: dict[str, bytes] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    ends: dict[str, muxpy.SessionEnd] = field(default_factory=dict)
    asked: int = 0  # questions; in some protocols only one side asks
    waiters: int = 0  # tasks that have not come to an end

    async def receive(self, name: str, stream: muxpy.Stream) -> bytes | None:
        received = b""
        try:
            while part := await stream.receive_some():
                received += part
        except FAILURES as error:
            self.failed[name] = error
            self.parts[name] = received
            return None
        self.complete[name] = received
        return received

    async def ask(self, session: muxpy.Session, side: str, number: int) -> None:
        self.waiters += 1
        try:
            async with await session.open_stream(priority=number, stream_type=number) as stream:
                await stream.send_all(QUESTIONS[number])
                await stream.send_eof()
                await self.receive(f"{side} {number} answer", stream)
        except FAILURES as error:
            self.failed[f"{side} {number} asking"] = error
        self.waiters -= 1

    async def answer(self, side: str, stream: muxpy.Stream) -> None:
        self.waiters += 1
        name = f"{side} {stream.stream_type} question"
        question = await self.receive(name, stream)
        if question is not None:
            try:
                await stream.send_all(answer_to(question))
            except FAILURES as error:
                self.failed[f"{side} {stream.stream_type} answering"] = error
            await stream.aclose()
        else:
            stream.reset()
        self.waiters -= 1

    async def accept(self, session: muxpy.Session, side: str) -> None:
        self.waiters += 1
        async with trio.open_nursery() as nursery:
            try:
                async for stream in session:
                    nursery.start_soon(self.answer, side, stream)
            except muxpy.SessionClosed as error:
                self.failed[f"{side} accepting"] = error
        self.waiters -= 1

    async def take_part(self, transport: trio.abc.Stream, client: bool, asked: trio.Event) -> None:
        side = "client" if client else "server"
        async with muxpy.open_session(transport, client=client, config=CONFIG, extensions=[]) as session:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.accept, session, side)
                async with trio.open_nursery() as asking:
                    for number in QUESTIONS if may_open(session) else ():
                        self.asked += 1
                        asking.start_soon(self.ask, session, side, number)
                if client:
                    # The client leaves once both sides have asked; the server hears of it by the GOAWAY.
                    with trio.move_on_after(CONFIG.drain_timeout):
                        await asked.wait()
                    await session.aclose()
                else:
                    asked.set()
            self.ends[side] = await session.wait()
            assert_read(session)


async def converse(to_server: Channel, to_client: Channel) -> Conversation:
    conversation = Conversation()
    one, two = pipe_pair(to_server, to_client)
    asked = trio.Event()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.take_part, one, True, asked)
            nursery.start_soon(conversation.take_part, two, False, asked)
    return conversation


def check(conversation: Conversation) -> None:
    assert conversation.waiters == 0
    assert set(conversation.ends) == {"client", "server"}
    for name, received in conversation.complete.items():
        _, number, what = name.split()
        question = QUESTIONS[int(number)]
        assert received == (question if what == "question" else answer_to(question)), f"short data for {name}"
    for name, received in conversation.parts.items():
        _, number, what = name.split()
        question = QUESTIONS[int(number)]
        assert (question if what == "question" else answer_to(question)).startswith(received)
    for error in conversation.failed.values():
        if isinstance(error, muxpy.SessionClosed) and not isinstance(error, muxpy.SessionGoingAway):
            assert error.end is not None
            assert error.end in conversation.ends.values()


@bounded(600)
async def test_the_whole_conversation(autojump_clock: Clock) -> None:
    conversation = await converse(Channel(), Channel())
    check(conversation)
    assert not conversation.failed
    assert len(conversation.complete) == 2 * conversation.asked
    assert conversation.asked >= len(QUESTIONS)
    for end in conversation.ends.values():
        assert end.error is None


@every_cut
@bounded(100_000)
async def test_cut_anywhere(
    direction: str, capacity: float, error: Callable[[], Exception] | None, step: int, autojump_clock: Clock
) -> None:
    await cut_anywhere(converse, check, direction, capacity, error, step)


@bounded(600)
async def test_cutting_both_directions_at_once(autojump_clock: Clock) -> None:
    for offset in range(0, 300, 3):
        conversation = await converse(Channel(clip=Clip(offset)), Channel(clip=Clip(offset)))
        check(conversation)


@bounded(600)
async def test_a_cut_after_a_fin_keeps_what_the_fin_completed(autojump_clock: Clock) -> None:
    """The session breaks, but one stream was whole before: that one reads to its end."""
    to_server = Channel()
    one, two = pipe_pair(to_server, Channel())
    async with muxpy.open_session(two, client=False, extensions=[]) as server:
        async with muxpy.open_session(one, client=True, extensions=[]) as client:
            whole, part = await client.open_stream(), await client.open_stream()
            await whole.send_all(b"whole")
            await whole.aclose()
            await part.send_all(b"part")
            accepted = [await server.accept_stream() for _ in range(2)]
            await wait_all_tasks_blocked()  # all is written: small messages may be on their way to the next write
            client.kill()
        end = await server.wait()
        assert end.error is not None
        assert await accepted[0].receive_some() == b"whole"
        assert await accepted[0].receive_some() == b""
        assert await accepted[1].receive_some() == b"part"
        with pytest.raises(muxpy.SessionClosed) as caught:
            await accepted[1].receive_some()
        assert caught.value.end is end
