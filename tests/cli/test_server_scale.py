"""What the listening end does does not grow with the number of sessions, or gives others their turn meanwhile."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import Mock

import pytest
import trio
import trio.testing

from muxpy_cli._garbage import Garbage
from muxpy_cli._options import ListenOptions
from muxpy_cli.access import Limits, Rules, User, parse_bind_rule
from muxpy_cli.net import bind_streams
from muxpy_cli.server import Server
from muxpy_cli.server._binding import Binding
from muxpy_cli.server._door import Greeting
from muxpy_cli.server._ending import LAST_WORDS, end_after_last_words, follow_rules, watch_idle
from muxpy_cli.server._pauses import ENDING, SLICE
from muxpy_cli.server._peer import NOT_WELCOME
from muxpy_cli.server._streams import Streams
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Purpose, Refused, pack, receive_message
from tests.helpers.pairs import session_pair
from tests.helpers.passes import counting_passes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    from muxpy_cli.server._peer import Peer

MANY = 10 * SLICE
FEW = 10
NO_LIMITS = Limits(sessions=None, streams=None, forwards=None)
OPTIONS = ListenOptions(address=Address("127.0.0.1", 0), limits=NO_LIMITS)
PLACE = Address("127.0.0.1", 0)


class QuietSession:
    """A session in which nothing happens."""

    tls = None
    going_away = False
    end = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def statistics(self) -> SimpleNamespace:
        return SimpleNamespace(bytes_received=3, bytes_sent=5, rtt=None)

    def allow_streams(self, _most: int) -> None:
        pass

    def go_away(self, _code: int = 0, debug: bytes = b"", *, final: bool = True) -> None:
        if final:
            self.said.append(debug.decode())

    def kill(self, error: BaseException | None = None) -> None:
        self.said.append(str(error))

    async def aclose(self, *, announce: bool = False) -> None:
        await trio.lowlevel.checkpoint()


class Silent(Console):
    """What it does depends on how many lines there were this second."""

    def news(self, text: str, /, **fields: object) -> None:
        pass


class House:
    """A listening end with sessions of clients that each have a place bound."""

    def __init__(self, nursery: trio.Nursery, options: ListenOptions = OPTIONS) -> None:
        self.server = Server(options, Silent())
        self.nursery = nursery
        self.bindings = self.server._bindings
        self.bindings.run_in(nursery)
        self.peers: list[Peer] = []

    def login(self, number: int, user: User | None = None) -> Peer:
        greeting = Greeting(user, f"client {number}", f"run {number}", 0, cast("Any", None))
        return self.server.admit(cast("Any", QuietSession()), greeting, f"192.0.2.1:{number}", self.nursery)

    async def fill(self, count: int) -> None:
        for number in range(count):
            peer = self.login(number)
            await self.bindings.bind(peer, PLACE, 0, datagrams=False)
            self.peers.append(peer)


@asynccontextmanager
async def house(count: int) -> AsyncIterator[House]:
    async with trio.open_nursery() as nursery:
        full = House(nursery)
        await full.fill(count)
        yield full
        nursery.cancel_scope.cancel()


class Work:
    """Counts the steps that Python takes in a block."""

    def __init__(self) -> None:
        self.steps = 0

    def _step(self, frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401
        frame.f_trace_opcodes = True
        self.steps += 1
        return self._step

    def __enter__(self) -> Work:
        self._before = sys.gettrace()
        sys.settrace(self._step)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


async def steps_with(count: int) -> dict[str, int]:
    """What each of these takes beside so many other sessions."""
    steps: dict[str, int] = {}

    def worked(what: str, task: Callable[[], object]) -> None:
        with Work() as work:
            task()
        steps[what] = work.steps

    async with house(count) as full:
        peer, [binding] = full.peers[0], full.bindings.of(full.peers[0])
        worked("a login", lambda: full.peers.append(full.login(count)))
        worked("choosing a session for a connection", binding._choose)
        worked("what is bound for a session", lambda: full.bindings.of(peer))
        worked("a forward's end", lambda: full.bindings.unbind(binding, binding.holder))
        worked("a session's end", lambda: full.server.dismiss(peer, None))
        worked("the line for the service manager", lambda: full.server.summary)
    return steps


async def test_work_that_does_not_grow_with_the_number_of_sessions() -> None:
    await steps_with(FEW)  # what is cached is there from now on
    assert await steps_with(FEW) == await steps_with(MANY)


async def turns_of_others(task: Callable[[], Awaitable[object]]) -> int:
    """How often another task gets its turn while one runs."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await task()
        nursery.cancel_scope.cancel()
    return turns


async def test_a_reload_looks_at_each_binding_once_and_lets_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: Counter[Binding] = Counter()
    check = Binding.check
    monkeypatch.setattr(Binding, "check", lambda self, peer: looked.update([self]) or check(self, peer))
    async with house(MANY) as full:
        bound = list(full.bindings)
        looked.clear()
        assert await turns_of_others(lambda: full.server.reload(OPTIONS)) >= MANY // SLICE
        assert looked == dict.fromkeys(bound, 1)


async def test_all_are_told_of_in_turns_with_others_and_few_if_few_are_asked_for() -> None:
    async with house(MANY) as full:
        assert await turns_of_others(full.server.snapshot) >= MANY // SLICE
        everything = await full.server.snapshot()
        assert len(everything.sessions) == len(everything.forwards) == MANY
        full.peers[-1].draining = True
        few = await full.server.snapshot(FEW)
        assert few.sessions == everything.sessions[:FEW]
        assert few.forwards == everything.forwards[:FEW]
        assert (few.unlisted.sessions, few.unlisted.draining) == (MANY - FEW, 1)
        assert few.unlisted.forwards == MANY - FEW
        assert few.totals == everything.totals
        assert few.totals.received == 3 * MANY


