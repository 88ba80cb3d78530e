"""The connecting end: one step after another, and a function for each measurement."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

import trio

from .._errors import NOT_ALLOWED, Failure, describe, the_cause
from ..wire import ANSWER_TIMEOUT, Purpose, Refused, WireError, check_answer, pack, receive_message
from ._plan import Measure, Progress
from ._protocol import MAX_SECONDS, Job, Pattern, Request, WrongData, unpack_span
from ._results import BenchResult, Meter, StepCount, StreamOpens, Throughput, joined, latency_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    import muxpy

    from ._plan import Plan, Step
    from ._results import Latency, Outcome, Span

__all__ = ["download", "latency", "loaded_latency", "open_streams", "probe", "run_bench", "upload"]


INTERVAL: Final = 0.1
"""Seconds between two progress reports: often enough for a bar, too seldom to affect the figures."""

_FIELDS: Final = {Measure.LOADED_LATENCY: "loaded_latency"}
"""Results whose name differs from that of the measure."""

_LOST: Final = (trio.BrokenResourceError, trio.TooSlowError, Refused, WireError)


async def run_bench(session: muxpy.Session, plan: Plan, on_progress: Callable[[Progress], object]) -> BenchResult:
    """Measure everything in the plan. `on_progress` is called about ten times a second, and when a step begins and
    ends. Raises Failure if the session breaks, the other end does not take part, or data differs."""
    try:
        return await _run(session, plan, on_progress)
    except Exception as error:
        cause = the_cause(error)
        if isinstance(cause, Refused):
            code = NOT_ALLOWED if cause.error == "forbidden" else 1
            raise Failure(f"the other end does not take part: {describe(cause)}", code) from cause
        if isinstance(cause, _LOST):
            raise Failure(f"the measurement broke off: {describe(cause)}") from cause
        if isinstance(cause, Failure):
            raise cause from None
        raise


async def _run(session: muxpy.Session, plan: Plan, on_progress: Callable[[Progress], object]) -> BenchResult:
    await probe(session)
    result = BenchResult()
    for step in plan.steps:
        outcome = await _run_step(session, plan, step, on_progress)
        result = result.adding(_FIELDS.get(step.measure, step.measure.value), outcome)
        on_progress(Progress(step=step, share=1.0, rate=outcome.rate, finished=True))
    return result


async def _run_step(
    session: muxpy.Session, plan: Plan, step: Step, on_progress: Callable[[Progress], object]
) -> Outcome:
    tally = StepCount()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, plan, step, tally, on_progress)
        outcome = await _measurement(session, plan, step, tally)()
        nursery.cancel_scope.cancel()
    return outcome


def _measurement(session: muxpy.Session, plan: Plan, step: Step, tally: StepCount) -> Callable[[], Awaitable[Outcome]]:
    match step.measure:
        case Measure.DOWNLOAD:
            return partial(download, session, plan, step.streams, tally)
        case Measure.UPLOAD:
            return partial(upload, session, plan, step.streams, tally)
        case Measure.LATENCY:
            return partial(latency, session, plan, tally)
        case Measure.LOADED_LATENCY:
            return partial(loaded_latency, session, plan, tally)
        case Measure.OPENS:
            return partial(open_streams, session, plan, tally)


async def _watch(plan: Plan, step: Step, tally: StepCount, on_progress: Callable[[Progress], object]) -> None:
    started = trio.current_time()
    total = plan.warm_up + plan.seconds
    while True:
        elapsed = trio.current_time() - started
        rate = tally.done / elapsed if elapsed > 0 else None
        on_progress(Progress(step=step, share=min(1.0, elapsed / total), rate=rate))
        await trio.sleep(INTERVAL)


SMALL: Final = 64
"""Bytes of a round trip: a key press or a small request."""


async def probe(session: muxpy.Session) -> None:
    """Open one stream, so that an end that does not take part says so before anything is measured."""
    with trio.fail_after(ANSWER_TIMEOUT):
        await _open_once(session)


@asynccontextmanager
async def _asked(session: muxpy.Session, request: Request) -> AsyncIterator[tuple[muxpy.Stream, bytes]]:
    """A stream whose request was accepted, and the bytes that came with the answer. Reset if the block is cancelled."""
    async with await session.open_stream(stream_type=Purpose.BENCH) as stream:
        await stream.send_all(pack(request.message()))
        with trio.fail_after(ANSWER_TIMEOUT):
            answer, early = await receive_message(stream)
        check_answer(answer)
        yield stream, early


def _repeats(limit: int | None) -> Iterable[int]:
    return count() if limit is None else range(limit)


# ---- throughput ----


async def download(session: muxpy.Session, plan: Plan, streams: int, tally: StepCount) -> Throughput:
    """How fast the pattern comes, over `streams` streams."""
    request = Request(job=Job.DOWNLOAD, seconds=plan.seconds, warm_up=plan.warm_up, size=plan.amount.size)
    meter = Meter(plan.warm_up)
    # The other end starts later than this one, so it also stops later: data comes up to the last moment.
    with trio.move_on_after(plan.warm_up + plan.seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(_receive, session, request, meter, tally)
    return Throughput.of(meter.finish(), streams)


async def _receive(session: muxpy.Session, request: Request, meter: Meter, tally: StepCount | None) -> None:
    async with _asked(session, request) as (stream, early):
        pattern = Pattern(stream.id)
        data = early
        while data or (data := await stream.receive_some()):
            pattern.check(data)
            meter.add(len(data))
            if tally is not None:
                tally.add(len(data))
            data = b""
    if pattern.position != request.size:
        raise WrongData(f"the download ended after {pattern.position} bytes")


async def upload(session: muxpy.Session, plan: Plan, streams: int, tally: StepCount) -> Throughput:
    """How fast the pattern goes, over `streams` streams, as the other end counts it."""
    spans: list[Span] = []
    with trio.fail_after(plan.warm_up + plan.seconds + ANSWER_TIMEOUT):
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(_send, session, plan, spans, tally)
    return Throughput.of(joined(spans), streams)


async def _send(session: muxpy.Session, plan: Plan, spans: list[Span], tally: StepCount) -> None:
    request = Request(job=Job.UPLOAD, seconds=plan.seconds, warm_up=plan.warm_up)
    async with await session.open_stream(stream_type=Purpose.BENCH) as stream:
        await stream.send_all(pack(request.message()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_pattern, stream, plan.amount.size, tally)
            report, _ = await receive_message(stream)
            nursery.cancel_scope.cancel()
    spans.append(unpack_span(check_answer(report)))


async def _send_pattern(stream: muxpy.Stream, size: int | None, tally: StepCount) -> None:
    for chunk in Pattern(stream.id).chunks(size):
        await stream.send_all(chunk)
        tally.add(len(chunk))
    await stream.send_eof()


# ---- latency ----


async def latency(session: muxpy.Session, plan: Plan, tally: StepCount) -> Latency:
    """The round trip of 64 bytes."""
    samples: list[float] = []
    meter = Meter(plan.warm_up)
    with trio.move_on_after(plan.warm_up + plan.seconds):
        async with _asked(session, Request(job=Job.ECHO)) as (stream, _):
            sent, received = Pattern(stream.id), Pattern(stream.id)
            for _ in _repeats(plan.amount.round_trips):
                started, counts = trio.current_time(), meter.counts
                await stream.send_all(sent.next_bytes(SMALL))
                await _receive_exactly(stream, received, SMALL)
                tally.add(1)
                if counts:
                    samples.append(trio.current_time() - started)
                    meter.add(1)
            await stream.send_eof()
    return latency_of(samples, meter.finish())


async def _receive_exactly(stream: muxpy.Stream, pattern: Pattern, size: int) -> None:
    end = pattern.position + size
    while pattern.position < end:
        data = await stream.receive_some(end - pattern.position)
        if not data:
            raise WrongData("the echo ended")
        pattern.check(data)


async def loaded_latency(session: muxpy.Session, plan: Plan, tally: StepCount) -> Latency:
    """The same during a download."""
    load = Request(job=Job.DOWNLOAD, seconds=MAX_SECONDS)
    async with trio.open_nursery() as nursery:
        for _ in range(plan.streams):
            nursery.start_soon(_receive, session, load, Meter(0), None)
        result = await latency(session, plan, tally)
        nursery.cancel_scope.cancel()
    return result


# ---- new streams ----


async def open_streams(session: muxpy.Session, plan: Plan, tally: StepCount) -> StreamOpens:
    """How many streams can be opened, used for one small exchange and ended in a second, `at_once` in parallel."""
    meter = Meter(plan.warm_up)
    turns = iter(_repeats(plan.amount.opens))

    async def work() -> None:
        for _ in turns:
            await _open_once(session)
            meter.add(1)
            tally.add(1)

    with trio.move_on_after(plan.warm_up + plan.seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(plan.at_once):
                nursery.start_soon(work)
    return StreamOpens.of(meter.finish(), plan.at_once)


_OPEN: Final = pack({"test": Job.OPEN.value})


async def _open_once(session: muxpy.Session) -> None:
    async with await session.open_stream(stream_type=Purpose.BENCH) as stream:
        pattern = Pattern(stream.id)
        await stream.send_all(_OPEN + pattern.next_bytes(SMALL), end=True)
        answer, echoed = await receive_message(stream)
        check_answer(answer)
        check = Pattern(stream.id)
        check.check(echoed)
        async for data in stream:
            check.check(data)
    if check.position != SMALL:
        raise WrongData(f"{check.position} bytes came back, of {SMALL}")
