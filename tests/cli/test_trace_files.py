"""`muxpy trace`: files that are broken, or no traces, or very long."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from muxpy_cli.trace import Page, _read, show_trace
from muxpy_cli.view import Console

from .trace_helpers import BEGIN, GOLDEN, WHOLE, Trace, begin, data, event, labels, sent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import InProcess


pytestmark = pytest.mark.usefixtures("utc")


def test_broken_lines_are_told_and_left_out(trace: Trace) -> None:
    lines = WHOLE.splitlines(keepends=True)
    lines[2:2] = ["nonsense\n", event(1, direction="up", type="DATA", stream=3), event(1, session=-1), "\n"]
    code, out, err = trace("".join(lines) + lines[-1][:30])
    assert (code, out) == (0, GOLDEN)
    assert err.splitlines() == [
        "muxpy: FILE, line 3: it is no JSON; going on",
        "muxpy: FILE, line 4: it has no direction; going on",
        "muxpy: FILE, line 5: session is no number of a frame; going on",
        "muxpy: FILE, line 6: it is no JSON; going on",
        f"muxpy: FILE, line {len(lines) + 1}: the file ends within it: it is no JSON; going on",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"time": None}, {"time": "now"}, {"time": True}, {"time": -1}, {"time": 1e300}, {"time": 10**400},
        {"time": float("nan")}, {"time": float("inf")},
        {"session": None}, {"session": "1"}, {"session": 2**70}, {"session": True},
        {"event": "frames"}, {"event": ["frame"]}, {"event": {}},
        {"type": "PONG"}, {"type": []}, {"direction": 3}, {"stream": None}, {"stream": 1.5}, {"length": -1},
        {"length": "1"}, {"code": 3}, {"text": ["x"]}, {"increment": 10**5000},
    ],
)  # fmt: skip
def test_no_line_is_trusted(change: dict[str, object], trace: Trace) -> None:
    right = {"time": BEGIN, "session": 1, "event": "frame", "direction": "sent", "type": "DATA", "stream": 3}
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    line = json.dumps({name: value for name, value in (right | change).items() if value is not None})
    sys.set_int_max_str_digits(limit)
    code, out, err = trace(begin() + line + "\n" + sent(1, "SYN", 3))
    assert code == 0
    assert err.startswith("muxpy: FILE, line 2: ")
    assert labels(out) == ["SYN 3"]


def test_a_line_without_an_end_and_a_nest_without_a_bottom_are_broken_lines(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_read, "MAX_LINE", 500)
    code, out, err = trace(begin() + "x" * 2_345 + "\n" + sent(1, "SYN", 3))
    assert (code, labels(out), err) == (0, ["SYN 3"], "muxpy: FILE, line 2: it is too long; going on\n")
    monkeypatch.undo()
    code, out, err = trace(begin() + "[" * 100_000 + "\n" + sent(1, "SYN", 3))
    assert (code, labels(out), err) == (0, ["SYN 3"], "muxpy: FILE, line 2: it is no JSON; going on\n")


def test_many_broken_lines_are_counted(trace: Trace) -> None:
    err = trace(begin() + "x\n" * 5_000)[2].splitlines()
    assert len(err) == 11
    assert err[-1] == "muxpy: FILE: 4,990 more lines cannot be read"


@pytest.mark.parametrize(
    "content", [b"hello\n", b"\0" * 5_000_000, bytes(range(256)) * 500, b'{"time": 1}\n' * 99, b"[]"]
)
def test_another_kind_of_file_is_one_line(content: bytes, trace: Trace, in_process: InProcess) -> None:
    trace.path.write_bytes(content)
    code, output, errors = in_process(f"trace {trace.path}")
    assert (code, output) == (2, "")
    assert errors.startswith(f"muxpy: {trace.path} is no trace: line 1: ")
    assert errors.count("\n") == 1


def test_an_empty_file_is_no_mistake(trace: Trace) -> None:
    assert trace("") == (0, "", "muxpy: FILE: it is empty, no session has been traced\n")


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_a_mistake(what: str, tmp_path: Path, in_process: InProcess) -> None:
    code, output, errors = in_process(f"trace {tmp_path if what == 'folder' else tmp_path / 'missing'}")
    assert (code, output, errors.count("\n")) == (2, "", 1)


def test_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that end and lines that are shown: nothing of them is kept."""

    def lines(count: int) -> Iterator[bytes]:
        yield begin().encode()
        for number in range(count):
            at, stream = number / 1e5, 2 * number + 3
            yield sent(at, "SYN", stream).encode()
            yield data(at, stream).encode()
            yield sent(at, "RST", stream, code="CANCEL").encode()

    peaks = []
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        for count in (1_000, 5_000):
            source = lines(count)
            page = Page(Console())
            tracemalloc.start()
            assert show_trace(lambda _, source=source: next(source, b""), "it", page) is None  # type: ignore[misc]
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000  # of 5,000 streams, each of more than 100 bytes
