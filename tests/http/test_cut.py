"""The transport is cut at every byte of a conversation: all wake, and a part never passes for the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy import http
from tests.helpers.cuts import cut_anywhere, every_cut
from tests.helpers.inside import assert_read
from tests.helpers.links import Channel, Clip, pipe_pair
from tests.helpers.tasks import bounded, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Clock = trio.testing.MockClock

CONFIG = http.Config(drain_timeout=2, linger_timeout=1, send_date=False)
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
    tunnelled: dict[str, bytes] = field(default_factory=dict)
    ends: dict[str, muxpy.SessionEnd] = field(default_factory=dict)
    waiters: int = 0  # tasks that have not come to an end

    async def ask(self, client: http.Client, number: int) -> None:
        """In one of the ways to ask: with bytes, in full duplex with trailers, or with an iterable."""
        self.waiters += 1
        question = QUESTIONS[number]
        path = f"/{number}"
        try:
            if number == 1:
                response = await client.request("POST", path, {"a": "b"}, question)
            elif number == 2:
                response = await client.open("POST", path)
                await response.send_all(question)
                await response.finish({"sum": str(len(question))})
                await response.started()
            else:
                response = await client.request("POST", path, body=nothing())
            self.complete[f"answer {number}"] = await response.read()
            if number == 2:
                assert response.trailers == {"sum": "29"}
        except FAILURES as error:
            self.failed[f"asking {number}"] = error
        self.waiters -= 1

    async def tunnel(self, client: http.Client) -> None:
        self.waiters += 1
        try:
            async with client.tunnel("a:1") as stream:
                await stream.send_all(b"through", end=True)
                self.tunnelled["answer"] = await read_all(stream)
        except FAILURES as error:
            self.failed["tunnel"] = error
        self.waiters -= 1

    async def handler(self, exchange: http.Exchange) -> None:
        self.waiters += 1
        try:
            if exchange.request.method == "CONNECT":
                await exchange.start(200)
                data = await read_all(exchange)
                self.tunnelled["question"] = data
                await exchange.send_all(data)
            else:
                await self.answer(exchange)
        except FAILURES as error:
            self.failed[f"answering {exchange.request.path}"] = error
        finally:
            self.waiters -= 1

    async def answer(self, exchange: http.Exchange) -> None:
        number = int(exchange.request.path[1:])
        question = await read_all(exchange)
        self.complete[f"question {number}"] = question
        if number == 2:
            assert exchange.trailers is not None
            await exchange.inform(103)
            await exchange.start(200)
            await exchange.send_all(answer_to(question))
            await exchange.finish({"sum": str(len(question) + 2)})
        else:
            await exchange.respond(200, {"c": "d"}, answer_to(question))

    async def ask_all(self, transport: trio.abc.Stream) -> None:
        async with http.connect("http://a", stream=transport, config=CONFIG) as client:
            async with trio.open_nursery() as nursery:
                for number in QUESTIONS:
                    nursery.start_soon(self.ask, client, number)
                nursery.start_soon(self.tunnel, client)
            await client.session.aclose()
            self.ends["client"] = await client.session.wait()
            assert_read(client.session)

    async def serve(self, transport: trio.abc.Stream) -> None:
        try:
            await http.serve_stream(self.handler, transport, config=CONFIG)
        except muxpy.SessionClosed as error:
            if error.end is not None:
                self.ends["server"] = error.end


async def nothing() -> AsyncIterator[bytes]:
    parts: list[bytes] = []
    for part in parts:
        yield part


async def converse(to_server: Channel, to_client: Channel) -> Conversation:
    conversation = Conversation()
    one, two = pipe_pair(to_server, to_client)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.serve, two)
            nursery.start_soon(conversation.ask_all, one)
    return conversation


def check(conversation: Conversation) -> None:
    assert conversation.waiters == 0
    assert "client" in conversation.ends
    for name, received in conversation.complete.items():
        what, number = name.split()
        question = QUESTIONS[int(number)]
        assert received == (question if what == "question" else answer_to(question)), f"short data for {name}"
    assert set(conversation.tunnelled.values()) <= {b"through"}, "a part passed for the whole"
    for error in conversation.failed.values():
        assert str(error)
        if isinstance(error, muxpy.SessionClosed) and not isinstance(error, muxpy.SessionGoingAway):
            assert error.end is not None


@bounded(600)
async def test_the_whole_conversation(autojump_clock: Clock) -> None:
    conversation = await converse(Channel(), Channel())
    check(conversation)
    assert not conversation.failed
    assert len(conversation.complete) == 2 * len(QUESTIONS)
    assert conversation.tunnelled == {"question": b"through", "answer": b"through"}
    assert conversation.ends["client"].error is None
    assert "server" not in conversation.ends


@every_cut
@bounded(100_000)
async def test_cut_anywhere(
    direction: str, capacity: float, error: Callable[[], Exception] | None, step: int, autojump_clock: Clock
) -> None:
    await cut_anywhere(converse, check, direction, capacity, error, step)


@bounded(600)
async def test_cutting_both_directions_at_once(autojump_clock: Clock) -> None:
    for offset in range(0, 400, 3):
        check(await converse(Channel(clip=Clip(offset)), Channel(clip=Clip(offset))))
