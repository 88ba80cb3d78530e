"""What does not fit the types, or is no value at all, is an error of the call that it came with, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterable  # noqa: TC003 - the hints are read
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy import rpc
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .offered import offered

if TYPE_CHECKING:
    import muxpy

SHARED, ALONE = 0x52504301, 0x52504302
CALL, ITEM, RESULT, ERROR, CREDIT, IN_JSON = 1, 3, 4, 5, 7, 0x80
DEEP = {0: 3000 * b"\x91" + b"\xc0", IN_JSON: 1500 * b"[" + 1500 * b"]"}


class Taker:
    async def take(self, value: Any) -> Any:  # noqa: ANN401 - really anything
        pass

    async def total(self, numbers: AsyncIterable[Any]) -> int:
        return len([number async for number in numbers])

    async def sum(self, numbers: AsyncIterable[int]) -> int:
        return sum([number async for number in numbers])


def message(kind: int, body: bytes, call_id: int = 0) -> bytes:
    return len(body).to_bytes(4, "big") + bytes([kind]) + call_id.to_bytes(4, "big") + body


def request(name: str, arguments: bytes, flag: int = 0) -> bytes:
    if flag:
        return b'["%b",%b]' % (name.encode(), arguments)
    return b"\x92" + bytes([0xA0 + len(name)]) + name.encode() + arguments


async def answer(stream: muxpy.Stream) -> tuple[int, bytes]:
    """The next message that is an answer."""
    received = b""
    while True:
        while len(received) < 9 or len(received) < 9 + int.from_bytes(received[:4], "big"):
            received += await stream.receive_some()
        size = 9 + int.from_bytes(received[:4], "big")
        if received[4] != CREDIT:
            return received[4], received[9:size]
        received = received[size:]


@pytest.mark.parametrize("flag", [0, IN_JSON], ids=["msgpack", "json"])
@pytest.mark.parametrize("stream_type", [SHARED, ALONE], ids=["shared", "alone"])
@bounded()
async def test_arguments_that_are_nested_too_deeply(
    stream_type: int, flag: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with offered(Taker()) as (session, _, _), await session.open_stream(stream_type=stream_type) as stream:
        await stream.send_all(message(CALL | flag, request("Taker.take", DEEP[flag], flag), 1))
        kind, body = await answer(stream)
        assert (kind, b"InvalidArgument" in body) == (ERROR, True)
        if stream_type == SHARED:  # other calls go on
            await stream.send_all(message(CALL, request("Taker.take", b"\x91\xc0"), 2))
            assert (await answer(stream))[0] == RESULT
    assert caplog.records == []


@pytest.mark.parametrize(
    ("method", "item"), [("total", DEEP[0]), ("sum", b"\xa1x"), ("sum", b"\xc1")], ids=["deep", "type", "no-value"]
)
@bounded()
async def test_an_item_that_the_method_does_not_take(
    method: str, item: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with offered(Taker()) as (session, _, _), await session.open_stream(stream_type=ALONE) as stream:
        await stream.send_all(message(CALL, request(f"Taker.{method}", b"\x90")) + message(ITEM, item))
        kind, body = await answer(stream)
        assert (kind, b"InvalidArgument" in body) == (ERROR, True)
    assert caplog.records == []


@pytest.mark.parametrize("kind", [RESULT, ERROR], ids=["result", "error"])
@bounded()
async def test_an_answer_that_is_nested_too_deeply(kind: int) -> None:
    async def respond(stream: muxpy.Stream) -> None:
        call_id = int.from_bytes((await stream.receive_some())[5:9], "big")
        body = DEEP[0] if kind == RESULT else b"\x95\x03\xa1A\xa1b\xc2" + DEEP[0]
        await stream.send_all(message(kind, body, call_id))
        await stream.wait_ended()

    async def serve() -> None:
        await server.serve_streams(respond, cancel_handlers=True)

    async with session_pair() as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with pytest.raises(rpc.Error) as caught:
            await rpc.client(session, Taker).take(1)
        assert caught.value.code == rpc.Code.INTERNAL
        nursery.cancel_scope.cancel()
