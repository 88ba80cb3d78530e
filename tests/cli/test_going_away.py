"""The connecting end when a session takes no more streams: the next one takes over beside it."""

from __future__ import annotations

import itertools
import random
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

import muxpy
from muxpy_cli._errors import Failure, Unreachable
from muxpy_cli._options import ConnectOptions
from muxpy_cli.client import _links, _retrying
from muxpy_cli.client._links import Links, NoSession
from muxpy_cli.client._remote import RemoteForward
from muxpy_cli.relay import serve_streams
from muxpy_cli.specs import Address, parse_remote
from muxpy_cli.view import Console
from muxpy_cli.wire import Message, Purpose, Refused, pack, receive_message
from tests.helpers.inside import connection_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

Clock = trio.testing.MockClock
DRAIN = 60.0
LIMIT = 1000.0
"""Seconds by the clock of the test, against hangs."""


class Listening:
    """A listening end that can be told to refuse sessions."""

    def __init__(self) -> None:
        self.sessions: list[muxpy.Session] = []
        """Its own ends of them."""
        self.asked: list[float] = []
        """When somebody wanted a session."""
        self.gone = False
        self.patience = 0.0
        """Seconds that an attempt takes while it is gone."""
        self.reasons: Iterator[str] = itertools.repeat("connection refused")
        """Why attempts fail, one after the other."""
        self.on_session: Callable[[muxpy.Session], Awaitable[object]] = self.echo

    @asynccontextmanager
    async def log_in(self, *_: object, **__: object) -> AsyncIterator[muxpy.Session]:
        """In place of the client's own."""
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.gone:
            await trio.sleep(self.patience)
            raise Unreachable(f"cannot connect: {next(self.reasons)}")
        config = muxpy.SessionConfig(drain_timeout=DRAIN, first_frame_timeout=None)
        near, far = trio.testing.memory_stream_pair()
        async with (
            muxpy.open_session(far, client=False, extensions=[], config=config) as server,
            muxpy.open_session(near, client=True, extensions=[], config=config) as client,
            trio.open_nursery() as nursery,
        ):
            self.sessions.append(server)
            nursery.start_soon(self.on_session, server)
            yield client
            nursery.cancel_scope.cancel()

    async def echo(self, session: muxpy.Session) -> None:
        async def answer(stream: muxpy.Stream) -> None:
            async for part in stream:
                await stream.send_all(part)
            await stream.send_eof()

        await serve_streams(session, answer)


async def nothing_comes(session: muxpy.Session) -> None:
    await session.wait()


@asynccontextmanager
async def linked(
    monkeypatch: pytest.MonkeyPatch,
    *,
    serve: Callable[[muxpy.Session], Awaitable[None]] = nothing_comes,
    **options: Any,  # noqa: ANN401 - of ConnectOptions
) -> AsyncIterator[tuple[Links, Listening]]:
    listening = Listening()
    monkeypatch.setattr(_links, "log_in", listening.log_in)
    links = Links(ConnectOptions(address=Address("localhost", 1), **options), cast("Any", None), Console(), serve)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(links.run, links.links[0])
            await links.session()
            yield links, listening
            nursery.cancel_scope.cancel()


async def ask(stream: muxpy.Stream, text: bytes) -> bytes:
    await stream.send_all(text)
    return bytes(await stream.receive_some())


