"""Fixtures of the program's tests."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from muxpy_cli._main import run as run_command_line

from .trace_helpers import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGGERS: Final = ("muxpy", "muxpy.session", "muxpy.serve")


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """The program says which of the library's messages are shown; other tests in this process want to see all."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in LOGGERS]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are the same everywhere."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Trace:
    """Runs `muxpy trace` on events."""
    return Trace(tmp_path, capsys)


class InProcess:
    """The program in this process, in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MUXPY_TOKEN", raising=False)
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, command_line: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["muxpy", *shlex.split(command_line)])
        return (run_command_line(), *self._capsys.readouterr())


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """Runs `muxpy` where what is tested is what it says, and not that it is a program."""
    return InProcess(tmp_path, monkeypatch, capsys)
