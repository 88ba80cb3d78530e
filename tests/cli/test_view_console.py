"""Lines as text and as JSON: what is shown when, and nothing that a peer says can do harm."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from datetime import datetime

import pytest

from muxpy_cli._options import Output
from muxpy_cli.view import Console, fail
from muxpy_cli.view._console import MAX_EVENTS

from .program import ENVIRONMENT

EVIL = 'a "quoted" \x1b]0;title\x07 \n{"level":"x"} \\ \ud800 \u202e ü'


def _all_kinds(console: Console) -> None:
    console.line("set up")
    console.event("happened")
    console.news("came")
    console.detail("small")
    console.complain("went wrong")
    console.error("broke")


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (-1, ["went wrong", "broke"]),
        (0, ["set up", "happened", "came", "went wrong", "broke"]),
        (1, ["set up", "happened", "came", "small", "went wrong", "broke"]),
    ],
)
def test_verbosity_says_what_is_shown(verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _all_kinds(Console(Output(verbosity=verbosity)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] if line[2:3] == ":" else line for line in lines] == shown
    _all_kinds(Console(Output(verbosity=verbosity, format="json")))
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == shown


def test_json_lines_are_valid_whatever_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Output(format="json"))
    fields = {"peer": EVIL, "bytes": 12, "ok": True, "rtt": float("nan"), "none": None, "hosts": ["a", 1], "o": b"x"}
    console.complain(EVIL, **fields, level="error", time="never")
    line = capsys.readouterr().out
    assert line.isascii()
    assert line.count("\n") == 1
    record = json.loads(line)
    assert list(record)[:4] == ["time", "level", "event", "message"]
    moment = datetime.fromisoformat(record["time"])
    assert moment.utcoffset() is not None
    assert abs(moment.timestamp() - time.time()) < 60
    assert record["message"] == EVIL.replace("\ud800", "?")
    assert (record["bytes"], record["ok"], record["rtt"], record["none"]) == (12, True, None, None)
    assert (record["hosts"], record["o"]) == (["a", 1], "b'x'")
    assert record["level"] == "error"
    assert record["time"] != "never"
    assert record["event"] == "log"
    console.news("session with alice", user="alice", event="session_opened")
    record = json.loads(capsys.readouterr().out)
    assert (record["event"], record["message"], record["user"]) == ("session_opened", "session with alice", "alice")


def test_json_levels(capsys: pytest.CaptureFixture[str]) -> None:
    _all_kinds(Console(Output(verbosity=1, format="json")))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["level"] for record in records] == ["info", "info", "info", "info", "warning", "error"]


def test_text_has_no_control_characters_and_no_fields(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.complain(EVIL, peer="secret")
    output = capsys.readouterr().out
    assert r'a "quoted" \x1b]0;title\x07 \n{"level":"x"} \ \ud800 \u202e ü' in output
    assert "secret" not in output
    console.line("x" * 10_000)
    assert len(capsys.readouterr().out) < 1000


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


def test_the_last_events_are_remembered_those_too_that_are_not_shown() -> None:
    console = Console(Output(verbosity=-1))
    for number in range(2 * MAX_EVENTS):
        console.news(f"session {number}")
    console.complain("went\x1bwrong")
    console.line("no event")
    console.detail("no event")
    assert len(console.events) == MAX_EVENTS
    assert [(event.level, event.text) for event in console.events[-2:]] == [
        ("info", f"session {2 * MAX_EVENTS - 1}"),
        ("warning", r"went\x1bwrong"),
    ]
    assert abs(console.events[-1].at - time.time()) < 60


def test_standard_error_instead(capsys: pytest.CaptureFixture[str]) -> None:
    Console(to_stderr=True).line("set up")
    assert capsys.readouterr() == ("", "set up\n")
    fail("it \x1b[31mbroke")
    assert capsys.readouterr() == ("", "muxpy: it \\x1b[31mbroke\n")


@pytest.mark.parametrize(("verbosity", "shown"), [(0, 2), (1, 2), (2, 4)])
def test_the_library_s_log_becomes_lines(verbosity: int, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Output(format="json", verbosity=verbosity))
    console.log_to_lines()
    console.log_to_lines()  # not twice
    log = logging.getLogger("muxpy.session")
    log.debug("small %s", 1)
    log.info("larger")
    logging.getLogger("muxpy.trace").warning("lost %s: %s", ("::1", 80, 0, 0), ConnectionResetError(104, "x"))
    logging.getLogger("muxpy.serve").info("no session with %s", ("127.0.0.1", 9))
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == shown
    lost, no_session = records[-2:]
    assert (lost["message"], lost["level"]) == ("lost [::1]:80: connection reset by peer", "warning")
    assert (no_session["message"], no_session["level"]) == ("no session with 127.0.0.1:9", "info")
    assert no_session["logger"] == "muxpy.serve"
    if shown == 4:
        assert [record["level"] for record in records] == ["debug", "info", "warning", "info"]


_PROGRAM = """
import os, sys
from muxpy_cli._options import Output
from muxpy_cli.view import Console, fail
console = Console(Output(format=sys.argv[1]))
def lines():
    for number in range(2000):
        console.line(f"line {number}")
        console.error("error")
lines()
with console.in_background():
    lines()
print("ended well", file=sys.stderr)
"""


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("redirection", ["| true", ">&-", "> /dev/full"])
def test_it_goes_on_if_nobody_reads(output: str, redirection: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {output} {redirection}', sys.executable, _PROGRAM],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.stderr == "ended well\n"


def test_what_the_output_s_encoding_lacks_is_replaced() -> None:
    program = "from muxpy_cli.view import Console; Console().line('\\u00fc and \\u4e2d')"
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    assert done.stdout == b"? and ?\n"


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(
    variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", **variables}.items():
        monkeypatch.setenv(name, value)
    leader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        console = Console()
        console.complain("yellow")
        assert console.live
        assert not Console(Output(format="text")).live
        assert not Console(Output(format="json")).live
        monkeypatch.undo()
        output = os.read(leader, 1000).decode()
    os.close(leader)
    assert ("\x1b[33myellow" in output) == coloured
    assert "yellow" in output
