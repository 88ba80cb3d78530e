"""Calls by the names of methods, with JSON for all values."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - the hints are read
from contextlib import aclosing
from datetime import date  # noqa: TC003 - the hints are read

import pytest
import trio
import trio.lowlevel
import trio.testing

import muxpy
from muxpy import rpc
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .offered import offered


class OutOfMoney(rpc.Error, code=rpc.Code.FAILED_PRECONDITION, details=int):
    pass


class Bank:
    def __init__(self) -> None:
        self.cancelled = trio.Event()

    async def add(self, a: int, b: int = 5) -> int:
        return a + b

    async def tomorrow(self, day: date, stamp: bytes) -> tuple[date, bytes]:
        return day.replace(day=day.day + 1), stamp

    def count(self, to: int) -> AsyncIterator[int]:
        return self._count(to)

    async def _count(self, to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
            await trio.lowlevel.checkpoint()
        finally:
            self.cancelled.set()

    async def total(self, numbers: AsyncIterable[int]) -> int:
        return sum([number async for number in numbers])

    async def doubled(self, numbers: AsyncIterable[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    async def large(self, size: int) -> str:
        return size * "x"

    async def pay(self) -> None:
        raise OutOfMoney("only 5", details=5)

    async def who(self) -> dict[str, str]:
        return dict(rpc.current_call().metadata)

    async def hang(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


async def all_of(session: muxpy.Session, method: str, arguments: str = "{}") -> list[str]:
    return [text async for text in rpc.call_json(session, method, arguments)]


async def texts(*values: str) -> AsyncIterator[str]:
    for value in values:
        yield value


@bounded()
async def test_arguments_by_name_and_by_place() -> None:
    async with offered(Bank()) as (session, _, _):
        assert await all_of(session, "Bank.add", ' {"b":\n2, "a": 1}') == ["3"]
        assert await all_of(session, "Bank.add", "[1]") == ["6"]
        assert await all_of(session, "Bank.who") == ["{}"]
        assert [text async for text in rpc.call_json(session, "Bank.who", metadata={"a": "ü"})] == ['{"a":"ü"}']


@bounded()
async def test_what_json_has_no_words_for_is_text() -> None:
    async with offered(Bank()) as (session, _, _):
        arguments = '{"day": "2026-11-29", "stamp": "AAE="}'
        assert await all_of(session, "Bank.tomorrow", arguments) == ['["2026-11-30","AAE="]']


@bounded()
async def test_items_in_each_direction() -> None:
    async with offered(Bank()) as (session, _, _):
        assert await all_of(session, "Bank.count", "[3]") == ["0", "1", "2"]
        assert await all_of(session, "Bank.count", "[0]") == []
        total = rpc.call_json(session, "Bank.total", items=texts("1", " 2"))
        assert [text async for text in total] == ["3"]
        doubled = rpc.call_json(session, "Bank.doubled", items=texts("1", "2"))
        assert [text async for text in doubled] == ["2", "4"]


@bounded()
async def test_large_values() -> None:
    async with offered(Bank()) as (session, _, _):
        assert await all_of(session, "Bank.large", "[100000]") == [f'"{100000 * "x"}"']


@bounded()
async def test_errors_are_those_of_a_client() -> None:
    async with offered(Bank()) as (session, _, _):
        with pytest.raises(OutOfMoney, match="only 5") as caught:
            await all_of(session, "Bank.pay")
        assert caught.value.details == 5
        with pytest.raises(rpc.InvalidArgument, match=r"Expected `int`, got `str` - at `.*a`"):
            await all_of(session, "Bank.add", '{"a": "x"}')
        with pytest.raises(rpc.InvalidArgument, match="missing required field `a`"):
            await all_of(session, "Bank.add", "{}")
        with pytest.raises(rpc.Unimplemented, match=r"no method 'Bank\.sub'"):
            await all_of(session, "Bank.sub")
        assert await all_of(session, "Bank.add", "[1]") == ["6"]


@pytest.mark.parametrize("text", ["", "{", "[1], null", "[1] [2]", "nul", "5", '"a"', "[" * 100_000, "[\udc80]"])
@bounded()
async def test_what_is_no_json_is_not_sent(text: str) -> None:
    async with offered(Bank()) as (session, _, _):
        before = session.statistics().streams_opened
        with pytest.raises(ValueError, match=r"JSON|truncated|nested|surrogates"):
            await all_of(session, "Bank.add", text)
        assert session.statistics().streams_opened == before


@bounded()
async def test_an_item_that_is_no_json_ends_the_call() -> None:
    async with offered(Bank()) as (session, _, _):
        with pytest.raises(ValueError, match="JSON is malformed"):
            _ = [text async for text in rpc.call_json(session, "Bank.total", items=texts("1", "x"))]


@bounded()
async def test_cancelling_and_leaving_early_reach_the_handler() -> None:
    bank = Bank()
    async with offered(bank) as (session, _, _):
        async with aclosing(rpc.call_json(session, "Bank.count", "[1000000]")) as numbers:
            async for _ in numbers:
                break
        await bank.cancelled.wait()
        bank.cancelled = trio.Event()
        with trio.move_on_after(0.01):
            await all_of(session, "Bank.hang")
        await bank.cancelled.wait()


@bounded()
async def test_a_deadline_travels(autojump_clock: trio.testing.MockClock) -> None:
    bank = Bank()
    async with offered(bank) as (session, _, _):
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):  # either side may be the first to see it
            await all_of(session, "Bank.hang")
        await bank.cancelled.wait()


async def answering(body: bytes, session: muxpy.Session) -> None:
    async def answer(stream: muxpy.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(body, end=True)

    await session.serve_streams(answer)


def message(kind: int, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + bytes([kind]) + bytes(4) + body


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (message(5, b"x"), "cannot be understood"),
        (message(4, b"[1"), "is no JSON"),
        (message(4, b'"\xff"'), "is no JSON"),
        (message(4, b"[" * 100_000), "nested too deeply"),
        (message(1, b"[]"), "a message of kind 1"),
        (message(4, b"[]")[:-1], "in the middle of a message"),
    ],
    ids=["error", "half", "no-utf-8", "deep", "kind", "cut"],
)
@bounded()
async def test_answers_of_a_peer_that_breaks_the_rules(answer: bytes, words: str) -> None:
    async with session_pair() as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(answering, answer, server)
        with pytest.raises(rpc.Error, match=words):
            await all_of(session, "A.b")
        nursery.cancel_scope.cancel()


@bounded()
async def test_white_space_of_a_peer_is_left_out() -> None:
    async with session_pair() as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(answering, message(3, b'{\n "a" :1.50}\n') + message(3, b"1e400") + message(8, b""), server)
        assert await all_of(session, "A.b") == ['{"a":1.50}', "1e400"]
        nursery.cancel_scope.cancel()
