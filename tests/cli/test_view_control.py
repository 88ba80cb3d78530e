"""The control socket: one snapshot for whoever asks, nobody else's business, and nothing left behind."""

# ruff: noqa: ASYNC240
# Nothing else runs that a blocking look at a directory could hold up.

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from muxpy_cli._errors import Failure
from muxpy_cli.view import Event, ask, ask_all, control_sockets, default_control_path, serve_control
from muxpy_cli.view._ask import parse_snapshot
from muxpy_cli.view._control import encode_snapshot

from .view_helpers import NOW, filled_queue, forward, own_places, session, snapshot, taking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FULL = snapshot(
    [session(), session(1, since=None, rtt=None, user=None, error="lost", attempts=3)],
    [forward(), forward(1, target=None, kind="socks")],
    events=(Event(at=NOW, level="error", text="\x1b broken \ud800"),),
)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets are first looked for."""
    return own_places(tmp_path, monkeypatch)[0]


@asynccontextmanager
async def serving(path: Path | None = None) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve_control, path, taking(lambda: FULL)))
        nursery.cancel_scope.cancel()


def stale(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    return path


async def test_the_answer_is_the_snapshot(places: Path) -> None:
    async with serving() as path:
        assert path == places / f"{os.getpid()}.sock" == default_control_path()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert os.listdir(path.parent) == [path.name]
        assert await ask(path) == FULL
        async with await trio.open_unix_socket(path) as stream:
            data = b"".join([bytes(chunk) async for chunk in stream])
        assert json.loads(data) == json.loads(json.dumps(asdict(FULL)))
        assert [answer.snapshot for answer in await ask_all()] == [FULL]
    assert not path.exists()
    assert await ask_all() == []


async def test_a_client_that_does_not_read_is_given_up(autojump_clock: trio.testing.MockClock, places: Path) -> None:
    many = snapshot(map(session, range(5000)))
    async with trio.open_nursery() as nursery:
        path = await nursery.start(partial(serve_control, None, taking(lambda: many)))
        async with await trio.open_unix_socket(path) as stream:
            await trio.sleep(6)
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = stale(tmp_path / "own.sock")
    async with serving(path):
        assert await ask(path) == FULL
        with pytest.raises(Failure, match=r"own\.sock: another process uses it"):
            await serve_control(path, taking(lambda: FULL))
        assert await ask(path) == FULL
    path.write_text("precious")
    with pytest.raises(Failure, match="there is something else of that name"):
        await serve_control(path, taking(lambda: FULL))
    assert path.read_text() == "precious"


async def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    async with serving(path):
        path.unlink()
        stale(path)
    assert path.exists()


async def test_no_place_for_a_socket_is_a_failure_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"missing/x\.sock: no such file or directory"):
        await serve_control(tmp_path / "missing" / "x.sock", taking(lambda: FULL))
    with pytest.raises(Failure, match="longer than 107 bytes"):
        await serve_control(tmp_path / ("x" * 100), taking(lambda: FULL))


async def test_a_directory_that_is_not_ours_is_not_used(places: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    places.symlink_to(elsewhere)
    fallback = tmp_path / f"muxpy-{os.geteuid()}"
    async with serving() as path:
        assert path.parent == fallback
        assert control_sockets() == [path]
    fallback.rmdir()
    fallback.write_text("")
    with pytest.raises(Failure, match=r"cannot open a control socket: .*muxpy-"):
        default_control_path()
    stale(elsewhere / "1.sock")
    assert control_sockets() == []


async def test_a_directory_of_ours_is_closed_to_others(places: Path) -> None:
    places.mkdir()
    places.chmod(0o777)
    async with serving():
        assert stat.S_IMODE(places.stat().st_mode) == 0o700


async def test_a_directory_of_somebody_else_is_not_used(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Failure, match="no directory of this user's own"):
        default_control_path()


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent"])
def test_without_a_runtime_directory_it_is_the_one_for_temporary_files(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert default_control_path().parent == tmp_path / f"muxpy-{os.geteuid()}"


async def test_stale_sockets_are_cleaned_up_and_others_are_not(places: Path) -> None:
    left = stale(places / "1.sock")
    other = places / "notes.sock"
    other.write_text("")
    async with serving() as path:
        assert [answer.path for answer in await ask_all()] == [path]
    assert not left.exists()
    assert other.exists()


async def test_a_process_that_does_not_answer_is_not_waited_for(
    places: Path, autojump_clock: trio.testing.MockClock
) -> None:
    places.mkdir(mode=0o700)
    async with serving() as path:
        with socket.socket(socket.AF_UNIX) as stopped:
            stopped.bind(os.fspath(places / "1.sock"))
            stopped.listen(0)
            started = trio.current_time()
            silent, answer = await ask_all()
            assert trio.current_time() - started == pytest.approx(5)
            assert (answer.path, answer.snapshot) == (path, FULL)
            assert silent.problem == "process 1 does not answer: it may be stopped, or too busy"
            with filled_queue(places / "1.sock"), pytest.raises(Failure, match="process 1 does not answer"):
                await ask(places / "1.sock")


@pytest.mark.parametrize("path", ["gone.sock", "stale.sock"])
async def test_nobody_is_there(path: str, tmp_path: Path) -> None:
    stale(tmp_path / "stale.sock")
    with pytest.raises(Failure, match=f"no muxpy process listens on .*{path}"):
        await ask(tmp_path / path)
    (tmp_path / "file.sock").write_text("")
    with pytest.raises(Failure, match=r"file\.sock"):
        await ask(tmp_path / "file.sock")


def _changed(**changes: Any) -> bytes:  # noqa: ANN401
    return json.dumps({**asdict(FULL), **changes}).encode()


def test_an_answer_of_another_version_is_understood() -> None:
    document = asdict(FULL)
    del document["draining"], document["totals"]["reconnects"]
    document["news"] = document["sessions"][0]["more"] = {"of": "it"}
    parsed = parse_snapshot(json.dumps(document).encode())
    assert parsed.draining is False
    assert parsed.totals.reconnects == 0
    assert parsed.sessions == FULL.sessions
    assert parse_snapshot(_changed(at=5)).at == 5.0


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "too deep"),
        (b"[]", "snapshot is list"),
        (b'{"role": "listen"}', "snapshot.address is missing"),
        (_changed(pid="1"), "snapshot.pid is str"),
        (_changed(pid=True), "snapshot.pid is bool"),
        (_changed(pid=2**63), "snapshot.pid is too large"),
        (_changed(at=2**64), "snapshot.at is too large"),
        (_changed(at=float("nan")), "snapshot.at is nan"),
        (_changed(at=1e300), "snapshot.at is 1e"),
        (_changed(ready=1), "snapshot.ready is int"),
        (_changed(address=None), "snapshot.address is NoneType"),
        (_changed(sessions={}), "snapshot.sessions is dict"),
        (_changed(sessions=[7]), r"snapshot.sessions\[0\] is int"),
        (_changed(events=[{"at": 1, "level": "info", "text": []}]), r"snapshot.events\[0\].text is list"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_snapshot(data)


async def test_an_answer_that_makes_no_sense_is_a_failure_in_words(tmp_path: Path) -> None:
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(os.fspath(tmp_path / "x"))
    listener.listen()

    async def answer() -> None:
        client, _ = await listener.accept()
        await client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        client.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(Failure, match="is not the state of a muxpy process"):
            await ask(tmp_path / "x")
    listener.close()


def test_the_document_is_that_of_asdict() -> None:
    assert json.loads(b"".join(encode_snapshot(FULL))) == json.loads(json.dumps(asdict(FULL)))
    assert parse_snapshot(b"".join(encode_snapshot(FULL))) == FULL
