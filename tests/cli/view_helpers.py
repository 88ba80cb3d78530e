"""A snapshot to look at, and a terminal that understands what the display writes."""

from __future__ import annotations

import codecs
import os
import re
import socket
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from muxpy_cli.view import ForwardState, SessionState, Snapshot, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import pytest

    from muxpy_cli.view import TakeSnapshot

NOW = 1_700_007_300.0
STARTED = NOW - 7300


def session(number: int = 0, **changes: Any) -> SessionState:  # noqa: ANN401
    plain = SessionState(
        peer=f"192.0.2.{number % 250}:{40000 + number}",
        state="connected",
        user="alice",
        since=NOW - 75,
        streams=7,
        opened=20,
        received=3 * 2**20,
        sent=5 * 2**30,
        rtt=0.0123,
    )
    return replace(plain, **changes)


def forward(number: int = 0, **changes: Any) -> ForwardState:  # noqa: ANN401
    bind, target = f"127.0.0.1:{8000 + number}", f"db.example:{5000 + number}"
    plain = ForwardState(
        name=f"{bind} -> {target}",
        direction="local",
        kind="tcp",
        bind=bind,
        target=target,
        connections=4,
        total=1234,
        failed=3,
        received=7 * 2**20,
        sent=9 * 2**10,
    )
    return replace(plain, **changes)


def snapshot(
    sessions: Iterable[SessionState] = (session(),),
    forwards: Iterable[ForwardState] = (forward(),),
    **changes: Any,  # noqa: ANN401
) -> Snapshot:
    totals = Totals(
        sessions=11,
        connections=5000,
        failed=33,
        refused=22,
        auth_failures=44,
        received=2**30,
        sent=3 * 2**30,
        reconnects=55,
    )
    plain = Snapshot(
        role="listen",
        address="127.0.0.1:4242",
        version="1.2.3",
        pid=4711,
        started=STARTED,
        at=NOW,
        ready=True,
        sessions=tuple(sessions),
        forwards=tuple(forwards),
        totals=totals,
    )
    return replace(plain, **changes)


def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Have control sockets elsewhere than those of the processes that really run: the first place, and the second."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("muxpy_cli.view._control.TEMPORARY", str(tmp_path))
    return tmp_path / "muxpy", tmp_path / f"muxpy-{os.geteuid()}"


class Screen:
    """The rows of a terminal, the scrolled-off ones too. Fails over a control sequence that it does not know."""

    _PART = re.compile(r"\x1b\[\?25[lh]|\x1b\[([0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]")

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._rest = ""
        self._rows = [""]
        self._row = self._column = 0
        self.cursor = True

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self._rows)

    def feed(self, output: bytes) -> None:
        """Take what was written next; it may end in the middle of a character or a control sequence."""
        text, end = self._rest + self._decoder.decode(output), 0
        while part := self._PART.match(text, end):
            end = part.end()
            if part[0].startswith("\x1b[?25"):
                self.cursor = part[0].endswith("h")
            elif part[2]:
                self._control(part[1], part[2])
            else:
                self._character(part[0])
        self._rest = text[end:]
        assert len(self._rest) < 6, f"unknown: {self._rest!r}"

    def _control(self, argument: str, command: str) -> None:
        if command == "A":
            self._row = max(0, self._row - int(argument or 1))
        elif command == "K" and argument == "2":
            self._rows[self._row] = ""
        elif command == "J" and not argument:
            self._rows[self._row] = self._rows[self._row][: self._column]
            del self._rows[self._row + 1 :]
        else:
            assert command == "m", f"unknown: {argument}{command}"

    def _character(self, character: str) -> None:
        if character == "\r":
            self._column = 0
            return
        if character == "\n" or self._column == self._columns:
            self._row, self._column = self._row + 1, 0
            if self._row == len(self._rows):
                self._rows.append("")
        if character != "\n":
            row = self._rows[self._row].ljust(self._column)
            self._rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
            self._column += 1


def taking(source: Callable[[], Snapshot]) -> TakeSnapshot:
    """How a view asks for what `source` returns."""

    async def take(most: int | None = None) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return source()

    return take


@contextmanager
def filled_queue(path: Path) -> Iterator[None]:
    """Connect until nobody else can."""
    clients: list[socket.socket] = []
    with suppress(BlockingIOError):
        while True:
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            clients[-1].connect(os.fspath(path))
    yield
    for client in clients:
        client.close()
