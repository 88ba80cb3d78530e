"""The live display on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import termios
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

import pytest
import trio
import trio.testing

from muxpy_cli._options import Output
from muxpy_cli.view import Console, Snapshot, run_display
from muxpy_cli.view._display import INTERVAL
from tests.helpers.tasks import LIMIT

from .view_helpers import NOW, Screen, forward, session, snapshot, taking

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal:
    """Standard output as a terminal, and what is read from it."""

    def __init__(self, leader: int, file: TextIO, columns: int, rows: int) -> None:
        self._leader = leader
        self._file = file
        self.rows = rows
        self.screen = Screen(columns)

    @contextmanager
    def console(self, output: str = "auto") -> Iterator[Console]:
        """A console that writes to the terminal, in the background."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", self._file)
            console = Console(Output(format=output))
            with console.in_background():
                yield console

    async def shows(self, *texts: str, gone: str | None = None) -> list[str]:
        """Read on until the screen has these texts, and no longer that one; its rows."""

        def read() -> None:
            while not all(text in self.screen.text for text in texts) or (gone and gone in self.screen.text):
                self.screen.feed(os.read(self._leader, 65536))

        await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        return self.screen.text.splitlines()

    def nothing(self) -> bool:
        """Whether there is nothing to read."""
        return not select.select([self._leader], [], [], 0)[0]


@pytest.fixture(params=[(80, 24), (60, 20), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    columns, rows = request.param
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(follower, "w") as file:
        yield Terminal(leader, file, columns, rows)
    os.close(leader)


class Source:
    """A snapshot for each time that it is asked; each second a mebibyte more is received."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Snapshot:
        seconds, self.asked = self.asked * INTERVAL, self.asked + 1
        received = int(seconds * 2**20)
        first = session(received=received, streams=self.asked)
        totals = replace(snapshot().totals, connections=self.asked, received=received)
        return snapshot([first], [forward(received=received)], at=NOW + seconds, totals=totals)


async def _cycle(clock: trio.testing.MockClock) -> None:
    clock.jump(INTERVAL)
    await trio.testing.wait_all_tasks_blocked()


async def test_the_display_shows_the_state_below_the_lines_and_goes_away(
    terminal: Terminal, mock_clock: trio.testing.MockClock
) -> None:
    source = Source()
    with terminal.console() as console:
        console.line("listening on 127.0.0.1:4242")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_display, console, taking(source))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(4):
                console.news(f"session {number} came")
                await terminal.shows(f"total: {source.asked} connection", f"session {number} came")
                await _cycle(mock_clock)
            during = await terminal.shows("total: 5 connections")
            nursery.cancel_scope.cancel()
        after = await terminal.shows(gone="muxpy listen")
    top = next(index for index, line in enumerate(during) if line.startswith("muxpy listen 127.0.0.1:4242  ready"))
    assert during[0] == "listening on 127.0.0.1:4242"
    assert [line.partition(" ")[2] for line in during[1:top]] == [f"session {number} came" for number in range(4)]
    for name in ("192.0.2.0:40000", "127.0.0.1:8000"):
        row = next(line for line in during[top:] if line.startswith(name))
        assert "1 MiB       0 B" in row  # the rates
    assert "in 2 MiB (1 MiB/s), out 3 GiB (0 B/s)" in " ".join(during[top:])
    assert sum(line.startswith("muxpy listen") for line in during) == 1
    assert after == during[:top]
    assert terminal.screen.cursor


async def test_a_reader_that_stops_does_not_block_and_frames_do_not_pile_up(
    terminal: Terminal, mock_clock: trio.testing.MockClock
) -> None:
    source = Source()
    with terminal.console() as console:
        for number in range(900):
            console.line(f"{number:>300}")  # more than the terminal takes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_display, console, taking(source))
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(100):
                await _cycle(mock_clock)
            assert console.frame_waits
            assert source.asked <= 2  # what cannot be shown is not drawn either
            await terminal.shows(f"total: {source.asked} connection", "899\n")
            await _cycle(mock_clock)
            assert source.asked <= 3
            lines = await terminal.shows(f"total: {source.asked} connection")
            assert sum(line.startswith("muxpy listen") for line in lines) == 1
            nursery.cancel_scope.cancel()


async def test_many_rows_leave_room_for_the_lines(terminal: Terminal, mock_clock: trio.testing.MockClock) -> None:
    everything = snapshot(map(session, range(1000)), map(forward, range(1000)))
    with terminal.console() as console:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_display, console, taking(lambda: everything))
            lines = await terminal.shows("failed logins")
            assert terminal.rows - 8 <= len(lines) <= terminal.rows - 5
            assert sum(" more" in line for line in lines) == 2
            nursery.cancel_scope.cancel()
        assert await terminal.shows(gone="muxpy") == []


@pytest.mark.parametrize("output", ["text", "json"])
async def test_other_formats_have_no_display(output: str, terminal: Terminal) -> None:
    with terminal.console(output) as console, trio.fail_after(LIMIT):
        await run_display(console, taking(snapshot))
    assert terminal.nothing()


async def test_without_a_terminal_there_is_no_display(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(LIMIT):
        await run_display(Console(), taking(snapshot))
    assert capsys.readouterr().out == ""
