"""`python -m benchmarks` as its user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.measures import GROUPS

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "benchmarks"]


def test_a_name_that_nothing_has_is_one_line_with_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nonsense"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "'nonsense'" in line
    assert all(group in line for group in GROUPS)


@pytest.mark.parametrize("option", [["--rounds", "0"], ["--seconds", "-1"], ["--rounds", "x"]])
def test_wrong_numbers_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(option)

    assert exit_.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_a_run_prints_lines_and_writes_its_samples(tmp_path: Path) -> None:
    places = ["--json", str(tmp_path / "some" / "results.json"), "--plots", str(tmp_path)]
    options = ["--only", "latency", "--rounds", "1", "--seconds", "0.02"]
    done = subprocess.run([*PROGRAM, *options, *places], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.returncode == 0
    assert "100 B echo beside 8 bulk streams | muxpy | alone, median" in done.stdout
    assert "of 2 targets reached" in done.stdout
    result = json.loads((tmp_path / "some" / "results.json").read_text())
    assert len(result["measures"][0]["samples"]["muxpy"]) == 1
    assert (tmp_path / "latency.svg").exists()


def test_ctrl_c_ends_every_process_and_says_so(tmp_path: Path) -> None:
    options = ["--only", "priority", "--json", str(tmp_path / "results.json"), "--plots", str(tmp_path)]
    process = subprocess.Popen(
        [*PROGRAM, *options, "--seconds", "30"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children: list[int] = []
    while len(children) < 2 and process.poll() is None:  # a server and a client
        time.sleep(0.02)
        children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()

    assert process.returncode == 130
    assert errors.splitlines() == ["interrupted: all processes have been ended, nothing was written"]
    assert len(children) == 2
    assert not any(_lives(pid) for pid in children)
    assert not (tmp_path / "results.json").exists()


def _children(pid: int) -> list[int]:
    """The processes that a process has started, from whichever thread."""
    children = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # that thread has just ended
            children += [int(child) for child in file.read_text().split()]
    return children


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
