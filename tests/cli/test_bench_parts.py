"""What measuring is made of: messages, the pattern, counting, and what is shown."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console as RichConsole

from muxpy_cli._errors import Failure
from muxpy_cli.bench import BenchResult, Latency, Measure, Plan, Step, Throughput, result_table
from muxpy_cli.bench._protocol import CHUNK, PERIOD, Job, Pattern, Request, WrongData, pack_span, unpack_span
from muxpy_cli.bench._results import Meter, Span, joined, latency_of
from muxpy_cli.wire import Message, WireError

if TYPE_CHECKING:
    import trio.testing

# ---- messages ----


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"test": "flood"},
        {"test": ["echo"]},
        {"test": "download", "seconds": 61},
        {"test": "download", "seconds": -1},
        {"test": "download", "seconds": float("nan")},
        {"test": "download", "seconds": float("inf")},
        {"test": "download", "seconds": 10**400},
        {"test": "download", "seconds": "3"},
        {"test": "download", "seconds": True},
        {"test": "download", "seconds": 50, "warm_up": 20},
        {"test": "download", "warm_up": None},
        {"test": "download", "bytes": -1},
        {"test": "download", "bytes": 1.5},
        {"test": "download", "bytes": 2**60},
    ],
)
def test_a_message_that_asks_for_nothing_proper_is_refused(message: Message) -> None:
    with pytest.raises(WireError):
        Request.parse(message)


def test_a_request_comes_out_as_it_went_in() -> None:
    request = Request(job=Job.DOWNLOAD, seconds=2.5, warm_up=0.5, size=10)

    assert Request.parse(json.loads(json.dumps(request.message()))) == request


def test_what_is_not_asked_for_is_the_limit() -> None:
    assert Request.parse({"test": "download", "warm_up": 10, "later": "keys"}).seconds == 50


@pytest.mark.parametrize(
    "change", [{"bytes": -1}, {"from": None}, {"to": "x"}, {"to": 1.0}, {"to": float("inf")}, {"from": True}]
)
def test_a_report_is_not_trusted(change: dict[str, Any]) -> None:
    report = pack_span(Span(5, 10.0, 12.0))
    assert unpack_span(report) == Span(5, 10.0, 12.0)

    with pytest.raises(WireError):
        unpack_span({**report, **change})


# ---- the parts ----


@pytest.mark.parametrize("cut", [1000, PERIOD, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_the_pattern_is_the_same_however_it_is_cut(cut: int) -> None:
    data = b"".join(Pattern(7).chunks(3 * CHUNK))
    check = Pattern(7)
    for start in range(0, len(data), cut):
        check.check(data[start : start + cut])

    assert check.position == len(data) == 3 * CHUNK


@pytest.mark.parametrize("place", [0, PERIOD, CHUNK, 2 * CHUNK - 1])
def test_one_wrong_bit_is_seen(place: int) -> None:
    data = bytearray(b"".join(Pattern(7).chunks(2 * CHUNK)))
    data[place] ^= 1

    with pytest.raises(WrongData):
        Pattern(7).check(bytes(data))


def test_bytes_of_another_stream_are_wrong() -> None:
    with pytest.raises(WrongData):
        Pattern(3).check(bytes(Pattern(1).next_bytes(64)))


async def test_a_meter_leaves_the_warm_up_out(mock_clock: trio.testing.MockClock) -> None:
    meter = Meter(0.3)
    meter.add(1000)
    mock_clock.jump(0.4)
    meter.add(10)
    mock_clock.jump(0.9)
    span = meter.finish()

    assert span.count == 10
    assert span.seconds == pytest.approx(1.0)
    assert span.rate == pytest.approx(10)


async def test_a_meter_that_ends_in_the_warm_up_knows_no_rate(mock_clock: trio.testing.MockClock) -> None:
    assert Meter(0.3).finish().rate is None


def test_streams_side_by_side_count_from_the_first_to_the_last() -> None:
    assert joined([Span(5, 10.0, 12.0), Span(7, 11.0, 14.0)]) == Span(12, 10.0, 14.0)


def test_percentiles() -> None:
    latency = latency_of([float(number) for number in range(1000, 0, -1)], Span(1000, 0.0, 10.0))

    assert (latency.p50, latency.p99, latency.max) == (501.0, 991.0, 1000.0)
    assert latency.rate == 100
    with pytest.raises(Failure, match="--seconds"):
        latency_of([], Span(0, 0.0, 0.0))


@pytest.mark.parametrize("seconds", [0, -1, 55, float("nan")])
def test_a_plan_has_a_time_that_the_other_end_allows(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Plan(seconds=seconds)


# ---- what is shown ----


def test_the_table_has_a_row_for_each_figure() -> None:
    figure = Throughput(streams=4, bytes=3 * 2**20, seconds=3.0, rate=2.0**20)
    latency = Latency(round_trips=1234, rate=1000.0, p50=0.001, p99=0.002, max=0.5)
    output = StringIO()
    RichConsole(file=output, width=80).print(result_table(BenchResult(upload=(figure,), loaded_latency=latency)))

    rows = [" ".join(line.split()) for line in output.getvalue().splitlines()]
    assert "upload, 4 streams 1 MiB/s 3 MiB" in rows
    assert "latency under load 1,000/s 1.00 ms 2.00 ms 500 ms 1,234" in rows


def test_the_names_of_steps() -> None:
    plan = Plan(streams=4)

    assert [str(step) for step in plan.steps] == [
        "download, 1 stream",
        "download, 4 streams",
        "upload, 1 stream",
        "upload, 4 streams",
        "latency",
        "latency under load",
        "100 parallel stream opens",
    ]
    assert Step(Measure.LATENCY, 1) == plan.steps[4]
