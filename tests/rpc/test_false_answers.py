"""What the answering side may not do: the call that it concerns ends with an error that says why, and others go on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - of a service
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy import ErrorCode, rpc
from muxpy.rpc._endpoint import endpoint_of
from muxpy.rpc._wire import HEADER, MAX_MESSAGE, Kind, StreamType, pack
from tests.helpers.memory import peak
from tests.helpers.tasks import bounded

from .by_hand import ByHand, calling, open_by_hand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

Clock = trio.testing.MockClock

encode = msgspec.msgpack.encode
MIB = 1 << 20


class Strange(rpc.Error, code=rpc.Code.ABORTED):
    """Is made in a way of its own."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Detailed(rpc.Error, code=rpc.Code.ABORTED, details=list[int]):
    """Has details of a type."""


@rpc.service
class Service(Protocol):
    """What is called."""

    async def echo(self, data: bytes) -> bytes: ...
    async def total(self, numbers: AsyncIterable[int]) -> int: ...
    def count(self, to: int) -> AsyncIterator[int]: ...
    async def fetch(self) -> muxpy.Stream: ...


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A peer does not fill the log."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def accept(server: muxpy.Session, stream_type: int = StreamType.SHARED) -> ByHand:
    """The next stream, which is of this type."""
    stream = await server.accept_stream()
    assert stream.stream_type == stream_type
    return ByHand(stream)


async def failure(call: Callable[[], Awaitable[object]]) -> rpc.Error:
    """The error that a call raises."""
    with pytest.raises(rpc.Error) as error:
        await call()
    return error.value


async def goes_on(client: muxpy.Session, server: muxpy.Session, shared: ByHand | None = None) -> None:
    """A call is answered: on this shared stream, or on a new one."""
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            hand = shared or await accept(server)
            kind, call_id, _ = await hand.answer()
            assert kind == Kind.CALL
            await hand.send(Kind.RESULT, call_id, encode(b"still here"))

        nursery.start_soon(answer)
        assert await rpc.client(client, Service).echo(b"") == b"still here"


# ---- on the shared stream ----

FALSE = {
    "an-answer-for-nobody": [pack(Kind.RESULT, 99, encode(b""))],
    "an-id-of-zero": [pack(Kind.RESULT, 0, encode(b""))],
    "an-error-for-nobody": [pack(Kind.ERROR, 99)],
    "elsewhere-for-nobody": [pack(Kind.ELSEWHERE, 99)],
    "elsewhere-twice": [pack(Kind.ELSEWHERE, 1), pack(Kind.ELSEWHERE, 1)],
    "elsewhere-and-here": [pack(Kind.ELSEWHERE, 1), pack(Kind.RESULT, 1, encode(b""))],
    "a-call": [pack(Kind.CALL, 1)],
    "a-cancel": [pack(Kind.CANCEL, 1)],
    "an-item": [pack(Kind.ITEM, 1, encode(b""))],
    "an-end": [pack(Kind.END, 1)],
    "kind-0": [pack(0, 1)],
    "kind-9": [pack(9, 1)],
    "kind-132": [pack(0x84, 1)],
    "too-large": [HEADER.pack(MAX_MESSAGE + 1, Kind.RESULT, 1)],
    "much-too-large": [HEADER.pack(0xFFFFFFFF, Kind.RESULT, 1)],
}


@pytest.mark.parametrize("sent", FALSE.values(), ids=FALSE)
@bounded()
async def test_what_breaks_the_shared_stream(sent: list[bytes], autojump_clock: Clock) -> None:
    """All calls on it end, and may have been carried out; the next one takes a new stream."""
    errors = []
    async with calling() as (client, server):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                errors.append(await failure(lambda: rpc.client(client, Service).echo(b"x")))

            for _ in range(3):
                nursery.start_soon(call)
            shared = await accept(server)
            assert {(await shared.answer())[1] for _ in range(3)} == {1, 2, 3}
            await shared.stream.send_all(b"".join(sent))
            assert (await shared.cut()).code == ErrorCode.PROTOCOL_ERROR
        assert [(type(error), error.retryable) for error in errors] == [(rpc.Unavailable, False)] * 3
        await goes_on(client, server)


@bounded()
async def test_an_answer_twice(autojump_clock: Clock) -> None:
    """The first one counts, and then the stream is broken."""
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = await accept(server)
            await shared.answer()
            await shared.stream.send_all(2 * pack(Kind.RESULT, 1, encode(b"one")))
            await shared.cut()

        nursery.start_soon(answer)
        assert await rpc.client(client, Service).echo(b"x") == b"one"
        await goes_on(client, server)


