"""The connecting end: one step after another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .._errors import NOT_ALLOWED, Failure, describe, the_cause
from ..wire import Refused, WireError
from . import _measures
from ._meter import Tally
from ._plan import Measure, Progress
from ._results import BenchResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import muxpy

    from ._plan import Plan, Step
    from ._results import Outcome

__all__ = ["run_bench"]

INTERVAL: Final = 0.1
"""Seconds between two reports on how far a step is: often enough for a bar, too seldom to be felt in the figures."""

_FIELDS: Final = {Measure.LOADED_LATENCY: "loaded_latency"}
"""Where a result has another name than the measure."""

_LOST: Final = (trio.BrokenResourceError, trio.TooSlowError, Refused, WireError)


async def run_bench(session: muxpy.Session, plan: Plan, on_progress: Callable[[Progress], object]) -> BenchResult:
    """Measure all that the plan says. `on_progress` is told about ten times a second how far it is, and when a step
    begins and has finished. Raises Failure if the session breaks, the other end does not take part, or data differs."""
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
    await _measures.probe(session)
    result = BenchResult()
    for step in plan.steps:
        outcome = await _run_step(session, plan, step, on_progress)
        result = result.adding(_FIELDS.get(step.measure, step.measure.value), outcome)
        on_progress(Progress(step=step, share=1.0, rate=outcome.rate, finished=True))
    return result


async def _run_step(
    session: muxpy.Session, plan: Plan, step: Step, on_progress: Callable[[Progress], object]
) -> Outcome:
    tally = Tally()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, plan, step, tally, on_progress)
        outcome = await _measurement(session, plan, step, tally)()
        nursery.cancel_scope.cancel()
    return outcome


def _measurement(session: muxpy.Session, plan: Plan, step: Step, tally: Tally) -> Callable[[], Awaitable[Outcome]]:
    match step.measure:
        case Measure.DOWNLOAD:
            return partial(_measures.download, session, plan, step.streams, tally)
        case Measure.UPLOAD:
            return partial(_measures.upload, session, plan, step.streams, tally)
        case Measure.LATENCY:
            return partial(_measures.latency, session, plan, tally)
        case Measure.LOADED_LATENCY:
            return partial(_measures.loaded_latency, session, plan, tally)
        case Measure.OPENS:
            return partial(_measures.open_streams, session, plan, tally)


async def _watch(plan: Plan, step: Step, tally: Tally, on_progress: Callable[[Progress], object]) -> None:
    started = trio.current_time()
    total = plan.warm_up + plan.seconds
    while True:
        elapsed = trio.current_time() - started
        rate = tally.done / elapsed if elapsed > 0 else None
        on_progress(Progress(step=step, share=min(1.0, elapsed / total), rate=rate))
        await trio.sleep(INTERVAL)
