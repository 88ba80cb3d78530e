"""The measures of calls: one short run of each library, and what the client counts."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.calls import LIBRARIES
from benchmarks.calls._base import MESSAGE, MESSAGES, Meter
from benchmarks.measures import MEASURES
from benchmarks.runner import Options, Programs, run_measure
from tests.helpers.ids import word

if TYPE_CHECKING:
    from benchmarks.model import Entry, Measure

RPC = [measure for measure in MEASURES if measure.group == "rpc"]
OPTIONS = Options(rounds=1, seconds=0.02)


@pytest.mark.parametrize(
    ("measure", "entry"),
    [
        pytest.param(measure, entry, id=word(f"{measure.name}-{entry.name}"))
        for measure in RPC
        for entry in measure.entries
    ],
)
async def test_a_short_run(measure: Measure, entry: Entry) -> None:
    if (reason := LIBRARIES[entry.contender].missing()) is not None:
        pytest.skip(reason)
    part = replace(measure, entries=(entry,), targets=())

    outcome = await run_measure(part, Programs(), OPTIONS, lambda _: None)

    assert outcome.failed == {}
    (sample,) = outcome.samples[entry.name]
    assert all(sample[figure.key] > 0 for figure in measure.figures)


def test_all_libraries_are_called_and_those_that_can_send_streams() -> None:
    names = [[entry.name for entry in measure.entries] for measure in RPC]

    everybody = ["muxpy", "grpcio-aio", "grpcio-sync", "grpclib", "uvicorn", "pycapnp", "zmq", "rpyc"]
    assert names == [everybody, everybody, [name for name in everybody if name not in ("zmq", "rpyc")]]


def test_what_is_not_installed_is_named() -> None:
    library = replace(LIBRARIES["rpc-rpyc"], needs=("sys", "no_such_module"))

    assert library.missing() == "no_such_module not found (pip install rpyc)"


def test_a_wrong_answer_fails_the_run() -> None:
    with pytest.raises(ValueError, match="the answer is not what was sent"):
        Meter(os.getpid(), 1).call_sync(lambda data: data[1:])


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([MESSAGE] * (MESSAGES - 1), f"^{MESSAGES - 1} messages have come, not {MESSAGES}$"),
        ([MESSAGE[1:]] * MESSAGES, "a message is not what was sent"),
    ],
    ids=["one_less", "wrong_ones"],
)
def test_messages_that_are_wrong_or_lost_fail_the_run(messages: list[bytes], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Meter(os.getpid(), 1).receive_sync(lambda count: iter(messages))


def test_calls_are_counted_until_the_time_is_over() -> None:
    meter = Meter(os.getpid(), seconds=0)
    meter.call_sync(lambda data: data)

    meter.call_sync(lambda data: data)

    figures = meter.figures()
    assert figures["rate"] > 0
    assert figures["p50"] <= figures["p99"]
