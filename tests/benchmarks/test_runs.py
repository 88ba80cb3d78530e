"""Each workload over each Python contender, through real processes, for a moment each: figures come out."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks import calls
from benchmarks.contenders import CONTENDERS, HTTP, TARGETS
from benchmarks.measures import GO, GO_HTTP, GROUPS, MEASURES
from benchmarks.model import Entry, Figure, Measure
from benchmarks.peer import causes
from benchmarks.processes import RunError, run, serving
from benchmarks.runner import Options, Programs, run_measure
from benchmarks.workloads import WORKLOADS, Job

from .canned import measure
from .live import left_of

if TYPE_CHECKING:
    from pathlib import Path

MOMENT = {"seconds": 0.05, "warmup": 0.02}
BULK: Job = {"workload": "bulk", "streams": 2, "chunk": 65536, **MOMENT}
ECHO: Job = {"workload": "echo", "streams": 3, "size": 100, "idle": 2, **MOMENT}
OPEN: Job = {"workload": "open", "at_once": 5, "size": 100, **MOMENT}
OPTIONS = Options(rounds=1, seconds=1)

SERVING_STREAMS = [
    name for name in CONTENDERS if name not in ("muxpy-held", *HTTP) and not name.endswith(tuple(TARGETS))
]


@pytest.mark.parametrize("contender", SERVING_STREAMS)
async def test_bulk_echo_and_open_over(contender: str) -> None:
    """The client is this process; that it can be one of its own is for the tests below."""
    reason = CONTENDERS[contender].missing()
    if reason is not None:
        pytest.skip(reason)
    command = Programs().command(contender, "serve")
    async with serving(command) as server, CONTENDERS[contender].connect(server["port"]) as client:
        for job in (BULK, ECHO, OPEN):
            figures = await WORKLOADS[job["workload"]](client, job)
            assert figures["rate"] > 0


@pytest.mark.parametrize(
    ("contender", "job"),
    [
        ("muxpy-held", {"workload": "memory", "streams": 500}),
        ("muxpy", {"workload": "priority", "priority": 2**31 - 1, "others": 2, "chunk": 65536, **MOMENT}),
        ("muxpy", {"workload": "timeline", "chunk": 1024, "interval": 0.01, "seconds": 0.05}),
        ("muxpy", {"workload": "unread", "streams": 5}),
        ("muxpy", {**BULK, "workload": "updates"}),
        ("muxpy-beside", {"workload": "latency", "size": 100, "every": 0.005, "streams": 2, **MOMENT}),
    ],
    ids=lambda value: value["workload"] if isinstance(value, dict) else value,
)
async def test_what_only_some_can_do(contender: str, job: Job) -> None:
    entry = Entry("it", contender, job)

    outcome = await run_measure(_measure(entry), Programs(), OPTIONS, lambda _: None)

    assert outcome.failed == {}
    (sample,) = outcome.samples["it"]
    assert sample


def _measure(*entries: Entry) -> Measure:
    return Measure("group", "name", entries, (Figure("rate", "rate", "B/s"),))


async def test_a_measure_over_the_long_link() -> None:
    whole = measure("1 Gbit/s, round trip 20 ms, 1 stream")
    takers = [entry for entry in whole.entries if entry.contender in CONTENDERS]

    outcome = await run_measure(replace(whole, entries=takers), Programs(), Options(3, 0.01), lambda _: None)

    assert outcome.failed == {}
    assert all(len(samples) == 1 for samples in outcome.samples.values())
    assert outcome.values("muxpy", "steady")[0] > 0
    assert outcome.values("tcp", "climb")[0] >= 0


async def test_what_is_missing_is_named_and_the_others_run() -> None:
    entries = [Entry("tcp", "tcp", ECHO), Entry("go-smux", "go-smux", ECHO)]
    programs = Programs({"go-smux": "Go is not installed"})

    outcome = await run_measure(_measure(*entries), programs, OPTIONS, lambda _: None)

    assert outcome.missing == {"go-smux": "Go is not installed"}
    assert list(outcome.samples) == ["tcp"]


async def test_what_fails_is_named_and_the_others_run() -> None:
    entries = [Entry("bad", "tcp", {**BULK, "chunk": 1000}), Entry("good", "tcp", ECHO)]

    outcome = await run_measure(_measure(*entries), Programs(), OPTIONS, lambda _: None)

    assert outcome.failed == {"bad": "ValueError: 1000 does not divide 65536"}
    assert list(outcome.samples) == ["good"]


async def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(RunError, match="not done after 0 s"):
        await run([sys.executable, "-c", "input()"], timeout=0.2)


async def test_what_such_a_program_had_started_is_ended_too(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; wait"

    with pytest.raises(RunError, match="not done"):
        await run(["sh", "-c", script], timeout=0.5)

    assert left_of([int((tmp_path / "pid").read_text())]) == set()


async def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(RunError, match="out of order"):
        async with serving([sys.executable, "-c", "raise SystemExit('out of order')"]):
            pass


def test_causes_are_what_the_groups_hold() -> None:
    error = ExceptionGroup("", [ValueError("one"), ExceptionGroup("", [OSError("two")])])

    assert causes(error) == ["ValueError: one", "OSError: two"]


def test_the_measures_are_consistent() -> None:
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    assert set(GROUPS) == {measure.group for measure in MEASURES}
    for each in MEASURES:
        names = {entry.name for entry in each.entries}
        keys = {figure.key for figure in each.figures}
        assert {entry.contender for entry in each.entries} <= {*CONTENDERS, *calls.LIBRARIES, *GO, GO_HTTP}
        assert {entry.job["workload"] for entry in each.entries} <= {*WORKLOADS, *calls.WORKLOADS}
        for target in each.targets:
            assert {target.entry, *target.beside} <= names
            assert {target.figure, target.beside_figure or target.figure} <= keys
