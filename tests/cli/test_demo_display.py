"""How the demo shows what it does."""

from __future__ import annotations

import pytest

from muxpy_cli._demo._report import Traffic, TrafficDisplay, _window
from muxpy_cli._errors import describe
from muxpy_cli.view import Console


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_progress_of_the_demo_fits_the_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    from muxpy_cli._demo._load import TrafficCount

    console = Console()
    console.rich._force_terminal = True
    console.rich.width = width
    display, meter = TrafficDisplay(console), TrafficCount()
    meter.add(100 * 2**20)
    with display.running(), display.phase(Traffic("requests, 32 connections", 256 * 2**20, "B"), meter) as show:
        show()
    output = capsys.readouterr().out
    assert "requests, 32 connections" in output
    assert "/s" in output
    assert "\u2026" not in output
    assert ("\u2501" in output) == (width > 100)


def test_a_window_that_never_grew_is_as_large_as_it_began() -> None:
    assert _window(0) == "64 KiB -> 64 KiB"
    assert _window(2**20) == "64 KiB -> 1 MiB"


def test_a_name_that_cannot_be_encoded_is_described() -> None:
    with pytest.raises(UnicodeError) as caught:
        ("a" * 70 + ".example").encode("idna")
    assert describe(caught.value) == "no valid host name"
