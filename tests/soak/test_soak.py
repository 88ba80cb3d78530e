"""The soak in short, and its verdict on runs that went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.tasks import LIMIT
from tests.soak.plan import Act, Kind, Pace, Piece, Plan
from tests.soak.verdict import PARTS, faults, growth

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.soak"]


@pytest.mark.slow
def test_after_seconds_of_everything_all_is_back_where_it_began(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--seconds", "2", "--rounds", "1", "--output", str(tmp_path), "--no-plot"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "samples.json").read_text())
    assert result["finished"]
    assert not result["faults"]
    last = result["rests"]["client"][-1]
    assert last["whole"] > 100
    assert last["cut"] > 10
    assert last["all_sessions"] > 2, "sessions come and go"


@pytest.mark.slow
def test_ctrl_c_ends_both_processes_and_prints_what_there_is(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--seconds", "600", "--output", str(tmp_path), "--no-plot"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[int] = []
    while len(children) < 2 and process.poll() is None:
        time.sleep(0.02)
        with suppress(FileNotFoundError):  # each thread has its own
            texts = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
            children = [int(child) for text in texts for child in text.split()]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=LIMIT)

    assert process.returncode == 130, errors
    assert "interrupted: both processes have been ended" in output
    assert "seed" in output, "the table, even with nothing in it"
    assert errors == ""
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_plan_is_told_as_it_was_drawn() -> None:
    plan = Plan(Piece(1, 2), Piece(3, 4), 5, Act.CLOSE, Act.RAISE, Pace.SLOW, True, Kind.HEAD, 6, 0.5, 0.25)

    data = plan.encode()

    assert len(data) == 2 + int.from_bytes(data[:2], "big")
    assert Plan.decode(data[2:]) == plan


def rest(done: int, **figures: object) -> dict[str, Any]:
    base: dict[str, Any] = {
        "tasks": 10,
        "descriptors": 10,
        "sessions": 2,
        "streams": 4,
        "control_frames": 0,
        "budget_used": 0,
        "rss": 40_000_000,
        "blocks": 100_000,
        "living": {"muxpy.session._stream.Stream": 4},
        "failures": [],
        "done": done,
    }
    return base | figures


STREAMS = range(0, 480_000, 24_000)
"""As many as ten minutes bring."""


def test_nothing_is_wrong_with_a_plateau() -> None:
    rests = [rest(done, rss=40_000_000 + min(done, 50_000) * 100 + done * 7919 % 100_000) for done in STREAMS]

    assert faults("server", rests) == []


@pytest.mark.parametrize(
    ("figures", "what"),
    [
        ({"tasks": 11}, "after round 1: tasks: 11 in the end, at first 10"),
        ({"descriptors": 9}, "descriptors: 9 in the end, at first 10"),
        ({"budget_used": 1}, "budget_used: 1 in the end, at first 0"),
        ({"living": {"muxpy.session._stream.Stream": 5}}, "muxpy.session._stream.Stream: 5 in the end, at first 4"),
        ({"living": {}}, "muxpy.session._stream.Stream: 0 in the end, at first 4"),
        ({"failures": ["bytes were lost"]}, "bytes were lost"),
    ],
)
def test_one_of_anything_is_a_fault(figures: dict[str, object], what: str) -> None:
    (fault,) = faults("server", [rest(0), rest(100, **figures)])

    assert what in fault


@pytest.mark.parametrize("part", PARTS)
def test_what_a_lasting_stream_has_made_since_is_no_fault(part: str) -> None:
    first = rest(0)
    later = rest(100, living={**first["living"], part: first["living"].get(part, 0) + 2})

    assert faults("server", [first, later]) == []


def test_a_bare_state_kept_for_one_stream_of_a_hundred_shows_in_memory_alone() -> None:
    rests = [rest(done, rss=40_000_000 + done // 100 * 450, blocks=100_000 + done // 100 * 4) for done in STREAMS]

    assert [fault.split()[1] for fault in faults("server", rests)] == ["rss", "blocks"]


def test_a_short_run_says_nothing_about_memory() -> None:
    assert growth([rest(0), rest(100), rest(200)], "rss") is None


def test_a_run_without_a_rest_has_failed() -> None:
    assert faults("client", []) == ["client: it never came to a rest"]
