"""What callers may not do: each ends in a reset or an error that says why, costs no more than it may, and leaves the
session, the other calls and the log alone."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - of a service
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import ErrorCode, rpc
from muxpy.rpc._endpoint import MAX_SHARED
from muxpy.rpc._raw import PATIENCE, _Raw
from muxpy.rpc._wire import HEADER, IN_JSON, MAX_MESSAGE, MAX_SMALL, Kind, StreamType, pack
from tests.helpers.memory import peak
from tests.helpers.tasks import bounded

from .by_hand import alive, call_body, error_of, open_by_hand, served

if TYPE_CHECKING:
    from collections.abc import Iterator

Clock = trio.testing.MockClock

CREDIT = 1024
MIB = 1 << 20


class Service:
    """What is served."""

    def __init__(self) -> None:
        self.begun = 0
        self.running = 0

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.begun += 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def echo(self, data: bytes) -> bytes:
        return data

    async def large(self) -> bytes:
        return bytes(100_000)

    async def wait(self) -> None:
        async with self._counted():
            await trio.sleep_forever()

    async def total(self, numbers: AsyncIterable[int]) -> int:
        async with self._counted():
            return sum([number async for number in numbers])

    async def count(self, to: int) -> AsyncIterator[int]:
        async with self._counted():
            for number in range(to):
                yield number

    async def read(self, body: muxpy.Stream) -> int:
        async with self._counted():
            return sum([len(data) async for data in body])

    async def either(self, one: muxpy.Stream, other: muxpy.Stream) -> None:
        await self.wait()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A peer does not fill the log."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def goes_on(session: muxpy.Session) -> None:
    """Calls are answered, of either kind."""
    shared = await open_by_hand(session)
    await shared.call(7, "Service.echo", b"still here")
    assert await shared.answer() == (Kind.RESULT, 7, msgspec.msgpack.encode(b"still here"))
    await shared.stream.send_eof()
    assert await shared.next() is None
    alone = await open_by_hand(session, StreamType.CALL)
    await alone.call(0, "Service.count", 1)
    assert [await alone.next() for _ in range(3)] == [(Kind.ITEM, 0, b"\x00"), (Kind.END, 0, b""), None]
    await alone.stream.aclose()


def raw_streams() -> list[muxpy.Stream]:
    """Those that the answering side has."""
    return [
        stream for stream in alive(muxpy.Stream) if stream.stream_type == StreamType.RAW and not stream.session.client
    ]


# ---- on a shared stream ----


@bounded()
async def test_more_calls_than_the_credit(autojump_clock: Clock) -> None:
    service = Service()
    async with served(service) as session:
        shared = await open_by_hand(session)
        for call_id in range(CREDIT):
            await shared.call(call_id, "Service.wait")
        await wait_all_tasks_blocked()
        assert service.running == CREDIT
        for call_id in range(CREDIT, CREDIT + 2):
            await shared.call(call_id, "Service.wait")
        assert (await shared.cut()).code == ErrorCode.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
        assert service.running == 0
        await goes_on(session)


@bounded()
async def test_calls_whose_answers_are_not_read_are_calls_without_an_answer(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        shared = await open_by_hand(session)

        async def call() -> None:
            for call_id in range(50_000):
                await shared.call(call_id, "Service.echo", bytes(3000))

        with peak() as memory, pytest.raises(muxpy.StreamReset) as reset:
            await call()
        assert reset.value.code == ErrorCode.PROTOCOL_ERROR
        assert memory[0] < CREDIT * 20_000
        await goes_on(session)


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 6, 7, 8, 9, 0x7F, 0x80, 0x82, 0xFF])
@bounded()
async def test_kinds_that_a_caller_does_not_send(kind: int, autojump_clock: Clock) -> None:
    service = Service()
    async with served(service) as session:
        shared = await open_by_hand(session)
        await shared.call(1, "Service.wait")
        await shared.send(kind, 1)
        assert (await shared.cut()).code == ErrorCode.PROTOCOL_ERROR
        await wait_all_tasks_blocked()
        assert service.running == 0
        await goes_on(session)


@bounded()
async def test_an_id_that_is_in_use(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        await shared.call(1, "Service.wait")
        await shared.call(1, "Service.echo", b"")
        assert (await shared.cut()).code == ErrorCode.PROTOCOL_ERROR
        await goes_on(session)


@pytest.mark.parametrize("refused", [False, True])
@bounded()
async def test_an_id_is_free_as_soon_as_its_answer_comes_elsewhere(refused: bool, autojump_clock: Clock) -> None:
    """The task that sends the large answer leaves the next call of that id alone, also where it has to try again."""
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        await shared.call(1, "Service.large")
        assert await shared.answer() == (Kind.ELSEWHERE, 1, b"")
        await shared.call(1, "Service.wait")
        large = await session.accept_stream()
        if refused:
            large.reset(ErrorCode.REFUSED_STREAM)
            large = await session.accept_stream()
        large.reset()
        await wait_all_tasks_blocked()
        await shared.send(Kind.CANCEL, 1)
        assert error_of(await shared.answer())[0] == rpc.Code.CANCELLED
        await shared.call(1, "Service.echo", b"")
        assert (await shared.answer())[0] == Kind.RESULT


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "in-pieces"])
@bounded()
async def test_a_large_message_on_the_shared_stream(whole: bool, autojump_clock: Clock) -> None:
    """Whether it comes in one piece does not matter."""
    body = call_body("Service.echo", bytes(MAX_SMALL - len(call_body("Service.echo", bytes(300))) + 300))
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        await shared.send(Kind.CALL, 1, body)
        assert (await shared.answer())[0] == Kind.RESULT
        message = pack(Kind.CALL, 2, body + b"\0")
        await shared.stream.send_all(message[: None if whole else HEADER.size])
        assert (await shared.cut()).code == ErrorCode.PROTOCOL_ERROR
        await goes_on(session)


@bounded()
async def test_cancelling_what_was_never_called(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        for call_id in (0, 1, 0xFFFFFFFF):
            await shared.send(Kind.CANCEL, call_id)
        await shared.call(1, "Service.echo", b"")
        assert (await shared.answer())[0] == Kind.RESULT


@bounded()
async def test_calling_and_cancelling_in_turns(monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock) -> None:
    """It goes as slowly as the bucket says, in no memory, and calls on another session are answered meanwhile."""
    monkeypatch.setattr("muxpy.rpc._answers.CANCELS", 200)
    monkeypatch.setattr("muxpy.rpc._answers.CANCELS_PER_SECOND", 50)
    service = Service()
    begun, rounds = trio.current_time(), 700
    async with served(service) as session, served(Service()) as other, trio.open_nursery() as nursery:
        shared = await open_by_hand(session)
        with peak() as memory:

            async def answers() -> None:
                for _ in range(rounds):
                    assert error_of(await shared.answer())[0] == rpc.Code.CANCELLED

            nursery.start_soon(answers)
            for call_id in range(rounds):
                await shared.call(call_id, "Service.wait")
                await shared.send(Kind.CANCEL, call_id)
                if call_id == rounds // 2:
                    await goes_on(other)
        assert memory[0] < 2 * MIB
    assert service.running == 0
    assert service.begun <= rounds
    assert trio.current_time() - begun > (rounds - 200) / 50 - 1


@bounded()
async def test_only_so_many_shared_streams(autojump_clock: Clock) -> None:
    """Each of them may have a thousand calls."""
    async with served(Service()) as session:
        streams = [await open_by_hand(session) for _ in range(MAX_SHARED)]
        for shared in streams:
            await shared.call(1, "Service.echo", b"")
            await shared.answer()
        one_more = await open_by_hand(session)
        assert (await one_more.cut()).retryable
        streams[0].stream.reset()
        await wait_all_tasks_blocked()
        await goes_on(session)


# ---- requests ----

NO_REQUESTS = {
    "empty": b"",
    "cut": call_body("Service.echo", b"abc")[:-1],
    "with-more": call_body("Service.echo", b"abc") + b"\0",
    "a-map": msgspec.msgpack.encode({"method": "Service.echo"}),
    "no-arguments": msgspec.msgpack.encode(["Service.echo"]),
    "no-name": msgspec.msgpack.encode([5, []]),
    "text-that-is-none": b"\x92\xa1\xff\x90",
    "an-illegal-byte": b"\x92\xa1a\xc1",
    "a-huge-array": b"\xdd\xff\xff\xff\xff",
    "a-huge-map": b"\x92\xacService.echo\xdf\xff\xff\xff\xff",
    "a-huge-string": b"\x92\xdb\xff\xff\xff\xff",
    "huge-bytes": b"\x92\xacService.echo\x91\xc6\xff\xff\xff\xff",
    "deep": b"\x92\xacService.echo" + b"\x91" * 4000 + b"\0",
    "deep-and-cut": b"\x92\xacService.echo" + b"\x91" * 4000,
    "deep-maps": b"\x92\xacService.echo" + b"\x81\xa1a" * 1300 + b"\0",
    "arguments-that-are-no-array": msgspec.msgpack.encode(["Service.echo", 5]),
    "too-many": call_body("Service.echo", b"", b""),
    "too-few": call_body("Service.echo"),
    "of-another-type": call_body("Service.echo", 5),
    "unknown-names": msgspec.msgpack.encode(["Service.echo", {"data": b"", "other": 1}]),
    "no-number-as-timeout": msgspec.msgpack.encode(["Service.echo", [b""], "soon"]),
    "nan-as-timeout": msgspec.msgpack.encode(["Service.echo", [b""], math.nan]),
    "metadata-that-is-none": msgspec.msgpack.encode(["Service.echo", [b""], None, {"a": 1}]),
    "json-empty": (IN_JSON, b""),
    "json-cut": (IN_JSON, b'["Service.echo",["YWJj"]'),
    "json-deep": (IN_JSON, b'["Service.echo",' + b"[" * 2000 + b"]" * 2000 + b"]"),
    "json-deep-and-cut": (IN_JSON, b'["Service.echo",' + b"[" * 4000),
    "json-deep-objects": (IN_JSON, b'["Service.echo",' + b'{"":' * 1000),
    "json-no-base64": (IN_JSON, b'["Service.echo",["a"]]'),
    "json-nan": (IN_JSON, b'["Service.echo",[""],NaN]'),
    "json-infinity": (IN_JSON, b'["Service.echo",[""],1e999]'),
    "json-long-number": (IN_JSON, b'["Service.echo",[' + b"1" * 4000 + b"]]"),
}


@pytest.mark.parametrize("stream_type", [StreamType.SHARED, StreamType.CALL], ids=["shared", "alone"])
@pytest.mark.parametrize("request_body", NO_REQUESTS.values(), ids=NO_REQUESTS)
@bounded()
async def test_what_is_no_request(
    stream_type: StreamType, request_body: bytes | tuple[int, bytes], autojump_clock: Clock
) -> None:
    flag, body = request_body if isinstance(request_body, tuple) else (0, request_body)
    async with served(Service()) as session:
        hand = await open_by_hand(session, stream_type)
        await hand.send(Kind.CALL | flag, 0, body)
        kind, _, answer = await hand.answer()
        assert kind == Kind.ERROR
        code, name, *_ = (msgspec.json if flag else msgspec.msgpack).decode(answer)
        assert (code, name) == (rpc.Code.INVALID_ARGUMENT, "InvalidArgument")
        hand.stream.reset()
        await goes_on(session)


@pytest.mark.parametrize("stream_type", [StreamType.SHARED, StreamType.CALL], ids=["shared", "alone"])
@pytest.mark.parametrize(
    ("seconds", "late"),
    [(-1.0, True), (-math.inf, True), (0, True), (5, True), (1e300, False), (math.inf, False), (2**63, False)],
    ids=["negative", "minus-infinity", "zero", "five", "long", "infinity", "an-integer"],
)
@bounded()
async def test_any_number_is_a_timeout(
    stream_type: StreamType, seconds: float, late: bool, autojump_clock: Clock
) -> None:
    service = Service()
    async with served(service) as session:
        hand = await open_by_hand(session, stream_type)
        await hand.send(Kind.CALL, 0, call_body("Service.wait", timeout=seconds))
        if late:
            assert error_of(await hand.answer())[0] == rpc.Code.DEADLINE_EXCEEDED
        else:
            await trio.sleep(100)
            assert service.running == 1
            hand.stream.reset()
        await wait_all_tasks_blocked()
        assert service.running == 0
        await goes_on(session)


@bounded()
async def test_much_metadata(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        body = msgspec.msgpack.encode(["Service.echo", [b"x"], None, {str(n): "y" * 1000 for n in range(1000)}])
        assert len(body) > 1_000_000
        await alone.send(Kind.CALL, 0, body)
        assert await alone.next() == (Kind.RESULT, 0, msgspec.msgpack.encode(b"x"))


@bounded()
async def test_a_long_name_of_a_method_is_not_repeated(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "\0" * MIB)
        answer = await alone.answer()
        assert error_of(answer)[0] == rpc.Code.UNIMPLEMENTED
        assert len(answer[2]) < 2000


# ---- on a stream of its own ----


@bounded()
async def test_a_call_that_ends_in_its_middle(autojump_clock: Clock) -> None:
    """Wherever it is cut."""
    service = Service()
    whole = pack(Kind.CALL, 0, call_body("Service.wait"))
    async with served(service) as session:
        for end in range(len(whole)):
            alone = await open_by_hand(session, StreamType.CALL)
            await alone.stream.send_all(whole[:end], end=True)
            assert await alone.stream.wait_ended() is not None or end == 0
        assert service.begun == 0
        await goes_on(session)


@bounded()
async def test_a_call_that_does_not_begin_with_the_call(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        for kind in (0, Kind.ITEM, Kind.CREDIT, 0xFF):
            alone = await open_by_hand(session, StreamType.CALL)
            await alone.send(kind)
            code, *_ = (msgspec.json if kind & IN_JSON else msgspec.msgpack).decode((await alone.answer())[2])
            assert code == rpc.Code.INVALID_ARGUMENT
            assert await alone.next() is None
        await goes_on(session)


@bounded()
async def test_a_message_that_is_too_large(autojump_clock: Clock) -> None:
    """It is refused as soon as its length is there."""
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.stream.send_all(HEADER.pack(MAX_MESSAGE + 1, Kind.CALL, 0))
        assert error_of(await alone.answer())[0] == rpc.Code.RESOURCE_EXHAUSTED
        await goes_on(session)


@bounded()
async def test_a_thousand_large_messages_that_begin(monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock) -> None:
    """All of one session have a budget: those beyond it are refused, and what is given up makes room."""
    monkeypatch.setattr("muxpy.rpc._reading.MAX_UNFINISHED", 4 * MIB)
    begun = HEADER.pack(MAX_MESSAGE, Kind.CALL, 0) + bytes(8192)
    async with served(Service()) as session:
        calls = [await open_by_hand(session, StreamType.CALL) for _ in range(1000)]
        with peak() as memory:
            for alone in calls:
                await alone.stream.send_all(begun)
            await wait_all_tasks_blocked()
        room = 4 * MIB // len(begun)
        assert memory[0] < 16 * MIB
        for alone in calls[room:]:
            assert error_of(await alone.answer())[0] == rpc.Code.RESOURCE_EXHAUSTED
        for alone in calls[:room]:
            with pytest.raises(trio.WouldBlock):
                alone.stream.receive_nowait()
            alone.stream.reset()
        await wait_all_tasks_blocked()
        await calls[-1].stream.aclose()
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "Service.echo", bytes(3 * MIB))
        assert (await alone.answer())[0] == Kind.RESULT


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (pack(Kind.ITEM, 0, b"\xc1"), rpc.Code.INVALID_ARGUMENT),
        (pack(Kind.ITEM, 0, b"\xa1a"), rpc.Code.INVALID_ARGUMENT),
        (pack(Kind.ITEM, 0, b"\x91" * 4000), rpc.Code.INVALID_ARGUMENT),
        (pack(Kind.CALL, 0, call_body("Service.wait")), rpc.Code.INVALID_ARGUMENT),
        (pack(0xFF, 0), rpc.Code.INVALID_ARGUMENT),
        (HEADER.pack(MAX_MESSAGE + 1, Kind.ITEM, 0), rpc.Code.RESOURCE_EXHAUSTED),
    ],
    ids=["no-msgpack", "of-another-type", "deep", "another-call", "an-unknown-kind", "too-large"],
)
@bounded()
async def test_what_is_no_item(rest: bytes, code: rpc.Code, autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "Service.total")
        await alone.send(Kind.ITEM, 0, b"\x01")
        await alone.stream.send_all(rest)
        assert error_of(await alone.answer())[0] == code
        await goes_on(session)


@pytest.mark.parametrize("more", [b"", pack(Kind.ITEM, 0, b"\x01")[:-1]], ids=["none", "half-an-item"])
@bounded()
async def test_items_without_their_end_are_not_all(more: bytes, autojump_clock: Clock) -> None:
    """A caller that ends its stream without a word has broken off: its handler does not take the part for the whole."""
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "Service.total")
        await alone.stream.send_all(pack(Kind.ITEM, 0, b"\x01") + more, end=True)
        assert error_of(await alone.answer())[0] == rpc.Code.CANCELLED
        await goes_on(session)


@bounded()
async def test_an_unknown_method_with_many_items_is_said_to_be_unknown(autojump_clock: Clock) -> None:
    """Though items are still on their way that nobody reads."""
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "Service.nothing")
        await wait_all_tasks_blocked()
        for _ in range(10):
            await alone.send(Kind.ITEM, 0, bytes(1000))
        assert error_of(await alone.answer())[0] == rpc.Code.UNIMPLEMENTED


@bounded()
async def test_items_for_a_method_that_takes_none(autojump_clock: Clock) -> None:
    """Nobody reads them: they are over with the call."""
    async with served(Service()) as session:
        alone = await open_by_hand(session, StreamType.CALL)
        await alone.call(0, "Service.echo", b"x")
        await alone.send(Kind.ITEM, 0, bytes(1000))
        assert await alone.answer() == (Kind.RESULT, 0, msgspec.msgpack.encode(b"x"))

        async def send_on() -> None:
            while True:
                await alone.send(Kind.ITEM, 0, bytes(1000))
                await trio.sleep(0.1)

        with pytest.raises(muxpy.StreamReset):
            await send_on()
        await goes_on(session)


# ---- streams of other kinds ----


@pytest.mark.parametrize("stream_type", [0, 1, StreamType.SHARED - 1, StreamType.RAW + 1])
@bounded()
async def test_streams_that_are_for_nothing(stream_type: int, autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        assert (await (await open_by_hand(session, stream_type)).cut()).retryable
        await goes_on(session)


@pytest.mark.parametrize(
    "sent",
    [b"", b"\0\0", pack(Kind.RESULT, 1, b"\xc0"), HEADER.pack(MAX_MESSAGE + 1, 4, 1), HEADER.pack(9, 4, 1)],
    ids=["nothing", "half-a-header", "an-answer", "too-large", "half-a-message"],
)
@bounded()
async def test_an_answer_for_nobody(sent: bytes, autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        hand = await open_by_hand(session, StreamType.ANSWER)
        await hand.stream.send_all(sent, end=True)
        await hand.cut()
        await goes_on(session)


@bounded()
async def test_raw_streams_that_nobody_names(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        begun = trio.current_time()
        raw = [await open_by_hand(session, StreamType.RAW) for _ in range(20)]
        assert all([(await hand.cut()).retryable for hand in raw])
        assert trio.current_time() - begun == pytest.approx(PATIENCE, abs=1)
        await wait_all_tasks_blocked()
        assert raw_streams() == []
        await goes_on(session)


@bounded()
async def test_raw_streams_that_are_opened_and_reset_leave_nothing(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        for _ in range(20):
            hand = await open_by_hand(session, StreamType.RAW)
            await hand.stream.send_all(b"x")
            await wait_all_tasks_blocked()
            hand.stream.reset()
        await wait_all_tasks_blocked()
        assert raw_streams() == []


@bounded()
async def test_calls_that_wait_for_streams_and_are_cancelled_leave_nothing(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        for stream_id in range(1001, 1021):
            await shared.call(stream_id, "Service.read", stream_id)
            await wait_all_tasks_blocked()
            await shared.send(Kind.CANCEL, stream_id)
            assert error_of(await shared.answer())[0] == rpc.Code.CANCELLED
        assert alive(_Raw) == []


@bounded()
async def test_a_stream_that_does_not_come(autojump_clock: Clock) -> None:
    async with served(Service()) as session:
        shared = await open_by_hand(session)
        for stream_id in (1, 2, 3, 0x7FFFFFFF):
            await shared.call(stream_id, "Service.read", stream_id)
            assert error_of(await shared.answer())[0] == rpc.Code.INVALID_ARGUMENT
        for no_id in (0, -1, 1 << 31, None):
            await shared.call(5, "Service.read", no_id)
            assert error_of(await shared.answer())[0] == rpc.Code.INVALID_ARGUMENT


@pytest.mark.parametrize("opened", [True, False], ids=["opened-before", "opened-later"])
@bounded()
async def test_a_stream_that_is_named_twice_goes_to_one_call(opened: bool, autojump_clock: Clock) -> None:
    service = Service()
    async with served(service) as session:
        shared = await open_by_hand(session)
        raw = await session.open_stream(stream_type=StreamType.RAW)
        if opened:
            await raw.send_all(b"abc")
            await wait_all_tasks_blocked()
        await shared.call(1, "Service.read", raw.id)
        await shared.call(2, "Service.read", raw.id)
        await shared.call(3, "Service.either", raw.id, raw.id)
        await wait_all_tasks_blocked()
        await raw.send_all(b"def", end=True)
        answers = sorted([await shared.answer() for _ in range(3)])
        assert [kind for kind, _, _ in answers] == [Kind.RESULT, Kind.ERROR, Kind.ERROR]
        assert answers[0][2] == (b"\x06" if opened else b"\x03")
        assert {error_of(answer)[0] for answer in answers[1:]} == {rpc.Code.INVALID_ARGUMENT}
        await goes_on(session)
