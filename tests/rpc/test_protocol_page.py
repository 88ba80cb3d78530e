"""What docs/rpc-protocol.md says is what is sent and understood."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable  # noqa: TC003 - of a service
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
import trio

from muxpy import rpc
from muxpy.rpc import _answers, _endpoint, _raw, _reading, _wire
from muxpy.rpc._wire import HEADER, IN_JSON, Kind, Messages, StreamType, pack
from tests.helpers.tasks import bounded

from .by_hand import ByHand, calling, open_by_hand, served

PAGE: Final = (Path(__file__).parents[2] / "docs" / "rpc-protocol.md").read_text()


class Vector(NamedTuple):
    """A row of the table."""

    kind: int
    call_id: int
    in_json: bool
    value: str
    sent: bytes

    @property
    def body(self) -> bytes:
        encode = msgspec.json.encode if self.in_json else msgspec.msgpack.encode
        return encode(json.loads(self.value)) if self.value else b""


def vectors() -> list[Vector]:
    rows = re.findall(r"^\| ([A-Z]+)(, JSON)? \| ([\d,]+) \| (?:`(.*?)`)? \| `([0-9a-f]+)` \|$", PAGE, re.MULTILINE)
    return [
        Vector(
            Kind[name] | (IN_JSON if in_json and name == "CALL" else 0),
            int(call_id.replace(",", "")),
            bool(in_json),
            value,
            bytes.fromhex(sent),
        )
        for name, in_json, call_id, value, sent in rows
    ]


VECTORS: Final = vectors()
IDS: Final = [f"{Kind(vector.kind & 0x7F).name}_{number}" for number, vector in enumerate(VECTORS)]


def vector(kind: int, call_id: int, value: str = "", *, in_json: bool = False) -> bytes:
    """The bytes of a row."""
    [found] = [row.sent for row in VECTORS if row[:4] == (kind, call_id, in_json, value)]
    return found


class Calculator:
    """What the vectors call."""

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def div(self, a: int, b: int) -> float:
        if b == 0:
            raise rpc.InvalidArgument("division by zero")
        return a / b

    async def total(self, numbers: AsyncIterable[int]) -> int:
        return sum([number async for number in numbers])


def test_every_kind_has_a_vector() -> None:
    assert {row.kind & ~IN_JSON for row in VECTORS} == set(Kind)


@pytest.mark.parametrize("row", VECTORS, ids=IDS)
def test_vectors_both_ways(row: Vector) -> None:
    assert pack(row.kind, row.call_id, row.body) == row.sent
    assert Messages(4096).feed(row.sent) == [(row.kind, row.call_id, row.body)]


@pytest.mark.parametrize("most", range(1, 14))
def test_messages_cut_anywhere(most: int) -> None:
    """Pieces of any size give the same messages, and an unfinished one is known by its id."""
    sent = b"".join(row.sent for row in VECTORS)
    messages = Messages(4096)
    found = [message for begin in range(0, len(sent), most) for message in messages.feed(sent[begin : begin + most])]
    assert found == [(row.kind, row.call_id, row.body) for row in VECTORS]
    assert messages.unfinished == 0
    row = VECTORS[0]
    for size in range(1, len(row.sent)):
        messages = Messages(4096)
        assert messages.feed(row.sent[:size]) == []
        assert messages.unfinished == size
        assert messages.unfinished_id == (row.call_id if size >= HEADER.size else None)
        assert messages.feed(row.sent[size:]) == [(row.kind, row.call_id, row.body)]


@pytest.mark.parametrize("cut", range(len(VECTORS[0].sent) + HEADER.size + 1))
def test_what_is_too_large_is_so_in_any_pieces(cut: int) -> None:
    sent = VECTORS[0].sent + pack(Kind.RESULT, 5, bytes(101))
    messages = Messages(100)
    found = [*messages.feed(sent[:cut]), *messages.feed(sent[cut:])] if cut < len(sent) else messages.feed(sent)
    assert len(found) == 1
    assert messages.too_large is not None


@bounded()
async def test_calls_are_answered_as_the_page_says(autojump_clock: trio.testing.MockClock) -> None:
    divided = '[3, "InvalidArgument", "division by zero", false, null]'
    async with served(Calculator()) as session:
        shared = await open_by_hand(session)
        assert await receive(shared, vector(Kind.CREDIT, 896))
        await shared.stream.send_all(vector(Kind.CALL, 1, '["Calculator.add", [1, 2]]'))
        assert await receive(shared, vector(Kind.RESULT, 1, "3"))
        await shared.stream.send_all(vector(Kind.CALL, 0xFFFFFFFF, '["Calculator.div", [1, 0], null, {"user": "ann"}]'))
        assert await receive(shared, vector(Kind.ERROR, 0xFFFFFFFF, divided))
        await shared.stream.send_all(
            vector(Kind.CALL | IN_JSON, 2, '["Calculator.add", {"a": 1, "b": 2}, 1.5]', in_json=True)
        )
        assert await receive(shared, pack(Kind.RESULT, 2, b"3"))
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.stream.send_all(
            vector(Kind.CALL, 0, '["Calculator.total", []]')
            + vector(Kind.ITEM, 0, "200")
            + vector(Kind.ITEM, 0, "200")
            + vector(Kind.END, 0),
            end=True,
        )
        assert await alone.next() == (Kind.RESULT, 0, msgspec.msgpack.encode(400))
        assert await alone.next() is None


async def receive(hand: ByHand, expected: bytes) -> bool:
    """Whether exactly this comes next."""
    received = b""
    while len(received) < len(expected):
        received += await hand.stream.receive_some(len(expected) - len(received))
    return received == expected


@pytest.mark.parametrize("in_json", [False, True], ids=["msgpack", "json"])
@bounded()
async def test_calls_are_made_as_the_page_says(in_json: bool, autojump_clock: trio.testing.MockClock) -> None:
    flag = IN_JSON if in_json else 0
    async with calling() as (client, server), trio.open_nursery() as nursery:
        calculator = rpc.client(client, Calculator, json=in_json)

        async def answer() -> None:
            shared = ByHand(await server.accept_stream())
            assert await receive(shared, vector(Kind.CALL | flag, 1, '["Calculator.add", [1, 2]]', in_json=in_json))
            await shared.stream.send_all(vector(Kind.RESULT, 1, "3", in_json=in_json))

        nursery.start_soon(answer)
        with trio.CancelScope(shield=True):  # a call without a deadline
            assert await calculator.add(1, 2) == 3

        async def count() -> None:
            alone = ByHand(await server.accept_stream())
            if not in_json:
                assert await receive(alone, vector(Kind.CALL, 0, '["Calculator.total", []]'))
            else:
                assert await alone.next() == (Kind.CALL | IN_JSON, 0, b'["Calculator.total",[]]')
            assert await receive(alone, vector(Kind.ITEM, 0, "200", in_json=in_json))
            assert await receive(alone, vector(Kind.END, 0))
            assert await alone.next() is None
            await alone.send(Kind.RESULT, 0, b"\x05" if not in_json else b"5")

        async def numbers() -> AsyncIterable[int]:
            yield 200

        nursery.start_soon(count)
        with trio.CancelScope(shield=True):
            assert await calculator.total(numbers()) == 5


@bounded()
async def test_errors_in_json(autojump_clock: trio.testing.MockClock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = ByHand(await server.accept_stream())
            for _ in range(4):
                await shared.answer()
            [error] = [row for row in VECTORS if row.kind == Kind.ERROR and row.in_json]
            await shared.stream.send_all(error.sent)
            for call_id in (1, 2, 3):
                await shared.send(Kind.RESULT, call_id, b"1")

        nursery.start_soon(answer)
        errors = []

        async def call() -> None:
            try:
                await rpc.client(client, Calculator, json=True).add(1, 0)
            except rpc.InvalidArgument as error:
                errors.append(error.message)

        async with trio.open_nursery() as calls:
            for _ in range(4):
                calls.start_soon(call)
        assert errors == ["division by zero"]


def test_the_tables_have_all_streams_and_kinds() -> None:
    streams = re.findall(r"^\| `(0x\w+)` \| ([A-Z]+) \|", PAGE, re.MULTILINE)
    assert {name: int(number, 16) for number, name in streams} == {kind.name: kind.value for kind in StreamType}
    kinds = re.findall(r"^\| (\d) \| ([A-Z]+) \|", PAGE, re.MULTILINE)
    assert {name: int(number) for number, name in kinds} == {kind.name: kind.value for kind in Kind}


def test_the_limits() -> None:
    table = PAGE[PAGE.index("| of muxpy | |") : PAGE.index("## Vectors")]
    said = [int(number.replace(",", "")) for row in table.splitlines()[2:] for number in re.findall(r"\d[\d,]*\d", row)]
    assert said == [
        _wire.MAX_SMALL + HEADER.size,
        _wire.MAX_MESSAGE,
        _reading.MAX_UNFINISHED,
        _answers.MAX_CALLS,
        _endpoint.LARGE_ANSWERS,
        _answers.CANCELS,
        _answers.CANCELS_PER_SECOND,
        _raw.PATIENCE,
    ]
    assert f"| {_endpoint.MAX_SHARED} |" in table
