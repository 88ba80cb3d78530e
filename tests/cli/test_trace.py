"""`muxpy trace`: what a trace looks like, and where it is shown."""

from __future__ import annotations

import io
import os
import re
import subprocess
from typing import Any

import pytest

from muxpy_cli.commands._trace import trace_command
from muxpy_cli.trace._summary import LISTED, MAX_LIVE
from muxpy_cli.view import Console

from .program import COMMAND, ENVIRONMENT
from .trace_helpers import EVIL, GOLDEN, WHOLE, Trace, begin, data, event, labels, received, run, sent

pytestmark = pytest.mark.usefixtures("utc")


def test_the_ladder(trace: Trace) -> None:
    assert trace(WHOLE) == (0, GOLDEN, "")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 250])
def test_no_line_is_wider_than_the_terminal(width: int, trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console, "width", width)
    long = begin() + sent(0, "SYN", 2**31 - 1, priority=2**31 - 1, stream_type=2**32 - 1)
    out = trace(long + received(1, "GOAWAY", 0, last_id=2**31 - 1, code="NO_ERROR", text="x" * 300))[1]
    ladder = [line for line in out.splitlines() if "│" in line]
    assert len(ladder) == 2
    assert {len(line) for line in ladder} == {max(48, min(width, 100))}
    assert "…" in ladder[1]


def test_runs_end_with_what_must_not_be_hidden(trace: Trace) -> None:
    frames = [data(0.01, 3), data(0.02, 3), data(0.5, 3), data(0.51, 5), data(0.52, 3, fin=True), data(0.53, 5)]
    out = trace(begin() + "".join(frames))[1]
    assert labels(out) == ["DATA 3 ×2 32,766 B", "DATA 3 ×2 32,766 B FIN", "DATA 5 16,383 B", "DATA 5 16,383 B"]  # noqa: RUF001
    assert out.count("+480 ms") == 1
    one_by_one = trace(begin() + "".join(frames), "--all")[1]
    assert labels(one_by_one) == [f"DATA {stream} 16,383 B" for stream in (3, 3, 3, 5)] + [
        "DATA 3 16,383 B FIN",
        "DATA 5 16,383 B",
    ]


def test_streams_and_sessions_can_be_chosen(trace: Trace) -> None:
    two = WHOLE + begin(10, 2) + data(10.1, 5, session=2) + data(10.2, 7, session=2) + data(10.3, 9, session=2)
    assert labels(trace(two, "--stream", "5", "--stream", "9")[1])[1:] == ["DATA 5 16,383 B", "DATA 9 16,383 B"]
    only = trace(two, "--session", "2", "--stream", "7")[1]
    assert labels(only) == ["DATA 7 16,383 B"]
    assert "session 1" not in only
    assert trace(two, "--session", "3") == (1, "", "muxpy: FILE: no session 3 in it\n")
    assert labels(trace(two, "--session", "1")[1]) == labels(GOLDEN)


def test_a_stream_that_is_not_in_it_is_an_error(trace: Trace) -> None:
    assert trace(WHOLE, "--stream", "3")[::2] == (0, "")
    for options, missing in (
        (("--stream", "99"), "no stream 99"),
        (("--stream", "3", "--stream", "99", "--stream", "7"), "no streams 7, 99"),
        (("--stream", "99", "--session", "1"), "no stream 99 of session 1"),
    ):
        code, _, errors = trace(WHOLE, *options)
        assert (code, errors) == (1, f"muxpy: FILE: {missing} in it\n")


def test_frames_of_several_sessions_say_which(trace: Trace) -> None:
    out = trace(begin() + begin(0.001, 2) + data(0.01, 3) + data(0.02, 3, session=2) + data(0.03, 3))[1]
    assert [line[20:24] for line in out.splitlines() if "│" in line] == ["#1  ", "#2  "]
    assert labels(out) == ["DATA 3 ×2 32,766 B", "DATA 3 16,383 B"]  # noqa: RUF001
    assert out.count("without its end") == 2
    assert re.search(r"^session  stream  opened by +sent", out, re.MULTILINE)


def test_a_server_opens_even_streams(trace: Trace) -> None:
    out = trace(begin(role="server") + data(1, 2) + data(2, 3))[1]
    assert "     2  this side" in out
    assert "     3  peer" in out


def test_a_session_without_its_begin_is_shown_all_the_same(trace: Trace) -> None:
    out = trace(data(1, 3, session=4) + event(2, "end", 4, code="CANCEL", text="it was killed by this side"))[1]
    assert out.startswith("session 4: its beginning is not in the trace, 2023")
    assert "   1.000000         session 4 ended: it was killed by this side (CANCEL)" in out


def test_what_a_peer_says_does_not_command_the_terminal(trace: Trace) -> None:
    evil: dict[str, Any] = {"role": EVIL, "local": EVIL, "remote": EVIL, "tls": EVIL}
    text = begin(**evil) + received(1, "GOAWAY", 0, last_id=1, code=EVIL, text=EVIL)
    text += sent(1, "SYN", 3) + received(1, "RST", 3, code=EVIL) + event(2, "end", code=EVIL, text=EVIL + "\ud800")
    code, out, err = trace(text + EVIL.replace("\n", "") + "\n")
    assert code == 0
    assert all(line.isprintable() for line in [*out.split("\n"), *err.split("\n")])
    assert r"\x1b[2J\x1b]0;owned\x07\n9.999999 all is well\r\u202e" in out
    assert len(labels(out)) == 3