async def test_a_session_that_ends_while_they_are_counted_counts_once() -> None:
    async with house(2 * SLICE) as full:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(full.server.snapshot)
            await trio.lowlevel.checkpoint()
            full.server.dismiss(full.peers[0], None)
            full.server.dismiss(full.peers[-1], None)
        assert (await full.server.snapshot()).totals.received == 3 * 2 * SLICE


async def test_sessions_of_revoked_users_have_their_last_words_and_are_ended_in_turns_with_others(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with house(MANY) as full:
        for peer in full.peers:
            peer.revoked = True
        gone, staying = full.peers[0], full.peers[1:]
        leaving = await follow_rules(full.peers, full.bindings, Silent(), Garbage())
        assert list(leaving) == full.peers
        sessions = [cast("QuietSession", peer.session) for peer in staying]
        assert all(session.said == [NOT_WELCOME] for session in sessions)
        full.server.dismiss(gone, None)  # it has read why
        said = trio.current_time()
        with counting_passes(lambda: sum(len(session.said) == 2 for session in sessions)) as passes:
            await end_after_last_words(leaving)
            await trio.lowlevel.checkpoint()
        assert trio.current_time() == said + LAST_WORDS
        assert all(len(session.said) == 2 for session in sessions)
        assert cast("QuietSession", gone.session).said == [NOT_WELCOME]
        assert passes.most_a_pass <= 2 * SLICE // ENDING


async def test_a_graceful_shutdown_ends_sessions_in_turns_with_others() -> None:
    async with house(MANY) as full:
        starts: list[int] = []
        for peer in full.peers:
            event = peer.ending

            def note(of: trio.Event = event) -> None:
                starts.append(passes)
                trio.Event.set(of)

            peer.ending = cast("Any", SimpleNamespace(set=note, wait=event.wait))
        passes = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(full.server.drain)
            while len(starts) < MANY:
                await trio.lowlevel.checkpoint()
                passes += 1
            nursery.cancel_scope.cancel()  # nobody dismisses these sessions
        assert max(Counter(starts).values()) <= 2 * SLICE // ENDING  # in one pass


async def test_idle_connections_are_looked_for_in_turns_with_others(mock_clock: trio.testing.MockClock) -> None:
    figures = SimpleNamespace(data_received=0, data_sent=0)
    looked: list[int] = []
    passes = 0

    def look() -> SimpleNamespace:
        looked.append(passes)
        return figures

    streams: list[Any] = [Mock(statistics=look) for _ in range(MANY)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_idle, lambda: 40.0, lambda: streams, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(11)
        while len(looked) < MANY:
            await trio.lowlevel.checkpoint()
            passes += 1
        nursery.cancel_scope.cancel()
    assert max(Counter(looked).values()) <= 2 * SLICE  # in one pass


async def test_users_who_are_not_there_are_forgotten_once_their_bucket_is_full(
    autojump_clock: trio.abc.Clock,
) -> None:
    limited = Limits(rate=1000)
    async with house(0) as full:
        peers = [full.login(number, User(name=f"user {number}", limits=limited)) for number in range(FEW)]
        for peer in peers:
            assert peer.usage.rate is not None
            peer.usage.rate.carried(3000)
            full.server.dismiss(peer, None)
        again = full.login(0, User(name="user 0", limits=limited))
        assert again.usage is peers[0].usage  # a client that connects again must not begin with a full bucket
        full.server.dismiss(again, None)
        await trio.sleep(10)
        full.server.dismiss(full.login(99), None)
        assert not full.server._peers._usages
        assert not full.server._peers._resting


async def test_a_stream_says_where_to_after_its_user_was_revoked() -> None:
    async with house(1) as full, session_pair() as (client, served):
        streams = Streams(full.bindings, Console())
        said = await client.open_stream(stream_type=Purpose.CONNECT)
        await said.send_all(pack({"host": "127.0.0.1", "port": 1})[:5])
        stream = await served.accept_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streams.handle, full.peers[0], stream)
            await trio.testing.wait_all_tasks_blocked()
            full.peers[0].revoked = True
            await said.send_all(pack({"host": "127.0.0.1", "port": 1})[5:])
            answer, _ = await receive_message(said)
            said.reset()
        assert answer["error"] == "forbidden"
        assert "may not come in any more" in answer["reason"]


async def test_rules_that_change_while_a_place_is_being_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[Any] = []
    async with house(1) as full:
        peer = full.peers[0]

        async def slowly(place: Any, *, forwarded: bool) -> Any:  # noqa: ANN401
            bound.append(await bind_streams(place, forwarded=forwarded))
            peer.usage.change(Rules(binds=(parse_bind_rule("127.0.0.1:1"),)), NO_LIMITS)
            return bound[0]

        monkeypatch.setattr("muxpy_cli.server._bindings.bind_streams", slowly)
        with pytest.raises(Refused, match=r"127\.0\.0\.1:1"):
            await full.bindings.bind(peer, PLACE, 1, datagrams=False)
        assert bound[0].closed
        assert len(full.bindings) == 1


async def test_a_place_that_is_taken_over_is_the_new_session_s() -> None:
    async with house(1) as full:
        old, [binding] = full.peers[0], full.bindings.of(full.peers[0])
        before = binding.holder
        new = full.login(0)
        taken, holder = await full.bindings.bind(new, binding.place, 0, datagrams=False)
        assert taken is binding
        assert full.bindings.of(old) == []
        assert full.bindings.of(new) == [binding]
        full.bindings.unbind(binding, before)  # which it has no longer
        assert list(full.bindings) == [binding]
        full.bindings.unbind(binding, holder)
        assert list(full.bindings) == full.bindings.of(new) == []
