"""What the program prints: in order, never waiting for a reader, and never more than a peer should be able to cause."""

from __future__ import annotations

import os
import time

import pytest

from muxpy_cli._console import Console
from muxpy_cli._demo._report import Display, Phase, _window
from muxpy_cli._errors import describe
from muxpy_cli._writer import MAX_WAITING, BackgroundWriter


def test_lines_come_in_order_and_what_does_not_fit_is_counted() -> None:
    reader, writer = os.pipe()
    count = 10 * MAX_WAITING
    lines = BackgroundWriter(writer, "utf-8")
    started = time.monotonic()
    for number in range(count):
        lines.put(f"{number:<99}\n")  # more than a pipe holds
    assert time.monotonic() - started < 5
    with os.fdopen(reader) as output:
        received = [output.readline() for _ in range(MAX_WAITING)]
        lines.close()
        os.close(writer)
        received += output.readlines()
    numbers = [int(line) for line in received if "dropped" not in line]
    dropped = [int(line.split()[0][1:].replace(",", "")) for line in received if "lines were dropped" in line]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    assert dropped
    assert len(numbers) + sum(dropped) == count


def test_a_reader_that_never_reads_is_not_waited_for_at_the_end() -> None:
    reader, writer = os.pipe()
    lines = BackgroundWriter(writer, "utf-8")
    for _ in range(MAX_WAITING):
        lines.put("x" * 1000 + "\n")
    started = time.monotonic()
    lines.close()
    assert time.monotonic() - started < 5
    os.close(reader)  # which ends the thread
    lines._thread.join(5)
    assert not lines._thread.is_alive()
    os.close(writer)


def test_a_reader_that_has_gone_ends_the_writing_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = BackgroundWriter(writer, "utf-8")
    for _ in range(3):
        lines.put("x\n")
    lines.close()
    assert not lines._thread.is_alive()
    os.close(writer)


def test_what_a_peer_can_cause_is_limited_and_hides_no_complaints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    console = Console()
    for number in range(1000):
        console.news(f"session {number}")
    console.complain("refused")
    monkeypatch.setattr(time, "monotonic", lambda: 102.0)
    console.news("session again")
    output = capsys.readouterr().out
    assert output.count("session") == 21
    assert "refused" in output
    assert "(980 more of these were not shown)" in output


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_progress_of_the_demo_fits_the_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    from muxpy_cli._demo._load import Meter

    console = Console()
    console.rich._force_terminal = True
    console.rich.width = width
    display, meter = Display(console), Meter()
    meter.add(100 * 2**20)
    with display.running(), display.phase(Phase("requests, 32 connections", 256 * 2**20, "B"), meter) as show:
        show()
    output = capsys.readouterr().out
    assert "requests, 32 connections" in output
    assert "/s" in output
    assert "\u2026" not in output
    assert ("\u2501" in output) == (width > 100)


def test_a_window_that_never_grew_is_as_large_as_it_began() -> None:
    assert _window({"largest_window": 0}) == "64 KiB -> 64 KiB"
    assert _window({"largest_window": 2**20}) == "64 KiB -> 1 MiB"


def test_a_name_that_cannot_be_encoded_is_described() -> None:
    with pytest.raises(UnicodeError) as caught:
        ("a" * 70 + ".example").encode("idna")
    assert describe(caught.value) == "no valid host name"
