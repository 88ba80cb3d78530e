"""What a run prints, writes and draws, from outcomes made up here."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks.machine import describe
from benchmarks.measures import MEASURES
from benchmarks.model import Entry, Figure, Measure, Target
from benchmarks.outcome import Outcome, as_json
from benchmarks.plots import PLOTS, draw
from benchmarks.progress import Progress
from benchmarks.report import line_texts, summary
from benchmarks.units import show

from .canned import canned, measure

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = tuple(Entry(name, name, {"workload": "echo"}) for name in ("muxpy", "tcp", "go-smux", "go-yamux"))
FIGURES = (Figure("rate", "rate", "/s"), Figure("time", "time", "s"))


def outcome(*targets: Target) -> Outcome:
    made = Outcome(Measure("echo", "an echo", ENTRIES, FIGURES, targets))
    rates = {"muxpy": [10.0, 30.0, 20.0], "tcp": [25.0], "go-smux": [40.0], "go-yamux": [5.0]}
    for name, values in rates.items():
        made.samples[name] = [{"rate": value, "time": value / 100} for value in values]
    return made


@pytest.mark.parametrize(
    ("target", "beside", "text", "reached"),
    [
        (Target("muxpy", "rate", 0.8, ("tcp",)), "tcp", "≥ 0.8x", True),
        (Target("muxpy", "rate", 0.9, ("tcp",)), "tcp", "≥ 0.9x", False),
        (Target("muxpy", "rate", 1, ("go-smux", "go-yamux")), "go-smux", "≥ 1x", False),
        (Target("muxpy", "rate", 1, ("go-muxado", "go-yamux")), "go-yamux", "≥ 1x", True),
        (Target("muxpy", "time", 0.2, at_most=True), None, "≤ 200 ms", True),
        (Target("muxpy", "time", 0.02, beside_figure="rate", at_most=True), None, "≤ 0.02x rate", True),
        (Target("muxpy", "time", 0.001, beside_figure="rate", at_most=True), None, "≤ 0.001x rate", False),
    ],
)
def test_a_target_is_judged_by_the_medians(target: Target, beside: str | None, text: str, reached: bool) -> None:
    (verdict,) = outcome(target).verdicts()

    assert (verdict.beside, verdict.text, verdict.reached) == (beside, text, reached)


def test_a_target_beside_something_missing_is_not_judged() -> None:
    assert outcome(Target("muxpy", "rate", 1, ("ssh",))).verdicts() == []


def test_each_line_names_the_figure_the_ratio_and_the_target() -> None:
    made = outcome(Target("muxpy", "rate", 0.9, ("tcp",)))
    made.missing["ssh"] = "sshd not found"
    made.failed["go-yamux"] = "not done after 60 s"

    lines = line_texts(made)

    assert "an echo | muxpy | rate 20 /s | (10 /s to 30 /s)" in lines
    assert "an echo | tcp | rate 25 /s | muxpy has 0.80x | target ≥ 0.9x MISSED" in lines
    assert "an echo | ssh skipped: sshd not found" in lines
    assert "an echo | go-yamux FAILED: not done after 60 s" in lines


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_every_measure_and_animates_only_on_a_terminal(terminal: bool) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, soft_wrap=True)
    with Progress(console, runs=len(MEASURES)) as progress:
        for each in MEASURES:
            progress.on_start(each)(each.entries[0])
            progress.show(canned(each))

    assert all(each.name in output.getvalue() for each in MEASURES)
    assert ("\x1b" in output.getvalue()) == terminal


def test_the_summary_counts_and_names() -> None:
    output = io.StringIO()
    made = outcome(Target("muxpy", "rate", 0.8, ("tcp",)), Target("muxpy", "rate", 0.9, ("tcp",)))
    made.missing["ssh"] = "sshd not found"

    summary(Console(file=output, soft_wrap=True), [made])

    assert output.getvalue().splitlines() == [
        "1 of 2 targets reached",
        "  missed: an echo: 20 /s, target ≥ 0.9x of tcp",
        "  skipped: ssh: sshd not found",
    ]


def test_the_json_holds_the_machine_and_every_sample() -> None:
    outcomes = [canned(each) for each in MEASURES]

    result = json.loads(json.dumps(as_json(dict(describe()), {"rounds": 3}, outcomes)))

    assert result["machine"]["cores"] >= 1
    assert [each["name"] for each in result["measures"]] == [each.name for each in MEASURES]
    assert result["measures"][0]["samples"] == outcomes[0].samples
    assert result["measures"][0]["medians"]["muxpy"]["rate"] == outcomes[0].median("muxpy", "rate")


def test_every_plot_is_a_small_svg_that_is_the_same_each_time(tmp_path: Path) -> None:
    outcomes = [canned(each) for each in MEASURES]

    paths = draw(outcomes, tmp_path / "one")
    again = draw(outcomes, tmp_path / "two")

    assert [path.stem for path in paths] == list(PLOTS)
    for path, other in zip(paths, again, strict=True):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert "<text" in path.read_text()  # text stays text
        assert path.stat().st_size < 64 * 1024
        assert path.read_bytes() == other.read_bytes()


def test_only_what_was_measured_is_drawn(tmp_path: Path) -> None:
    partly = canned(measure("100 B echo, 1 stream"))
    del partly.samples["go-smux"]

    assert [path.name for path in draw([partly], tmp_path)] == ["echo.svg"]
    assert "go-smux" not in (tmp_path / "echo.svg").read_text()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.345e9, "B/s", "2.35 GB/s"),
        (56.5e6, "B/s", "56.5 MB/s"),
        (12345.6, "/s", "12,346 /s"),
        (0.00123, "s", "1.23 ms"),
        (0.00000521, "us", "5.21 µs"),
        (512.4, "B", "512 B"),
        (132.6e6, "B", "133 MB"),
        (0.0123, "share", "1.23 %"),
        (0.000018, "share", "0.0018 %"),
        (7, "round trips", "7 round trips"),
    ],
)
def test_figures_are_shown_with_their_unit(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text
