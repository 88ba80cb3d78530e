"""Numbers and tables: right values, in any width and height, and rates from snapshots that follow each other."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console as RichConsole

from muxpy_cli.view import (
    Event,
    Unlisted,
    format_count,
    format_duration,
    format_rate,
    format_rtt,
    format_size,
    status_tables,
)
from muxpy_cli.view._snapshot import Rates, Speed
from muxpy_cli.view._tables import draw

from .view_helpers import NOW, forward, session, snapshot


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (99.96 * 1024, "100 KiB"),
        (1023 * 2**20, "1023 MiB"),
        (2**30, "1 GiB"),
        (5 * 2**50, "5120 TiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert format_size(count) == text
    assert format_rate(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (7505, "2h05m"),
        (90_000, "1d01h"),
        (1e9, "11574d01h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0.00 ms"), (0.00042, "0.42 ms"), (0.0123, "12.3 ms"), (0.25, "250 ms"), (1.2, "1.20 s")],
)
def test_round_trips(seconds: float | None, text: str) -> None:
    assert format_rtt(seconds) == text


def test_other_numbers() -> None:
    assert format_count(1234567) == "1,234,567"
    assert format_rate(None) == "-"


def test_rates_are_taken_over_two_seconds() -> None:
    rates = Rates()
    start = snapshot()
    rates.add(start)
    assert rates.totals() == Speed()
    for second in range(1, 6):
        totals = replace(start.totals, received=start.totals.received + 1000 * second**2)
        sessions = (replace(start.sessions[0], sent=start.sessions[0].sent + 10 * second),)
        forwards = (replace(start.forwards[0], received=start.forwards[0].received + 70 * second),)
        rates.add(replace(start, at=NOW + second, totals=totals, sessions=sessions, forwards=forwards))
    assert rates.totals() == Speed((25_000 - 9_000) / 2, 0.0)
    assert rates.sessions(9) == [Speed(0.0, 10.0)]
    assert rates.forwards(9) == [Speed(70.0, 0.0)]


def test_rates_are_of_the_same_session_wherever_it_stands() -> None:
    rates = Rates()
    twins = [session(1, sent=100), session(1, sent=200), session(2, sent=300)]
    rates.add(snapshot(twins))
    later = [session(3, sent=7), session(1, sent=101), session(1, sent=202), session(2, sent=3)]
    rates.add(snapshot(later, at=NOW + 1))
    assert rates.sessions(4) == [Speed(), Speed(0.0, 1.0), Speed(0.0, 2.0), Speed()]
    assert rates.sessions(2) == [Speed(), Speed(0.0, 1.0)]


def test_rates_start_anew_when_the_clock_is_set_back() -> None:
    rates = Rates()
    rates.add(snapshot())
    rates.add(snapshot(at=NOW - 60))
    assert rates.totals() == Speed()
    rates.add(snapshot(at=NOW - 59))
    assert rates.totals() == Speed(0.0, 0.0)


def _status(terminal: bool, width: int, **changes: object) -> str:
    file = io.StringIO()
    console = RichConsole(file=file, force_terminal=terminal, width=width, color_system=None, soft_wrap=True)
    console.print(status_tables(snapshot(**changes)))  # type: ignore[arg-type]
    return file.getvalue()


def test_status_has_every_value_in_full_where_nothing_limits_the_width() -> None:
    long = "a-very-long-name-of-a-host." * 4 + "example:80"
    forwards = [forward(target=long, name="database", user="bob", direction="remote", kind="udp")]
    events = [Event(at=NOW, level="warning", text=f"event {number}") for number in range(20)]
    text = _status(False, 80, forwards=forwards, events=tuple(events))
    rows = {row.split()[0]: " ".join(row.split()) for row in text.splitlines() if row}
    assert rows["muxpy"] == "muxpy listen 127.0.0.1:4242 ready up 2h01m pid 4711 version 1.2.3"
    assert rows["session"] == "session user state up streams rtt in out"
    assert rows["192.0.2.0:40000"] == "192.0.2.0:40000 alice connected 1m15s 7 12.3 ms 3 MiB 5 GiB"
    assert rows["name"] == "name forward kind bound user state open total failed in out"
    assert rows["database"] == f"database 127.0.0.1:8000/udp -> {long} udp here bob bound 4 1,234 3 7 MiB 9 KiB"
    assert rows["total:"] == (
        "total: 5,000 connections, in 1 GiB, out 3 GiB, 11 sessions, 55 reconnects, 33 failed, 22 refused,"
        " 44 failed logins"
    )
    assert "event 19" in text
    assert "event 12" in text
    assert "event 11" not in text


@pytest.mark.parametrize("terminal_width", [60, 80, 120])
def test_on_a_terminal_everything_fits_its_width(terminal_width: int) -> None:
    sessions = [session(user="a" * 50, peer="[2001:db8:1234:5678:9abc:def0:1234:5678]:50000"), session(state="waiting")]
    forwards = [forward(name="n" * 70, target="\u4e2d" * 60), forward(1, kind="socks", target=None, user="bob")]
    text = _status(True, terminal_width, sessions=sessions, forwards=forwards)
    assert max(map(cell_len, text.splitlines())) <= terminal_width
    for needed in ("connected", "waiting", "bound", "ready", "5,000 connections", "127.0.0.1:8000 -> "):
        assert needed in text
    heads = [line for line in text.splitlines() if line.startswith(("session", "name", "forward"))]
    assert not any("\u2026" in head for head in heads)
    assert [head.endswith("out") for head in heads] == 2 * [terminal_width == 120]


@pytest.mark.parametrize("role", ["connect", "listen"])
def test_at_80_columns_it_is_seen_what_each_forward_is(role: str) -> None:
    """What is bound at which end, what are datagrams and what is a proxy, beside all rates and counts."""
    kinds = [("local", "tcp"), ("remote", "udp"), ("local", "socks"), ("local", "http"), ("remote", "socks")]
    forwards = [
        forward(number, direction=direction, kind=kind, **({} if kind in ("tcp", "udp") else {"target": None}))
        for number, (direction, kind) in enumerate(kinds)
    ]
    rates = Rates()
    rates.add(shown := snapshot(forwards=forwards, role=role))
    lines = [line.plain.split() for line in draw(shown, 80, 40, rates)]
    head = next(line for line in lines if line[:1] == ["forward"])
    assert head == ["forward", "bound", "state", "open", "total", "failed", "in/s", "out/s"]
    rows = [line for line in lines if line and line[0].startswith("127.0.0.1:8")]
    assert [row[0] for row in rows] == [f"127.0.0.1:800{number}{'/udp' if number == 1 else ''}" for number in range(5)]
    assert [row[2] for row in rows[2:]] == ["socks", "http", "socks"]
    here, there = ("here", "there") if role == "connect" else ("there", "here")
    assert [row[3] for row in rows] == [here, there, here, here, there]


def test_control_characters_of_the_other_end_are_not_shown() -> None:
    evil = "evil\x1b]0;x\x07\n"
    text = _status(
        False,
        80,
        sessions=[session(peer=evil, user=evil, state="waiting", error=evil)],
        forwards=[forward(name=evil, bind=evil, target=evil, user=evil, kind=evil, state=evil, error=evil)],
        events=(Event(at=NOW, level="info", text=evil),),
        address=evil,
        version=evil,
        role=evil,
    )
    assert text.count(r"evil\x1b]0;x\x07\n") >= 10
    assert "\x1b" not in text
    assert "\x07" not in text


def test_what_is_wrong_is_explained_below_its_row() -> None:
    sessions = [session(state="waiting", error="connection refused", attempts=1200)]
    forwards = [forward(state="failed", error="address already in use"), forward(1, error="of a failure that is over")]
    lines = [line.plain for line in draw(snapshot(sessions, forwards), 80)]
    assert lines[lines.index("  connection refused (1,200 attempts)") - 1].startswith("192.0.2.0:40000")
    assert lines[lines.index("  address already in use") - 1].startswith("127.0.0.1:8000")
    assert "over" not in "\n".join(lines)


@pytest.mark.parametrize("height", [8, 14, 20, 40])
def test_a_thousand_rows_are_cut_to_the_height_and_the_rest_is_counted(height: int) -> None:
    sessions = [session(number, state="waiting" if number % 10 == 9 else "connected") for number in range(1000)]
    forwards = [forward(number, state="bound" if number < 999 else "failed") for number in range(1000)]
    lines = [line.plain for line in draw(snapshot(sessions, forwards), 80, height)]
    assert len(lines) <= height
    if height == 8:
        return
    assert len(lines) >= height - 1
    shown = sum(line.startswith("192.0.2.") for line in lines)
    waiting = 100 - shown // 10
    assert f"  and {1000 - shown} more ({waiting} waiting)" in lines
    shown = sum(line.startswith("127.0.0.1:8") for line in lines)
    assert f"  and {1000 - shown} more (1 failed)" in lines
    assert lines[0].startswith("muxpy listen")
    assert lines[-1].endswith("failed logins")


def test_room_that_one_table_does_not_need_is_the_other_s() -> None:
    few, many = [session(0), session(1)], [forward(number) for number in range(100)]
    lines = [line.plain for line in draw(snapshot(few, many), 80, 30)]
    assert len(lines) == 30
    assert sum(line.startswith("192.0.2.") for line in lines) == 2
    assert sum(line.startswith("127.0.0.1:8") for line in lines) == 30 - 1 - 2 - 2 - 2 - 3 - 1


@pytest.mark.parametrize("height", [None, 12])
def test_those_that_are_not_listed_are_counted(height: int | None) -> None:
    unlisted = Unlisted(sessions=9000, draining=5, forwards=7000)
    sessions, forwards = [session(number) for number in range(10)], [forward(number) for number in range(10)]
    lines = [line.plain for line in draw(snapshot(sessions, forwards, unlisted=unlisted), 80, height)]
    assert height is None or len(lines) <= height
    hidden = 10 - sum(line.startswith("192.0.2.") for line in lines)
    assert f"  and {9000 + hidden:,} more (5 draining)" in lines
    hidden = 10 - sum(line.startswith("127.0.0.1:8") for line in lines)
    assert f"  and {7000 + hidden:,} more" in lines


def test_nothing_yet() -> None:
    lines = [line.plain for line in draw(snapshot((), (), ready=False), 80, 20)]
    assert "not ready" in lines[0]
    assert "no sessions" in lines
    assert not any(line.startswith("forward") for line in lines)
    assert "draining" in draw(snapshot(draining=True), 80)[0].plain