@bounded()
async def test_credit_without_end(autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = await accept(server)
            await shared.answer()
            with peak() as memory:
                for _ in range(2000):
                    await shared.send(Kind.CREDIT, 0xFFFFFFFF)
                    await shared.send(Kind.CREDIT, 0)
                await wait_all_tasks_blocked()
            assert memory[0] < MIB
            await shared.send(Kind.RESULT, 1, encode(b"one"))

        nursery.start_soon(answer)
        assert await rpc.client(client, Service).echo(b"x") == b"one"


@bounded()
async def test_without_credit_calls_wait(autojump_clock: Clock) -> None:
    """And may be cancelled meanwhile, which the other side does not even see."""
    async with calling() as (client, server), trio.open_nursery() as nursery:
        answered = 0

        async def call() -> None:
            nonlocal answered
            await rpc.client(client, Service).echo(b"x")
            answered += 1

        for _ in range(200):
            nursery.start_soon(call)
        shared = await accept(server)
        ids = [(await shared.answer())[1] for _ in range(128)]
        with trio.move_on_after(1) as waited:
            await shared.answer()
        assert waited.cancelled_caught
        with trio.move_on_after(1):
            await rpc.client(client, Service).echo(b"in vain")
        await shared.send(Kind.CREDIT, 22)
        ids += [(await shared.answer())[1] for _ in range(22)]
        for call_id in ids:
            await shared.send(Kind.RESULT, call_id, encode(b""))
        for _ in range(50):
            await shared.send(Kind.RESULT, (await shared.answer())[1], encode(b""))
        await wait_all_tasks_blocked()
        assert answered == 200


@bounded()
async def test_ids_begin_again_and_leave_out_those_in_use(autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:
        endpoint_of(client)._ids = chain([0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 1])
        answers: list[bytes] = []

        async def call() -> None:
            answers.append(await rpc.client(client, Service).echo(b"x"))

        for _ in range(3):
            nursery.start_soon(call)
        shared = await accept(server)
        ids = [(await shared.answer())[1] for _ in range(3)]
        assert ids == [0xFFFFFFFE, 0xFFFFFFFF, 1]
        for call_id in ids:
            await shared.send(Kind.RESULT, call_id, encode(b""))


@pytest.mark.parametrize(
    "how", [lambda shared: shared.stream.reset(ErrorCode.REFUSED_STREAM), None], ids=["refused", "ended"]
)
@bounded()
async def test_a_shared_stream_that_is_not_taken_is_tried_again(
    how: Callable[[ByHand], None] | None, autojump_clock: Clock
) -> None:
    """Refused, or ended in order without an answer: nothing was done."""
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def refuse() -> None:
            for _ in range(3):
                shared = await accept(server)
                await shared.answer()
                if how is None:
                    await shared.stream.send_eof()
                    assert await shared.next() is None  # the caller ends its direction too
                else:
                    how(shared)
            shared = await accept(server)
            await shared.send(Kind.RESULT, (await shared.answer())[1], encode(b"at last"))

        nursery.start_soon(refuse)
        assert await rpc.client(client, Service).echo(b"x") == b"at last"


@bounded()
async def test_a_reset_of_the_shared_stream_is_not_tried_again(autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def reset() -> None:
            shared = await accept(server)
            await shared.answer()
            shared.stream.reset(ErrorCode.INTERNAL_ERROR)

        nursery.start_soon(reset)
        error = await failure(lambda: rpc.client(client, Service).echo(b"x"))
        assert isinstance(error, rpc.Unavailable)
        assert not error.retryable
        await goes_on(client, server)


@bounded()
async def test_a_session_that_ends_in_order_says_nothing_of_calls_without_an_answer(autojump_clock: Clock) -> None:
    """They may have been carried out."""
    async with calling(muxpy.SessionConfig(drain_timeout=1)) as (client, server), trio.open_nursery() as nursery:
        errors = []

        async def call() -> None:
            errors.append(await failure(lambda: rpc.client(client, Service).echo(b"x")))

        nursery.start_soon(call)
        shared = await accept(server)
        await shared.answer()
        await client.aclose()
        await wait_all_tasks_blocked()
        assert [(type(error), error.retryable) for error in errors] == [(rpc.Unavailable, False)]


# ---- answers that cannot be understood ----

NO_RESULTS = {
    "empty": b"",
    "no-msgpack": b"\xc1",
    "of-another-type": encode("text"),
    "cut": encode(b"abc")[:-1],
    "with-more": encode(b"abc") + b"\0",
    "deep": b"\x91" * 4000,
    "huge": b"\xc6\xff\xff\xff\xff",
}


@pytest.mark.parametrize("body", NO_RESULTS.values(), ids=NO_RESULTS)
@bounded()
async def test_what_is_no_result(body: bytes, autojump_clock: Clock) -> None:
    await answered_with(Kind.RESULT, body, rpc.Code.INTERNAL)


NO_ERRORS = {
    "empty": b"",
    "no-msgpack": b"\xc1",
    "no-array": encode("text"),
    "too-short": encode([5, "NotFound"]),
    "no-code": encode(["5", "NotFound", ""]),
    "deep-details": b"\x95\x05\xa1a\xa1a\xc2" + b"\x91" * 4000 + b"\0",
    "wrong-details": encode([10, "Detailed", "", False, ["text"]]),
}


@pytest.mark.parametrize("body", NO_ERRORS.values(), ids=NO_ERRORS)
@bounded()
async def test_what_is_no_error(body: bytes, autojump_clock: Clock) -> None:
    await answered_with(Kind.ERROR, body, rpc.Code.INTERNAL)


ERRORS = {
    "unknown": (encode([99, "Nobody", "text"]), rpc.Error, 99),
    "a-huge-code": (encode([(1 << 64) - 1, "Nobody", "text"]), rpc.Error, (1 << 64) - 1),
    "made-in-another-way": (encode([10, "Strange", "text"]), Strange, 10),
    "without-details": (encode([10, "Detailed", "text", False, None]), Detailed, 10),
    "with-more": (encode([10, "Strange", "text", False, None, 1, 2]), Strange, 10),
    "of-ours": (encode([14, "Unavailable", "text"]), rpc.Unavailable, 14),
}


@pytest.mark.parametrize(("body", "kind", "code"), ERRORS.values(), ids=ERRORS)
@bounded()
async def test_errors_of_any_name(body: bytes, kind: type[rpc.Error], code: int, autojump_clock: Clock) -> None:
    error = await answered_with(Kind.ERROR, body, code)
    assert type(error) is kind
    assert error.message == "text"
    assert error.details is None
    assert "text" in str(error)


async def answered_with(kind: int, body: bytes, code: int) -> rpc.Error:
    """A call gets this answer, and raises an error with this code; the stream goes on."""
    async with calling() as (client, server), trio.open_nursery() as nursery:
        shared: list[ByHand] = []

        async def answer() -> None:
            shared.append(await accept(server))
            await shared[0].answer()
            await shared[0].send(kind, 1, body)

        nursery.start_soon(answer)
        error = await failure(lambda: rpc.client(client, Service).echo(b"x"))
        assert error.code == code
        await goes_on(client, server, shared[0])
    return error


# ---- large answers ----


@bounded()
async def test_an_answer_elsewhere_that_never_comes(autojump_clock: Clock) -> None:
    """The call waits as for any handler that does not end, and leaves nothing when it is given up."""
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = await accept(server)
            await shared.answer()
            await shared.send(Kind.ELSEWHERE, 1)
            await goes_on(client, server, shared)

        nursery.start_soon(answer)
        with trio.move_on_after(50) as limit:
            await rpc.client(client, Service).echo(b"x")
        assert limit.cancelled_caught
        assert endpoint_of(client).waiting == 0
        late = await open_by_hand(server, StreamType.ANSWER)
        await late.send(Kind.RESULT, 1, encode(b"late"))
        await late.cut()


BROKEN = {
    "ended": (pack(Kind.RESULT, 1, encode(bytes(5000)))[:100], True, rpc.Code.UNAVAILABLE),
    "reset": (pack(Kind.RESULT, 1, encode(bytes(5000)))[:100], False, rpc.Code.UNAVAILABLE),
    "after-its-header": (HEADER.pack(5000, Kind.RESULT, 1), True, rpc.Code.UNAVAILABLE),
    "too-large": (HEADER.pack(MAX_MESSAGE + 1, Kind.RESULT, 1), True, rpc.Code.RESOURCE_EXHAUSTED),
    "no-answer": (pack(Kind.ITEM, 1, encode(b"x")), True, rpc.Code.INTERNAL),
}


@pytest.mark.parametrize("said", [True, False], ids=["said", "not-said"])
@pytest.mark.parametrize(("sent", "ended", "code"), BROKEN.values(), ids=BROKEN)
@bounded()
async def test_a_large_answer_that_breaks(
    said: bool,
    sent: bytes,
    ended: bool,
    code: rpc.Code,
    autojump_clock: Clock,
) -> None:
    """Its caller does not wait for it. The word that it comes elsewhere may be late."""
    async with calling() as (client, server), trio.open_nursery() as nursery:
        shared: list[ByHand] = []

        async def answer() -> None:
            shared.append(await accept(server))
            await shared[0].answer()
            if said:
                await shared[0].send(Kind.ELSEWHERE, 1)
            hand = await open_by_hand(server, StreamType.ANSWER)
            await hand.stream.send_all(sent, end=ended)
            await wait_all_tasks_blocked()
            if not ended:
                hand.stream.reset()
            if not said:
                await shared[0].send(Kind.ELSEWHERE, 1)

        nursery.start_soon(answer)
        assert (await failure(lambda: rpc.client(client, Service).echo(b"x"))).code == code
        await goes_on(client, server, shared[0])
        assert endpoint_of(client).waiting == 0


@bounded()
async def test_a_large_answer_twice(autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = await accept(server)
            await shared.answer()
            for _ in range(2):
                hand = await open_by_hand(server, StreamType.ANSWER)
                await hand.send(Kind.RESULT, 1, encode(b"large"))
                await hand.stream.send_eof()
                await hand.stream.wait_ended()
            await shared.send(Kind.ELSEWHERE, 1)
            await goes_on(client, server, shared)

        nursery.start_soon(answer)
        assert await rpc.client(client, Service).echo(b"x") == b"large"


# ---- on a stream of its own ----

ALONE = {
    "nothing": (b"", rpc.Code.UNAVAILABLE),
    "half-a-header": (b"\0\0", rpc.Code.UNAVAILABLE),
    "half-an-answer": (pack(Kind.RESULT, 0, encode(b"abc"))[:-1], rpc.Code.UNAVAILABLE),
    "no-answer": (pack(Kind.CREDIT, 5), rpc.Code.INTERNAL),
    "an-item": (pack(Kind.ITEM, 0, encode(b"abc")), rpc.Code.INTERNAL),
    "too-large": (HEADER.pack(MAX_MESSAGE + 1, Kind.RESULT, 0), rpc.Code.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize(("sent", "code"), ALONE.values(), ids=ALONE)
@bounded()
async def test_what_answers_no_call(sent: bytes, code: rpc.Code, autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            alone = await accept(server, StreamType.CALL)
            await alone.answer()
            await alone.stream.send_all(sent, end=True)

        nursery.start_soon(answer)
        error = await failure(lambda: rpc.client(client, Service, priority=1).echo(b"x"))
        assert error.code == code
        assert not error.retryable
        await goes_on(client, server)


MANY = {
    "no-end": (b"", rpc.Code.UNAVAILABLE),
    "no-msgpack": (pack(Kind.ITEM, 0, b"\xc1"), rpc.Code.INTERNAL),
    "of-another-type": (pack(Kind.ITEM, 0, encode("x")), rpc.Code.INTERNAL),
    "deep": (pack(Kind.ITEM, 0, b"\x91" * 4000), rpc.Code.INTERNAL),
    "a-result": (pack(Kind.RESULT, 0, encode(1)), rpc.Code.INTERNAL),
    "half-an-item": (pack(Kind.ITEM, 0, encode(5))[:-1], rpc.Code.UNAVAILABLE),
    "too-large": (HEADER.pack(MAX_MESSAGE + 1, Kind.ITEM, 0), rpc.Code.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize(("sent", "code"), MANY.values(), ids=MANY)
@bounded()
async def test_many_values_that_break(sent: bytes, code: rpc.Code, autojump_clock: Clock) -> None:
    """A part of them is never taken for all."""
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            alone = await accept(server, StreamType.CALL)
            await alone.answer()
            await alone.stream.send_all(pack(Kind.ITEM, 0, encode(1)) + sent, end=True)

        nursery.start_soon(answer)
        values: list[int] = []

        async def collect() -> None:
            async for value in rpc.client(client, Service).count(5):
                values.append(value)  # noqa: PERF401 - what came before the error

        assert (await failure(collect)).code == code
        assert values == [1]
        await goes_on(client, server)


@bounded()
async def test_a_stream_as_result_that_does_not_come(autojump_clock: Clock) -> None:
    async with calling() as (client, server), trio.open_nursery() as nursery:

        async def answer() -> None:
            shared = await accept(server)
            await shared.answer()
            await shared.send(Kind.RESULT, 1, encode(1000))

        nursery.start_soon(answer)
        error = await failure(rpc.client(client, Service).fetch)
        assert isinstance(error, rpc.InvalidArgument)
        assert "1000" in error.message


# ---- going away ----


@bounded()
async def test_large_answers_are_given_before_a_session_goes(autojump_clock: Clock) -> None:
    """The shared stream ends only when they have been taken."""

    class Slow:
        async def large(self, size: int, seconds: float = 0) -> bytes:
            await trio.sleep(seconds)
            return bytes(size)

        async def small(self) -> int:
            await trio.sleep(1)
            return 5

    async with calling() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [Slow()]))
        sizes = []

        async def call_large() -> None:
            sizes.append(len(await rpc.client(client, Slow).large(MIB)))

        async def call_later() -> None:
            """Its side can open no stream any more."""
            sizes.append(len(await rpc.client(client, Slow).large(MIB, 1)))

        async def call_small() -> None:
            sizes.append(await rpc.client(client, Slow).small())

        for call in (call_large, call_small, call_later):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        await server.aclose()
        assert sorted(sizes) == [5, MIB, MIB]
        assert 1 <= trio.current_time() - begun < 2