# ---- pipes, and how it looks ----


def test_standard_input_and_a_terminal_that_knows_ascii_only() -> None:
    done = run("-", stdin=WHOLE.replace("bye", "tsch\u00fc\u00df").encode(), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").splitlines()
    assert lines[2] == f"   0.000500         | SYN 3 priority 7 type 2 {'-' * 52}>|"
    assert lines[5].endswith("- DATA 3 x52 851,916 B |")
    assert lines[8].endswith(r'NO_ERROR "tsch\xfc\xdf" |')


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_are_for_terminals(no_color: str, trace: Trace) -> None:
    trace.path.write_text(WHOLE)
    here, there = os.openpty()
    variables = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "TZ": "UTC", "COLUMNS": "100"}
    variables |= {"NO_COLOR": no_color} if no_color else {}
    process = subprocess.Popen(
        [*COMMAND, "trace", str(trace.path)], stdout=there, stderr=there, env={**ENVIRONMENT, **variables}
    )
    os.close(there)
    shown = b""
    try:
        while part := os.read(here, 65536):
            shown += part
    except OSError:
        pass  # how a terminal says that nobody has it open any more
    finally:
        os.close(here)
    assert process.wait(20) == 0
    assert (b"\x1b[" in shown) is not bool(no_color)
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode().replace("\r\n", "\n")
    assert labels(plain) == labels(GOLDEN)


def test_a_reader_that_has_seen_enough_is_no_failure(trace: Trace) -> None:
    trace.path.write_text(begin() + "".join(sent(number / 1000, "SYN", 2 * number + 3) for number in range(20_000)))
    process = subprocess.Popen(
        [*COMMAND, "trace", str(trace.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"session 1")
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(20) == 0


def test_an_interrupt_is_quiet(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.BytesIO):
        def readline(self, size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.open", lambda *_: Interrupted())
    code = trace_command.main([__file__], prog_name="muxpy", standalone_mode=False)
    assert code == 130


def test_a_long_trace_lists_the_streams_that_carried_most(trace: Trace) -> None:
    lines = [
        sent(number, "SYN", 2 * number + 3)
        + sent(number, "DATA", 2 * number + 3, length=number % 50)
        + received(number, "RST", 2 * number + 3, code="CANCEL")
        for number in range(50)
    ]
    out = trace(begin() + "".join(lines))[1]
    table = out[out.index("stream  opened by") :]
    assert table.count("CANCEL by peer") == LISTED
    assert f"and 30 more streams, {sum(range(30))} B" in table
    assert MAX_LIVE > LISTED


def test_frames_of_http2(trace: Trace) -> None:
    frames = [
        received(0, "SETTINGS", 0, settings=["INITIAL_WINDOW_SIZE=65536", "ENABLE_PUSH=0"]),
        sent(0.1, "SETTINGS", 0, flags=["ACK"]),
        received(0.2, "HEADERS", 1, headers=[":method", ":path"]),
        sent(0.3, "HEADERS", 1, headers=[":status", EVIL]),
        sent(0.4, "PUSH_PROMISE", 1, promised=2, headers=[":path"]),
        *(sent(0.5 + number / 100, "DATA", 1, length=10) for number in range(3)),
        received(0.53, "WINDOW_UPDATE", 1, increment=30),
        sent(0.54, "HEADERS", 1, flags=["END_STREAM"], headers=["grpc-status"]),
        received(0.55, "RST_STREAM", 1, code="NO_ERROR"),
        received(0.6, "type 0x77", 5, length=3),
        received(0.7, "PING", 0, length=8),
    ]
    out = trace(begin(role="server") + "".join(frames))[1]
    assert labels(out) == [
        "SETTINGS INITIAL_WINDOW_SIZE=65536 ENABLE_PUSH=0",
        "SETTINGS ACK",
        "HEADERS 1 :method :path",
        labels(out)[3],
        "PUSH_PROMISE 1 promises 2 :path",
        "DATA 1 ×3 30 B",  # noqa: RUF001
        "WINDOW_UPDATE 1 +30",
        "HEADERS 1 END_STREAM grpc-status",
        "RST_STREAM 1 NO_ERROR",
        "type 0x77 5",
        "PING",
    ]
    assert labels(out)[3].startswith("HEADERS 1 :status bye\\x1b")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line[0].isalpha()}
    assert rows["HEADERS"] == ["2", "1"]
    assert rows["PUSH_PROMISE"] == ["1", "0"]
    assert "NO_ERROR by peer" in out


def test_lists_of_a_frame_are_checked(trace: Trace) -> None:
    out = trace(begin() + sent(0, "HEADERS", 1, headers=[1]) + sent(0, "SETTINGS", 0, settings="x"))
    assert "headers is no list of texts" in out[2]
    assert "settings is no list of texts" in out[2]
