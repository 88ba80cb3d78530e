"""Each kept input, and a short run of the fuzzer from them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from . import running
from .corpus import load, seeds, unpack
from .parts import PARTS, parts_named
from .replay import replay
from .running import ROOT
from .targets import CANARY, TARGETS

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [target.name for target in TARGETS]
RUNS = {
    "decoder": 1000,
    "connection": 500,
    "cuts": 500,
    "pair": 400,
    "http2_frames": 1000,
    "http2_hpack": 500,
    "http2_connection": 500,
    "http2_cuts": 500,
    "http2_pair": 400,
    "rpc_answers": 60,
    "rpc_calls": 60,
}
"""Inputs for each target: about two seconds, most of it to start and to run the kept ones. Those of calls take more:
each has two sessions."""


def require_atheris() -> None:
    """Skip the test without atheris; fail it instead where MUXPY_REQUIRE_LIVE_PEERS is 1: nothing is left out there."""
    missing = running.why_missing()
    if missing is None:
        return
    if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1":
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@pytest.mark.parametrize("name", NAMES)
def test_every_kept_input_passes(name: str) -> None:
    inputs = load(name)
    assert 20 < len(inputs) <= 400
    replay(name, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_of_the_fuzzer_finds_nothing(name: str, tmp_path: Path) -> None:
    """From a fixed seed: a test that fails fails again."""
    require_atheris()
    unpack([*load(name), *seeds(name)], tmp_path / "kept")

    outcome = running.fuzz(name, tmp_path / "kept", tmp_path, f"-runs={RUNS[name]}", "-seed=1")

    assert outcome.error is None, (tmp_path / "log.txt").read_text()
    assert outcome.executed >= RUNS[name]
    assert outcome.coverage > 50


def test_parts_are_named_one_by_one_or_together() -> None:
    assert [part.name for part in parts_named(["rpc", "decoder"])] == ["rpc_answers", "rpc_calls", "decoder"]
    assert parts_named([]) == list(PARTS)
    with pytest.raises(LookupError, match="'rp'"):
        parts_named(["rp"])


def test_a_failure_is_found_reported_and_replayed(tmp_path: Path) -> None:
    """With a target that fails on purpose."""
    require_atheris()
    unpack([b"nothing"], tmp_path / "kept")

    outcome = running.fuzz(CANARY.name, tmp_path / "kept", tmp_path, "-runs=1000000", "-seed=1")

    assert outcome.error is not None
    [reproducer] = outcome.reproducers
    assert 0xCA in reproducer.read_bytes()
    again = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.replay", CANARY.name, str(reproducer)],
        cwd=ROOT,
        env=running.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert "the canary sings" in again.stderr
    assert reproducer.read_bytes().hex() in again.stderr
