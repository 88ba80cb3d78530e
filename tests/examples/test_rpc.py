"""The RPC library of the examples: results, errors, streams of results, deadlines, cancelled calls."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import muxpy
from examples.rpc import CALL, MAX_LINE, RemoteError, Service, call, calling
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

service = Service()
cancelled: list[str] = []
made: list[int] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    cancelled.clear()
    made.clear()


@service.method
async def add(a: int, b: int) -> int:
    return a + b


@service.method
async def nothing() -> None:
    pass


@service.method
async def fail(message: str) -> None:
    raise ValueError(message)


@service.method
async def sleep(seconds: float) -> str:
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        cancelled.append("sleep")
        raise
    return "slept"


@service.method
async def count(to: int, pause: float = 0, size: int = 0) -> AsyncGenerator[Any, None]:
    try:
        for number in range(to):
            made.append(number)
            yield "x" * size if size else number
            await trio.sleep(pause)
    except trio.Cancelled:
        cancelled.append("count")
        raise


@service.method
async def count_and_fail() -> AsyncGenerator[int, None]:
    yield 1
    yield 2
    raise RuntimeError("enough")


@asynccontextmanager
async def sessions() -> AsyncGenerator[tuple[muxpy.Session, muxpy.Session], None]:
    """A caller's session and the one of the service at its other end."""
    with trio.fail_after(LIMIT):
        near, far = trio.testing.memory_stream_pair()
        async with AsyncExitStack() as stack:
            serving = await stack.enter_async_context(muxpy.open_session(far, client=False))
            nursery = await stack.enter_async_context(trio.open_nursery())
            caller = await stack.enter_async_context(muxpy.open_session(near, client=True))
            nursery.start_soon(serve, serving)
            yield caller, serving


async def serve(session: muxpy.Session) -> None:
    with suppress(muxpy.SessionClosed):  # some tests end it roughly
        await service.serve(session)


async def until_cancelled() -> None:
    while not cancelled:  # noqa: ASYNC110 - a list has no event, and the clock jumps
        await trio.sleep(0.01)


async def test_a_result() -> None:
    async with sessions() as (caller, _):
        assert await call(caller, "add", a=2, b=3) == 5
        assert await call(caller, "nothing") is None


async def test_an_error_is_carried_back_and_the_session_goes_on() -> None:
    async with sessions() as (caller, _):
        with pytest.raises(RemoteError, match="ValueError: no good") as caught:
            await call(caller, "fail", message="no good")
        assert caught.value.kind == "ValueError"
        assert await call(caller, "add", a=2, b=3) == 5


async def test_a_method_that_is_not_there() -> None:
    async with sessions() as (caller, _):
        with pytest.raises(RemoteError, match="LookupError: there is no method 'subtract'"):
            await call(caller, "subtract", a=2, b=3)


async def test_arguments_that_do_not_fit() -> None:
    async with sessions() as (caller, _):
        with pytest.raises(RemoteError, match=r"TypeError: .*unexpected keyword argument 'c'"):
            await call(caller, "add", a=2, b=3, c=4)


async def test_many_results() -> None:
    async with sessions() as (caller, _), calling(caller, "count", to=1000) as results:
        assert [result async for result in results] == list(range(1000))
    assert cancelled == []


async def test_results_come_when_they_are_made(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _), calling(caller, "count", to=3, pause=10) as results:
        start = trio.current_time()
        times = [trio.current_time() - start async for _ in results]
        assert times == pytest.approx([0, 10, 20], abs=0.1)


async def test_an_error_after_some_results() -> None:
    async with sessions() as (caller, _), calling(caller, "count_and_fail") as results:
        assert await anext(results) == 1
        assert await anext(results) == 2
        with pytest.raises(RemoteError, match="RuntimeError: enough"):
            await anext(results)


async def test_call_takes_the_first_of_many_results(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _):
        assert await call(caller, "count", to=1000, pause=1) == 0
        await until_cancelled()


async def test_a_caller_that_reads_no_further_holds_the_handler_up(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _), calling(caller, "count", to=1000, size=10_000) as results:
        await anext(results)
        await trio.sleep(1)
        assert len(made) < 20
        assert len([result async for result in results]) == 999


async def test_a_deadline_ends_the_call_and_the_handler(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _):
        start = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await call(caller, "sleep", timeout=2, seconds=100)
        assert trio.current_time() - start == pytest.approx(2, abs=0.1)
        await until_cancelled()
        assert trio.current_time() - start == pytest.approx(2, abs=0.1)
        assert await call(caller, "add", a=2, b=3) == 5


async def test_a_deadline_in_the_middle_of_many_results(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _):
        got = []
        with pytest.raises(trio.TooSlowError):  # noqa: PT012 - the deadline is the block's
            async with calling(caller, "count", timeout=2.5, to=1000, pause=1) as results:
                async for result in results:
                    got.append(result)  # noqa: PERF401 - it does not come to its end
        assert got == [0, 1, 2]
        await until_cancelled()


async def test_the_handler_keeps_the_deadline_even_if_the_caller_does_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with sessions() as (caller, _), await caller.open_stream(stream_type=CALL) as stream:
        await stream.send_all(b'{"method": "sleep", "args": {"seconds": 100}, "timeout": 2}\n')
        assert b"TooSlowError" in await stream.receive_some()
        assert cancelled == ["sleep"]


