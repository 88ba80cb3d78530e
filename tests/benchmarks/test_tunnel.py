"""The forwarders with iperf3, wrk and nginx: what is missing, what fails, the targets, and one run of each."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from benchmarks import tools
from benchmarks.contenders import CONTENDERS, FORWARDERS
from benchmarks.contenders._programs import keep_running
from benchmarks.document import filled
from benchmarks.measures import MEASURES, TUNNELS
from benchmarks.outcome import Outcome, as_json
from benchmarks.report import line_texts, summary
from benchmarks.runner import Options, Programs, run_measure
from benchmarks.tools import absent_tools

from .canned import measure
from .live import family, left_of

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
OPTIONS = Options(rounds=1, seconds=0.5)

UPLOAD = "iperf3: 1 stream, upload"
KEPT = "wrk: 50 connections, kept"
MEMORY = "memory with 1,000 idle connections"
TUNNEL = [each for each in MEASURES if each.group == "tunnel"]


def require(contender: str) -> None:
    reason = CONTENDERS[contender].missing()
    if reason is not None:
        pytest.skip(reason)


async def run_one(name: str, entry: str, **job: object) -> Outcome:
    """A run of one entry of a measure, with another job if given."""
    whole = measure(name)
    (taker,) = (each for each in whole.entries if each.name == entry)
    require(taker.contender)
    taker = replace(taker, job={**taker.job, **job})
    return await run_measure(replace(whole, entries=(taker,), targets=()), Programs(), OPTIONS, lambda _: None)


# ---- runs ----


@pytest.mark.parametrize(
    ("name", "entry", "figures"),
    [
        (UPLOAD, "muxpy", {"rate", "elapsed"}),
        ("iperf3: 8 streams, download", "muxpy-tls", {"rate", "elapsed"}),
        (KEPT, "muxpy-tls", {"rate", "p50", "p99"}),
        ("wrk: a connection for each request", "ssh", {"rate", "p50", "p99"}),
    ],
)
async def test_a_program_through_a_tunnel(name: str, entry: str, figures: set[str]) -> None:
    outcome = await run_one(name, entry)

    assert outcome.failed == {}
    (sample,) = outcome.samples[entry]
    assert sample.keys() == figures
    assert all(value > 0 for value in sample.values())


@pytest.mark.parametrize("entry", [entry for entry in TUNNELS if entry != "none"])
async def test_the_memory_of_both_ends(entry: str) -> None:
    outcome = await run_one(MEMORY, entry, connections=10)

    assert outcome.failed == {}
    (sample,) = outcome.samples[entry]
    assert sample.keys() == {"near", "far"}
    assert all(value > 2**20 for value in sample.values())


async def test_what_a_program_complains_of_is_why_the_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("none-nginx")
    (tmp_path / "wrk").write_text(f"#!/bin/sh\ncat {DATA}/wrk-not-found.txt\n")
    (tmp_path / "wrk").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    outcome = await run_one(KEPT, "none")

    assert outcome.failed == {"none": "WorkloadError: wrk: Non-2xx or 3xx responses: 37429"}
    assert outcome.samples == {}


async def test_a_program_that_ends_by_itself_has_the_last_word() -> None:
    script = "print('port 7', flush=True); raise SystemExit('out of order')"

    async def start_and_wait() -> None:
        async with trio.open_nursery() as nursery:
            running = await nursery.start(keep_running, [sys.executable, "-c", script], re.compile(r"port (\d+)"))
            assert running.said == 7

    with pytest.raises(ExceptionGroup) as error:
        await start_and_wait()
    assert error.group_contains(OSError, match=r"python.* ended by itself, with status 1: out of order")


def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    require("program-iperf3")
    options = ["--only", UPLOAD, "--seconds", "30", "--json", str(tmp_path / "json"), "--plots", str(tmp_path)]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    everybody: set[int] = set()
    while len(everybody) < 7 and process.poll() is None:  # it, both peers, both ends, iperf3 twice
        time.sleep(0.02)
        everybody = family(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()

    assert process.returncode == 130, errors
    assert len(everybody) == 7
    assert left_of(everybody) == set()
    assert list(temporary.iterdir()) == []


# ---- what is missing ----


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "SERVER_PLACES", str(tmp_path))


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("contender", "reason"),
    [
        ("none-iperf3", "iperf3 not found (Debian: apt install iperf3)"),
        ("program-nginx", "nginx, wrk not found (Debian: apt install nginx wrk)"),
        ("ssh-nginx", "ssh, ssh-keygen, sshd not found (Debian: apt install openssh-server openssh-client)"),
        ("program", None),
        ("none", None),
    ],
)
def test_what_is_missing_is_named_with_its_package(contender: str, reason: str | None) -> None:
    assert CONTENDERS[contender].missing() == reason


def test_only_what_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SERVER_PLACES", str(tmp_path))
    (tmp_path / "nginx").write_text("#!/bin/sh\n")
    (tmp_path / "nginx").chmod(0o755)

    assert absent_tools(("nginx",), "nginx") is None
    assert absent_tools(("nginx", "no-such"), "both") == "no-such not found (Debian: apt install both)"


@pytest.mark.usefixtures("bare")
async def test_a_machine_without_programs_skips_and_says_so() -> None:
    outcomes = [await run_measure(measure(name), Programs(), OPTIONS, lambda _: None) for name in (UPLOAD, KEPT)]
    output = io.StringIO()
    summary(Console(file=output, soft_wrap=True), outcomes)

    assert all(not outcome.samples and not outcome.failed for outcome in outcomes)
    assert f"{UPLOAD} | muxpy skipped: iperf3 not found (Debian: apt install iperf3)" in line_texts(outcomes[0])
    for tool in ("iperf3", "nginx, wrk", "ssh, ssh-keygen, sshd"):
        assert sum(f": {tool} not found" in line for line in output.getvalue().splitlines()) == 1


# ---- targets ----


def outcome_of(name: str, **figures: dict[str, float]) -> Outcome:
    made = Outcome(measure(name))
    for entry, sample in figures.items():
        made.samples[entry.replace("_", "-")] = [dict(sample)]
    return made


def judged(outcome: Outcome) -> dict[tuple[str, str, str | None], bool]:
    return {(each.target.entry, each.text, each.beside): each.reached for each in outcome.verdicts()}


def test_the_targets_of_one_stream() -> None:
    rates = {"muxpy": 1.8, "muxpy_tls": 1.1, "ssh": 1.0, "asyncssh": 1.2}

    outcome = outcome_of(UPLOAD, **{entry: {"rate": rate} for entry, rate in rates.items()})

    assert judged(outcome) == {
        ("muxpy", "≥ 1.8x", "ssh"): True,
        ("muxpy-tls", "≥ 1.2x", "ssh"): False,
        ("muxpy", "≥ 1x", "asyncssh"): True,
        ("muxpy-tls", "≥ 1x", "asyncssh"): False,
    }


@pytest.mark.parametrize(("name", "factor"), [(KEPT, 1), ("wrk: a connection for each request", 0.8)])
@pytest.mark.parametrize("reached", [True, False])
def test_the_targets_of_requests(name: str, factor: float, reached: bool) -> None:
    rate = 100 * factor + (1 if reached else -1)

    outcome = outcome_of(name, muxpy={"rate": rate}, ssh={"rate": 100.0})

    assert judged(outcome) == {("muxpy", f"≥ {factor}x", "ssh"): reached}


def test_the_targets_of_memory_are_for_each_end() -> None:
    fits, does_not = 60 * 2**20, 60 * 2**20 + 1

    outcome = outcome_of(MEMORY, muxpy={"near": fits, "far": does_not})

    assert [verdict.reached for verdict in outcome.verdicts()] == [True, False]


def test_every_way_is_compared_with_asyncssh() -> None:
    for each in TUNNEL:
        if each.name != MEMORY:
            compared = {target.entry for target in each.targets if "asyncssh" in target.beside}
            assert compared == {"muxpy", "muxpy-tls"}


def test_all_forwarders_take_part() -> None:
    assert set(TUNNELS.values()) == set(FORWARDERS)
    for each in TUNNEL:
        assert {entry.name for entry in each.entries} >= set(TUNNELS) - {"none"}


# ---- how it is shown ----


def page(*outcomes: Outcome) -> str:
    results: dict[str, Any] = as_json({}, {}, outcomes)
    return filled("<!-- results: tunnel -->\n<!-- end -->", results)


def test_a_target_of_another_than_the_first_says_whose_it_is() -> None:
    outcome = outcome_of(UPLOAD, muxpy={"rate": 2e9}, muxpy_tls={"rate": 1e9}, ssh={"rate": 1e9})
    output = io.StringIO()
    summary(Console(file=output, soft_wrap=True), [outcome])

    assert f"  missed: {UPLOAD}: muxpy-tls 1.00 GB/s, target ≥ 1.2x of ssh" in output.getvalue().splitlines()
    expected = "ssh | 1.00 GB/s | muxpy has 2.00x | target ≥ 1.8x reached, muxpy-tls ≥ 1.2x MISSED"
    assert f"{UPLOAD} | {expected}" in line_texts(outcome)
    assert "| ≥ 1.8x ssh: yes, muxpy-tls ≥ 1.2x ssh: **no** |" in page(outcome)


def test_rates_share_a_table_and_what_else_there_is_has_its_own() -> None:
    sample = {"rate": 1000.0, "p50": 0.001, "p99": 0.002}
    bulk = outcome_of(UPLOAD, muxpy={"rate": 2e9}, ssh={"rate": 1e9})
    requests = outcome_of(KEPT, muxpy=sample, ssh={**sample, "rate": 500.0})
    memory = outcome_of(MEMORY, muxpy={"near": 50e6, "far": 70e6})

    lines = page(bulk, requests, memory).splitlines()

    assert f"| {UPLOAD} | 2.00 GB/s |  |  | 1.00 GB/s (2.00x) |  | ≥ 1.8x ssh: yes |" in lines
    assert f"| {KEPT} | 1,000 /s |  |  | 500 /s (2.00x) |  | ≥ 1x ssh: yes |" in lines
    assert lines[lines.index(f"| {KEPT} | median | p99 |") + 2] == "| muxpy | 1.00 ms | 2.00 ms |"
    assert "| muxpy | 50.0 MB | 70.0 MB | ≤ 62.9 MB: yes, ≤ 62.9 MB: **no** |" in lines