async def finish(stream: muxpy.Stream) -> None:
    async with stream:
        assert await ask(stream, b"still here") == b"still here"
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_the_next_session_comes_immediately_and_the_old_one_goes_on(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with linked(monkeypatch) as (links, listening), trio.open_nursery() as nursery:
        old = await links.open_stream(Purpose.CONNECT)
        begun = trio.current_time()
        nursery.start_soon(partial(listening.sessions[0].aclose, announce=True))
        await old.session.wait_going_away()
        new = await links.open_stream(Purpose.CONNECT)
        assert trio.current_time() == begun
        assert (new.session is old.session, len(listening.sessions)) == (False, 2)
        assert await ask(new, b"new") == b"new"
        states = links.links[0].describe("there")
        assert None not in [one.since for one in states]
        assert [(one.state, one.streams) for one in states] == [("draining", 1), ("connected", 1)]
        await trio.sleep(DRAIN / 2)
        await finish(old)
        assert (await old.session.wait()).error is None
        await trio.testing.wait_all_tasks_blocked()
        assert [one.state for one in links.links[0].describe("there")] == ["connected"]
        assert links.links[0].received > 0
        assert await ask(new, b"and on") == b"and on"
    lines = [line.partition(" ")[2].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "connected to localhost:1",
        "localhost:1 is ending the session: new connections go over a new one",
        "connected to localhost:1",
        "the old session with localhost:1 has ended",
    ]


async def test_connections_wait_for_the_next_server_while_the_old_one_drains(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with linked(monkeypatch, connect_wait=30.0) as (links, listening), trio.open_nursery() as nursery:
        old = await links.open_stream(Purpose.CONNECT)
        await trio.sleep(_links.STABLE)
        listening.gone = True
        begun = trio.current_time()
        nursery.start_soon(partial(listening.sessions[0].aclose, announce=True))
        await old.session.wait_going_away()
        came: list[muxpy.Stream] = []

        async def connection() -> None:
            came.append(await links.open_stream(Purpose.CONNECT))

        for _ in range(5):
            nursery.start_soon(connection)
        await trio.sleep(20)
        waits = [time - begun for time in listening.asked[1:]]
        assert waits[0] == 0  # then after 0.5 s, doubling, each less by up to a half; a second at most while they wait
        assert all(later - earlier <= _retrying.SOON + 0.01 for earlier, later in pairwise(waits))
        assert (len(waits) >= 20, came) == (True, [])
        listening.gone = False
        await trio.sleep(_retrying.SOON + 0.01)
        assert len(came) == 5
        for stream in (*came, old):
            await finish(stream)


async def test_the_other_end_learns_that_no_more_streams_come_and_its_own_are_still_taken(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async def handle(stream: muxpy.Stream) -> None:
        await stream.send_all(b"taken")

    async with linked(monkeypatch, serve=lambda one: serve_streams(one, handle)) as (_, listening):
        session = listening.sessions[0]
        session.go_away(final=False)
        await session.wait_going_away()
        connection_of(session)._common.remote_goaway = None  # what comes now is on its way already
        crossing = await session.open_stream(stream_type=Purpose.FORWARDED)
        assert await crossing.receive_some() == b"taken"
        await crossing.aclose()
        await session.aclose()
        assert trio.current_time() < 1  # nothing was waited for


async def test_an_end_that_ends_each_session_is_not_asked_without_a_pause(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async def leave(session: muxpy.Session) -> None:
        session.go_away()
        await session.wait()

    async with linked(monkeypatch) as (_, listening):
        listening.on_session = leave
        listening.sessions[0].go_away()
        await trio.sleep(60)
        assert 4 <= len(listening.asked) <= 12  # 0, 0, and then after half a second that doubles


async def test_a_client_that_has_tried_often_enough_lets_its_connections_finish_first(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    listening = Listening()
    monkeypatch.setattr(_links, "log_in", listening.log_in)
    options = ConnectOptions(address=Address("localhost", 1), max_retries=2)
    links = Links(options, cast("Any", None), Console(), nothing_comes)

    async def play() -> None:
        old = await links.open_stream(Purpose.CONNECT)
        listening.gone = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(listening.sessions[0].aclose, announce=True))
            await trio.sleep(DRAIN / 2)
            assert len(listening.asked) == 1 + 3
            await finish(old)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        with pytest.raises(Failure, match="tried 3 times"):
            await links.run(links.links[0])
    assert trio.current_time() >= DRAIN / 2


async def test_draining_waits_for_old_sessions_and_makes_no_new_one(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with linked(monkeypatch) as (links, listening), trio.open_nursery() as nursery:
        old = await links.open_stream(Purpose.CONNECT)
        listening.gone = True
        nursery.start_soon(partial(listening.sessions[0].aclose, announce=True))
        await old.session.wait_going_away()
        await trio.sleep(5)
        nursery.start_soon(links.drain)
        await trio.testing.wait_all_tasks_blocked()
        asked = len(listening.asked)
        begun = trio.current_time()
        with pytest.raises(NoSession):
            await links.open_stream(Purpose.CONNECT)
        assert trio.current_time() == begun
        await trio.sleep(5)
        await finish(old)
        await links.links[0].over.wait()
        assert (len(listening.asked), len(listening.sessions)) == (asked, 1)


class Places:
    """A listening end that binds one place for whoever asks last, and tells the one before."""

    def __init__(self) -> None:
        self.controls: list[muxpy.Stream] = []
        self.asked: list[Message] = []
        self.held: list[bool] = []
        """Whether somebody held the place when it was asked for."""
        self._open: set[muxpy.Stream] = set()

    async def serve(self, session: muxpy.Session) -> None:
        await serve_streams(session, self._listen)

    async def _listen(self, control: muxpy.Stream) -> None:
        message, _ = await receive_message(control)
        self.asked.append(message)
        self.held.append(bool(self._open))
        for before in self._open:
            await before.send_all(pack(Refused("taken over", "by another run").message()))
        self._open.add(control)
        self.controls.append(control)
        await control.send_all(pack({"port": 4000}))
        try:
            with suppress(trio.BrokenResourceError):
                while await control.receive_some():
                    pass
        finally:
            self._open.discard(control)

    async def give_up(self) -> None:
        """The first place, without a word."""
        self._open.discard(self.controls[0])
        await self.controls[0].send_eof()


@pytest.mark.parametrize(
    "how", ["it gives up the place", "it says so later", "it keeps the place", "the session is cut"]
)
async def test_a_remote_forward_is_bound_again_over_the_next_session(
    how: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    places = Places()
    listening = Listening()
    listening.on_session = places.serve
    monkeypatch.setattr(_links, "log_in", listening.log_in)
    links = Links(ConnectOptions(address=Address("localhost", 1)), cast("Any", None), Console(), nothing_comes)
    remote = RemoteForward(parse_remote("0:localhost:80"), links, Console(), "there")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run, links.links[0])
        nursery.start_soon(remote.run)
        await remote.first_time.wait()
        await trio.sleep(1)
        begun = trio.current_time()
        match how:
            case "it gives up the place":
                listening.sessions[0].go_away(final=False)
                await places.give_up()
            case "it says so later":
                await places.give_up()
                await trio.sleep(1)
                assert (remote.bound, remote.describe().state) == (False, "waiting")
                listening.sessions[0].go_away(final=False)
                begun = trio.current_time()
            case "it keeps the place":
                listening.sessions[0].go_away(final=False)
            case _:
                listening.sessions[0].kill()
        await trio.testing.wait_all_tasks_blocked()
        if how != "the session is cut":
            assert (len(places.controls), remote.bound) == (2, True)
            assert trio.current_time() == begun
        await trio.sleep(1)
        assert (len(places.controls), remote.bound) == (2, True)
        assert [message["port"] for message in places.asked] == [0, 4000]
        assert places.held == [False, how == "it keeps the place"]
        assert not remote.failed_for_good
        nursery.cancel_scope.cancel()
    assert "no longer forwards" not in "".join(capsys.readouterr())


class Refusing:
    """A listening end that refuses every place."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def serve(self, session: muxpy.Session) -> None:
        await serve_streams(session, self._refuse)

    async def _refuse(self, control: muxpy.Stream) -> None:
        await receive_message(control)
        self.asked.append(trio.current_time())
        await control.send_all(pack(Refused("in use", "somebody else has it").message()))
        await control.send_eof()


async def test_a_remote_forward_that_was_refused_waits_while_there_is_no_session_and_is_asked_for_at_the_next(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    listening, refusing = Listening(), Refusing()
    listening.on_session = refusing.serve
    monkeypatch.setattr(_links, "log_in", listening.log_in)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)  # no jitter
    links = Links(ConnectOptions(address=Address("localhost", 1)), cast("Any", None), Console(), nothing_comes)
    remote = RemoteForward(parse_remote("1:localhost:80"), links, Console(), "there")
    remote.first_time.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run, links.links[0])
        nursery.start_soon(remote.run)
        await trio.sleep(70)  # 1, 2, 4, 8, 16, 30 s: the next one is far away
        assert (remote.describe().state, len(refusing.asked)) == ("failed", 7)
        listening.gone = True
        listening.sessions[0].kill()
        await trio.sleep(1)
        assert (remote.describe().state, remote.describe().error) == ("waiting", None)
        listening.gone = False
        await links.session()
        await trio.testing.wait_all_tasks_blocked()
        assert (remote.describe().state, len(refusing.asked)) == ("failed", 8)
        nursery.cancel_scope.cancel()


class Log(Console):
    """What was said when."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[float, str]] = []

    def complain(self, text: str, /, level: str = "warning", **fields: object) -> None:
        self.lines.append((trio.current_time(), f"{fields['event']}: {text}"))

    def event(self, text: str, /, style: str = "", **fields: object) -> None:
        self.lines.append((trio.current_time(), f"{fields['event']}: {text}"))


@dataclass
class Outage:
    """A client whose server goes away, and what it does."""

    links: Links
    listening: Listening
    log: Log

    async def connection(self, after: float) -> None:
        """Somebody who comes so many seconds later, and gives up when the client does."""
        await trio.sleep(after)
        with suppress(NoSession):
            await self.links.open_stream(Purpose.CONNECT)

    def promised(self) -> list[tuple[float, float]]:
        """For each delay that was told, when, and how long it was."""
        found = [(when, re.search(r"trying again in ([\d.]+) s", line)) for when, line in self.log.lines]
        return [(when, float(match[1])) for when, match in found if match is not None]


@asynccontextmanager
async def outage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    listening, log = Listening(), Log()
    monkeypatch.setattr(_links, "log_in", listening.log_in)
    links = Links(ConnectOptions(address=Address("localhost", 1)), cast("Any", None), log, nothing_comes)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(links.run, links.links[0])
            await links.session()
            await trio.sleep(_links.STABLE)
            listening.gone = True
            listening.sessions[0].kill()
            yield Outage(links, listening, log)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("down", [3, 11, 29, 61])
@pytest.mark.parametrize(
    "clients", [[0.0, 0.0], [0.0, 1.0, 7.0], [2.5], [20.0, 20.5, 21.0], [float(n) for n in range(60)]]
)
async def test_a_client_whose_forwards_are_used_is_back_soon_after_its_server(
    clients: list[float], down: float, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with outage(monkeypatch) as end, trio.open_nursery() as nursery:
        for after in clients:
            nursery.start_soon(end.connection, after)
        await trio.sleep(down)
        end.listening.gone = False
        used = any(after <= down + 1 and down - after < 30 for after in clients)
        with trio.fail_after(2 if used else _retrying.MAX_DELAY):
            await end.links.session()
        nursery.cancel_scope.cancel()


async def test_connections_that_wait_do_not_lengthen_the_backoff(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with outage(monkeypatch) as end, trio.open_nursery() as nursery:
        for after in range(40):
            nursery.start_soon(end.connection, after)
        await trio.sleep(100)
        assert len(end.listening.asked) > 60
        # What comes after them is the second delay, and those after it.
        for number, (_, seconds) in enumerate(end.promised()):
            assert seconds <= 2**number
        kinds = [line for _, line in end.log.lines if "every second" in line]
        assert kinds == [
            "connect_failed: cannot connect: connection refused; "
            "trying again every second while connections want the session"
        ]


@pytest.mark.parametrize(("reasons", "told"), [(["this", "that"], 2), ([str(number) for number in range(1000)], 5)])
async def test_why_attempts_fail_that_connections_wait_for_is_told_a_few_times_however_it_alternates(
    reasons: list[str], told: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with outage(monkeypatch) as end, trio.open_nursery() as nursery:
        end.listening.reasons = itertools.cycle(reasons)
        for after in range(100):
            nursery.start_soon(end.connection, after)
        await trio.sleep(100)
        lines = [line for _, line in end.log.lines if "every second" in line]
        assert len(lines) == len(set(lines)) == told


async def test_delays_that_are_told_are_kept_or_told_to_be_cut_short(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with outage(monkeypatch) as end, trio.open_nursery() as nursery:
        await trio.sleep(60)  # nobody came, and the delays are long
        nursery.start_soon(end.connection, 0)
        await trio.sleep(60)
        early = {when for when, line in end.log.lines if line.startswith("retry_early: trying again now: a connection")}
        assert len(early) == 1
        for told, seconds in end.promised():
            next_one = min((when for when in end.listening.asked if when > told), default=None)
            assert next_one is None or next_one in early or abs(next_one - told - seconds) < 0.051  # as it is rounded


async def test_attempts_that_take_long_and_fail_are_no_sessions_that_lasted(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    async with outage(monkeypatch) as end:
        end.listening.patience = 2 * _links.STABLE
        await trio.sleep(200)
        assert [line.partition(":")[0] for _, line in end.log.lines[1:]] == [
            "disconnected",
            *["connect_failed"] * (len(end.log.lines) - 2),
        ]
        assert max(seconds for _, seconds in end.promised()) > 8
