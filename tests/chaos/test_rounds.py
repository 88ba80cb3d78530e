"""A few rounds of each kind with fixed seeds: `python -m tests.chaos` plays as many as there is time for."""

from __future__ import annotations

import pytest

from .__main__ import main
from .plan import FAULTS, Fault
from .rounds import Result, play_round

FEW = 40
"""Streams of most rounds here: they come from all kinds of plays, and a round takes a fifth of a second."""


def check(result: Result) -> None:
    """No rule was broken."""
    assert result.violations == [], f"to see it again: python -m tests.chaos --seed {result.seed} {result.kind}"


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("fault", FAULTS)
def test_in_memory(fault: Fault, seed: int) -> None:
    check(play_round("memory", seed, fault=fault, streams=FEW))


def test_two_hundred_streams_at_once() -> None:
    result = play_round("memory", 3)
    check(result)
    assert result.tally.opened == 200
    assert result.tally.checked > 1_000_000


@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("fault", FAULTS)
def test_of_http2(fault: Fault, seed: int) -> None:
    check(play_round("http2", seed, fault=fault, streams=FEW))


over_tcp = pytest.mark.parametrize("kind", ["plain", "http2-plain"])
over_tls = pytest.mark.parametrize("kind", ["tls", "http2-tls"])


@over_tcp
@pytest.mark.parametrize("fault", ["none", "truncate", "boundary", "rst"])
def test_over_tcp(fault: Fault, kind: str) -> None:
    check(play_round(kind, 13, fault=fault, streams=FEW))


@over_tcp
@pytest.mark.parametrize("seed", [26, 43])
def test_damage_over_tcp(seed: int, kind: str) -> None:
    check(play_round(kind, seed, fault="corrupt", streams=FEW))


@over_tls
@pytest.mark.parametrize("fault", ["none", "truncate"])
def test_over_tls(fault: Fault, kind: str) -> None:
    check(play_round(kind, 13, fault=fault, streams=FEW))


@over_tls
@pytest.mark.parametrize("seed", [30, 26, 60, 73])
def test_damage_over_tls_is_always_noticed(seed: int, kind: str) -> None:
    check(play_round(kind, seed, fault="corrupt", streams=FEW))


def test_the_same_seed_is_the_same_round() -> None:
    one, two = (play_round("memory", 17, streams=60) for _ in range(2))
    assert (one.fault, one.damaged) == (two.fault, two.damaged)
    assert one.tally == two.tally


def test_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    # So many rounds: the time is a net only, and a busy machine may take all it wants.
    assert main(["--seconds", "3600", "--seed", "40", "--rounds", "2", "memory"]) == 0
    output = capsys.readouterr().out
    assert "memory       seeds 40-41" in output
    assert "rounds with violations" in output
