"""The demo: its processes, and how it shows what it does."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest
import trio

from muxpy_cli._demo._report import Traffic, TrafficDisplay, _window
from muxpy_cli.view import Console
from tests.helpers.tasks import LIMIT

from .program import run, running


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


async def test_the_demo_shows_what_it_measured() -> None:
    with trio.fail_after(LIMIT):
        code, output, errors = await run("demo", "--size", "4MiB", "--requests", "50")
    assert (code, errors) == (0, "")
    for text in ("download", "upload", "MiB/s", "p50 / p90 / p99", "streams opened", "frames", "largest window"):
        assert text in output
    assert "All 4 MiB and 60 answers came through with the right SHA-256." in output
    assert "\x1b" not in output
    assert "…" not in output


async def test_the_demo_ends_its_processes_when_interrupted() -> None:
    with trio.fail_after(LIMIT):
        async with running("demo", "--size", "100GiB") as demo:
            ports = [await demo.port(text) for text in ("HTTP server", "muxpy listen", "forwarding")]
            assert await demo.end(signal.SIGINT) == 130
            for port in ports:
                with pytest.raises(OSError, match="all attempts to connect"):
                    await trio.open_tcp_stream("127.0.0.1", port)


async def test_the_demo_ends_its_processes_whatever_is_pressed() -> None:
    with trio.fail_after(LIMIT):
        async with running("demo", "--size", "100GiB") as demo:
            ports = [await demo.port(text) for text in ("HTTP server", "muxpy listen", "forwarding")]
            while demo.process.poll() is None:
                demo.send(signal.SIGINT)
                await trio.sleep(0.01)
            assert (demo.process.returncode, await demo.errors()) == (130, "")
            for port in ports:
                with pytest.raises(OSError, match="all attempts to connect"):
                    await trio.open_tcp_stream("127.0.0.1", port)


async def test_the_processes_of_the_demo_do_not_outlive_it() -> None:
    with trio.fail_after(LIMIT):
        async with running("demo", "--size", "100GiB") as demo:
            ports = [await demo.port(text) for text in ("HTTP server", "muxpy listen", "forwarding")]
            await demo.end(signal.SIGKILL)
            for port in ports:
                with suppress(OSError):
                    while True:
                        await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                        await trio.sleep(0.05)


async def test_the_demo_has_a_time_limit() -> None:
    with trio.fail_after(LIMIT):
        code, _, errors = await run("demo", "--size", "100GiB", "--time-limit", "1")
    assert (code, errors) == (1, "muxpy: the demo takes longer than its time limit\n")