async def test_a_cancelled_call_cancels_the_handler(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with sessions() as (caller, serving):
        start = trio.current_time()
        with trio.move_on_after(1) as scope:
            await call(caller, "sleep", seconds=100)
        assert scope.cancelled_caught
        await until_cancelled()

        assert trio.current_time() - start == pytest.approx(1, abs=0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert caller.statistics().streams_open == serving.statistics().streams_open
        assert await call(caller, "add", a=2, b=3) == 5


@pytest.mark.parametrize("timeout", [1, 60], ids=["by_its_deadline", "by_the_program"])
async def test_a_cancelled_call_resets_its_stream(autojump_clock: trio.testing.MockClock, timeout: float) -> None:  # noqa: ASYNC109
    """Here the test is the handler."""
    async with sessions() as (handler, caller), trio.open_nursery() as nursery:

        async def give_up() -> None:
            with trio.move_on_after(2), suppress(trio.TooSlowError):
                await call(caller, "anything", timeout)

        nursery.start_soon(give_up)
        stream = await handler.accept_stream()
        assert await stream.receive_some()
        cut = await stream.wait_ended()
        assert isinstance(cut, muxpy.StreamReset)
        assert cut.code is muxpy.ErrorCode.CANCEL


async def test_leaving_the_block_early_cancels_the_handler(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _):
        async with calling(caller, "count", to=1000, pause=1) as results:
            assert await anext(results) == 0
        await until_cancelled()
        assert len(made) < 5


async def test_leaving_the_block_early_cancels_a_handler_that_is_busy_with_something_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with sessions() as (caller, _):
        start = trio.current_time()
        async with calling(caller, "sleep", seconds=100):
            await trio.sleep(1)
        await until_cancelled()
        assert trio.current_time() - start == pytest.approx(1, abs=0.1)


async def test_a_call_that_came_to_its_end_resets_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Here the test is the handler."""
    async with sessions() as (handler, caller), trio.open_nursery() as nursery:

        async def call_it() -> None:
            async with calling(caller, "anything") as results:
                assert [result async for result in results] == [1]

        nursery.start_soon(call_it)
        stream = await handler.accept_stream()
        assert await stream.receive_some()
        await stream.send_all(b'{"result": 1}\n')
        await stream.send_eof()
        assert await stream.wait_ended() is None


async def test_an_exception_of_the_caller_cancels_the_handler(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _):
        with pytest.raises(KeyError):  # noqa: PT012 - the handler has to be at work
            async with calling(caller, "count", to=1000, pause=1) as results:
                await anext(results)
                raise KeyError
        await until_cancelled()


async def test_the_end_of_the_session_ends_calls_and_handlers(autojump_clock: trio.testing.MockClock) -> None:
    async with sessions() as (caller, _), trio.open_nursery() as nursery:

        async def wait_for_it() -> None:
            with pytest.raises(muxpy.SessionClosed):
                await call(caller, "sleep", seconds=100)

        nursery.start_soon(wait_for_it)
        await trio.sleep(1)
        caller.kill()
        with pytest.raises(muxpy.SessionClosed):
            await call(caller, "add", a=2, b=3)
        await until_cancelled()


async def test_a_hundred_calls_at_once_wait_for_nobody(autojump_clock: trio.testing.MockClock) -> None:
    answers: list[str] = []

    async with sessions() as (caller, _):

        async def call_one() -> None:
            answers.append(await call(caller, "sleep", seconds=10))

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _i in range(100):
                nursery.start_soon(call_one)
        assert answers == ["slept"] * 100
        assert trio.current_time() - start == pytest.approx(10, abs=0.1)


async def test_both_sides_serve() -> None:
    async with sessions() as (caller, serving), trio.open_nursery() as nursery:
        nursery.start_soon(serve, caller)
        assert await call(caller, "add", a=2, b=3) == 5
        assert await call(serving, "add", a=4, b=5) == 9
        nursery.cancel_scope.cancel()


async def test_a_stream_of_another_type_is_refused() -> None:
    async with sessions() as (caller, _):
        stream = await caller.open_stream(stream_type=CALL + 1)
        with pytest.raises(muxpy.StreamReset) as caught:
            await stream.receive_some()
        assert caught.value.retryable


@pytest.mark.parametrize(
    "request_line", [b"not JSON\n", b'{"method": "add"}\n', bytes(MAX_LINE + 1)], ids=["no_json", "fields", "too_long"]
)
async def test_a_request_that_is_none_resets_its_stream_alone(request_line: bytes) -> None:
    async with sessions() as (caller, _):
        stream = await caller.open_stream(stream_type=CALL)
        with pytest.raises(muxpy.StreamReset) as caught:  # noqa: PT012 - where it shows depends on the length
            await stream.send_all(request_line)
            await stream.receive_some()
        assert caught.value.code is muxpy.ErrorCode.INTERNAL_ERROR
        assert await call(caller, "add", a=2, b=3) == 5


async def test_a_stream_without_a_request() -> None:
    async with sessions() as (caller, _):
        stream = await caller.open_stream(stream_type=CALL)
        await stream.send_eof()
        assert await stream.receive_some() == b""
