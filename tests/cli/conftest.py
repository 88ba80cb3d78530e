"""Fixtures of the program's tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .trace_helpers import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
