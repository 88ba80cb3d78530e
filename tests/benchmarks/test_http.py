"""The measures of HTTP/2: what h2load prints becomes figures, and one short run of each contender."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import gopeers
from benchmarks.contenders import CONTENDERS
from benchmarks.family import processor_time
from benchmarks.measures import GO_HTTP, MEASURES
from benchmarks.runner import Options, Programs, run_measure
from benchmarks.workloads._base import WorkloadError
from benchmarks.workloads.http import h2load_figures
from tests.helpers.ids import word

from .canned import measure

if TYPE_CHECKING:
    from benchmarks.outcome import Outcome

DATA = Path(__file__).parent / "data"
OPTIONS = Options(rounds=1, seconds=0.02)

GET = "HTTP/2 server: GET, 10 x 10"
POST = "HTTP/2 server: POST 4 KiB, 1 x 100"
UPLOAD = "HTTP/2 server: upload of 16 MiB"
CLIENT = "HTTP/2 client: 100 GETs together"
RULES = "HTTP/2: the rules of a server alone"
HPACK = "HPACK alone, a browser's request"


async def run_one(name: str, entry: str, programs: Programs | None = None) -> Outcome:
    whole = measure(name)
    (taker,) = (each for each in whole.entries if each.name == entry)
    if taker.contender in CONTENDERS and (reason := CONTENDERS[taker.contender].missing()) is not None:
        pytest.skip(reason)
    part = replace(whole, entries=(taker,), targets=())
    return await run_measure(part, programs or Programs(), OPTIONS, lambda _: None)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (GET, "muxpy"),
        (GET, "nghttpd"),
        (GET, "granian"),
        (GET, "h2corn"),
        (GET, "uvicorn"),
        (GET, "hypercorn"),
        (GET, "hypercorn-trio"),
        (POST, "muxpy"),
        (UPLOAD, "muxpy"),
        (CLIENT, "muxpy"),
        (CLIENT, "httpx"),
        (RULES, "muxpy"),
        (RULES, "h2"),
        (HPACK, "muxpy"),
        (HPACK, "hpack"),
    ],
    ids=word,
)
async def test_a_short_run(name: str, entry: str) -> None:
    outcome = await run_one(name, entry)

    assert outcome.failed == {}
    (sample,) = outcome.samples[entry]
    assert sample.keys() >= {figure.key for figure in outcome.measure.figures}
    assert all(sample[figure.key] > 0 for figure in outcome.measure.figures)


@pytest.mark.live_peer
async def test_a_short_run_of_go(tmp_path: Path) -> None:
    if (reason := CONTENDERS["muxpy-http"].missing()) is not None:
        pytest.skip(reason)
    program = gopeers.build(tmp_path)[GO_HTTP]
    if isinstance(program, str):
        pytest.skip(program)

    outcome = await run_one(GET, "go", Programs({GO_HTTP: program}))

    assert outcome.failed == {}
    assert outcome.values("go", "rate")[0] > 0


def test_h2load_gives_requests_and_seconds() -> None:
    output = (DATA / "h2load.txt").read_text()

    assert h2load_figures(output, 38) == {"requests": 38, "elapsed": pytest.approx(0.98712)}


def test_a_request_that_failed_fails_the_run() -> None:
    output = (DATA / "h2load-errors.txt").read_text()

    with pytest.raises(
        WorkloadError, match=r"^h2load: requests: 100 total, .* 60 errored, 0 timeout; status codes: 40"
    ):
        h2load_figures(output, 100)


def test_an_answer_that_is_an_error_fails_the_run() -> None:
    output = (DATA / "h2load.txt").read_text().replace("38 2xx, 0 3xx, 0 4xx", "37 2xx, 0 3xx, 1 4xx")

    with pytest.raises(WorkloadError, match="37 2xx, 0 3xx, 1 4xx"):
        h2load_figures(output, 38)


@pytest.mark.parametrize("cut", ["finished in", "requests:"])
def test_h2load_without_a_report_fails_the_run(cut: str) -> None:
    with pytest.raises(WorkloadError, match="h2load did not report"):
        h2load_figures((DATA / "h2load.txt").read_text().partition(cut)[0], 38)


def test_the_time_of_a_process() -> None:
    before = processor_time(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass

    assert processor_time(os.getpid()) - before >= 0.05


def test_all_servers_take_part_where_they_can() -> None:
    for each in MEASURES:
        if each.name.startswith("HTTP/2 server"):
            names = {entry.name for entry in each.entries}
            assert names >= {"muxpy", "nghttpd", "go", "granian", "h2corn", "hypercorn", "hypercorn-trio"}
            assert ("uvicorn" in names) == (", 1 x 1" not in each.name)
