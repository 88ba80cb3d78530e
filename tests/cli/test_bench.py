"""Measuring a session: what counts, what is checked, and what a peer may ask for."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click
import pytest
import trio

from muxpy_cli._errors import Failure
from muxpy_cli._options import ConnectOptions
from muxpy_cli.bench import (
    Amount,
    Measure,
    Plan,
    Progress,
    run_bench,
    serve_bench,
)
from muxpy_cli.bench._plan import MAX_STEP
from muxpy_cli.bench._protocol import Pattern, WrongData, unpack_span
from muxpy_cli.commands._bench import bench_command, measure
from muxpy_cli.relay import serve_streams
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Message, Purpose, Refused, pack, receive_message
from tests.cli.program import closed_port, run, running
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import LIMIT, TimeBySteps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import muxpy

SIZE = 1_000_000
FEW = Amount(size=SIZE, round_trips=20, opens=150)


def small_plan(*measures: Measure, streams: int = 3) -> Plan:
    """Ends by count; the time is only a limit."""
    return Plan(seconds=MAX_STEP, warm_up=0, streams=streams, measures=measures or tuple(Measure), amount=FEW)


@asynccontextmanager
async def bench_pair(
    kind: str = "tcp", handler: Callable[[muxpy.Stream, Message, bytes], Awaitable[None]] = serve_bench
) -> AsyncIterator[muxpy.Session]:
    """The connecting end's session; the other end serves."""

    async def serve(stream: muxpy.Stream) -> None:
        assert stream.stream_type == Purpose.BENCH
        await handler(stream, *await receive_message(stream))

    with trio.fail_after(LIMIT):
        async with (
            session_pair(kind, client_extensions=(), server_extensions=()) as (client, server),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(serve_streams, server, serve)
            yield client
            nursery.cancel_scope.cancel()


def nothing(_: Progress) -> None:
    pass


# ---- all of it, over a real session ----


async def test_everything_is_measured() -> None:
    seen: list[Progress] = []
    async with bench_pair() as session:
        result = await run_bench(session, small_plan(), seen.append)

    assert [figure.streams for figure in result.download] == [1, 3]
    assert [figure.bytes for figure in result.download] == [SIZE, 3 * SIZE]
    assert [figure.streams for figure in result.upload] == [1, 3]
    assert [figure.bytes for figure in result.upload] == [SIZE, 3 * SIZE]
    for latency in (result.latency, result.loaded_latency):
        assert latency is not None
        assert latency.round_trips == 20
        assert 0 < latency.p50 <= latency.p99 <= latency.max
    assert result.opens is not None
    assert result.opens.streams == 150
    assert [progress.step for progress in seen if progress.finished] == list(small_plan().steps)
    json.dumps(result.as_json())


async def test_one_stream_is_measured_once() -> None:
    async with bench_pair() as session:
        result = await run_bench(session, small_plan(Measure.UPLOAD, streams=1), nothing)

    assert [figure.streams for figure in result.upload] == [1]
    assert result.download == ()
    assert result.latency is None


@pytest.mark.parametrize("measure", list(Measure))
async def test_time_ends_each_measure(measure: Measure, autojump_clock: trio.testing.MockClock) -> None:
    plan = Plan(seconds=0.2, warm_up=0.05, streams=2, at_once=5, measures=(measure,))
    async with bench_pair("memory") as session:
        with TimeBySteps(autojump_clock, 1e-4):
            result = await run_bench(session, plan, nothing)
        left = session.statistics()

    figures = result.as_json()["loaded_latency" if measure is Measure.LOADED_LATENCY else measure.value]
    for figure in figures if isinstance(figures, tuple) else (figures,):
        assert figure["rate"] > 0
    assert left.streams_open == 0


async def test_the_session_goes_on_after_a_test_that_was_cancelled() -> None:
    async with bench_pair() as session:
        with trio.move_on_after(0.05):
            await run_bench(session, Plan(seconds=30, measures=(Measure.LOADED_LATENCY,)), nothing)
        result = await run_bench(session, small_plan(Measure.LATENCY), nothing)

    assert result.latency is not None


# ---- failures ----


async def test_an_end_that_does_not_take_part_is_named() -> None:
    async def refuse(stream: muxpy.Stream, message: Message, early: bytes) -> None:
        await stream.send_all(pack(Refused("unknown", "what is a bench?").message()))

    async with bench_pair(handler=refuse) as session:
        with pytest.raises(Failure, match=r"does not take part: what is a bench\?"):
            await run_bench(session, small_plan(), nothing)


@pytest.mark.parametrize("measure", [Measure.DOWNLOAD, Measure.LATENCY, Measure.LOADED_LATENCY, Measure.OPENS])
async def test_data_that_the_other_end_changed_is_found(measure: Measure) -> None:
    async def change(stream: muxpy.Stream, message: Message, early: bytes) -> None:
        if len(seen := [*asked, message["test"]]) > 1:  # the first is the probe
            await stream.send_all(pack({}) + bytes(SIZE))
            await stream.send_eof()
        else:
            await serve_bench(stream, message, early)
        asked[:] = seen

    asked: list[str] = []
    async with bench_pair(handler=change) as session:
        with pytest.raises(WrongData):
            await run_bench(session, small_plan(measure), nothing)


async def test_data_that_this_end_changed_is_found() -> None:
    async with bench_pair() as session:
        stream = await session.open_stream(stream_type=Purpose.BENCH)
        await stream.send_all(pack({"test": "upload"}) + bytes(1000))
        report, _ = await receive_message(stream)
        await stream.aclose()

    assert report["error"] == "failed"
    assert "wrong data" in report["reason"]


async def test_a_session_that_breaks_is_a_failure_in_words() -> None:
    async def kill(stream: muxpy.Stream, message: Message, early: bytes) -> None:
        if message["test"] == "open":
            await serve_bench(stream, message, early)
        else:
            stream.session.kill()

    async with bench_pair(handler=kill) as session:
        with pytest.raises(Failure, match="the measurement broke off: "):
            await run_bench(session, small_plan(Measure.DOWNLOAD), nothing)


async def test_a_download_that_is_cut_short_is_a_failure() -> None:
    async def cut(stream: muxpy.Stream, message: Message, early: bytes) -> None:
        await serve_bench(stream, {**message, "bytes": 1000}, early)

    async with bench_pair(handler=cut) as session:
        with pytest.raises(Failure, match="ended after 1000 bytes"):
            await run_bench(session, small_plan(Measure.DOWNLOAD), nothing)


# ---- the listening end ----


async def ask(session: muxpy.Session, message: Message) -> muxpy.Stream:
    stream = await session.open_stream(stream_type=Purpose.BENCH)
    await stream.send_all(pack(message))
    return stream


@pytest.mark.parametrize("job", ["download", "upload", "echo"])
async def test_a_job_takes_a_minute_at_most(job: str, autojump_clock: trio.testing.MockClock) -> None:
    """Also if the connecting end neither sends nor reads what it asked for."""
    async with session_pair("memory") as (client, server), trio.open_nursery() as nursery:
        await ask(client, {"test": job})
        stream = await server.accept_stream()
        started = trio.current_time()
        await serve_bench(stream, *await receive_message(stream))

        assert 59 <= trio.current_time() - started <= 66
        nursery.cancel_scope.cancel()


async def test_an_upload_reports_when_its_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    async with bench_pair("memory") as session:
        stream = await ask(session, {"test": "upload", "seconds": 2, "warm_up": 1})
        pattern = Pattern(stream.id)
        await stream.send_all(pattern.next_bytes(100))
        await trio.sleep(1.5)
        await stream.send_all(pattern.next_bytes(10))
        report, _ = await receive_message(stream)
        span = unpack_span(report)

    assert span.count == 10  # what came in the warm-up is left out
    assert span.seconds == pytest.approx(2)


# ---- the command ----


async def test_the_command_shows_a_line_for_each_step_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ConnectOptions(address=Address("localhost", 1))
    opened: list[ConnectOptions] = []
    async with bench_pair() as session:

        @asynccontextmanager
        async def log_in(options: ConnectOptions) -> AsyncIterator[muxpy.Session]:
            opened.append(options)
            yield session

        await measure(options, small_plan(Measure.UPLOAD, Measure.LATENCY), Console(), log_in)

    lines = capsys.readouterr().out.splitlines()
    assert opened == [options]
    assert [line.partition(":")[0] for line in lines] == ["upload, 1 stream", "upload, 3 streams", "latency"]
    assert lines[0].endswith("B/s")


async def test_the_program_measures_and_ends_on_signals() -> None:
    with trio.fail_after(LIMIT):
        async with running("listen", "0") as listening:
            address = f"localhost:{await listening.port('listening on')}"
            code, output, _ = await run("bench", address, "--seconds", "0.1", "--test", "latency", "--json")
            assert code == 0
            assert json.loads(output)["latency"]["round_trips"] > 0

            async with running("bench", address, "--seconds", "30", "--test", "opens") as bench:
                await listening.line("has ended")
                await listening.line("session with")
                assert await bench.end() == 143


async def test_nobody_there() -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        code, output, errors = await run("bench", f"127.0.0.1:{port}")

    assert (code, output) == (1, "")
    assert errors.startswith("muxpy: cannot connect to")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("localhost:1", "--seconds", "nan"), ("localhost:1", "--seconds", "51")]
)
def test_a_mistake_in_the_arguments(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        bench_command.main(list(arguments), standalone_mode=False)
