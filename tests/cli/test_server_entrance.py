"""Connections at the door, over real sockets and with a clock that does not run by itself: which of them get a visit,
what becomes of the others, and what is said of them."""

from __future__ import annotations

import itertools
import json
import select
import socket
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trio.lowlevel
import trio.testing

from muxpy_cli._options import Output
from muxpy_cli.net import bind_streams
from muxpy_cli.server import _entrance, _waiting
from muxpy_cli.server._entrance import GREETING_TIMEOUT, Arrival, Entrance
from muxpy_cli.server._turned_away import DELAY, EVERY, HELD, Refusals, Tally
from muxpy_cli.specs import Address, UnixPath
from muxpy_cli.view import Console

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from muxpy_cli.specs import Endpoint

LOOPBACK = Address("127.0.0.1", 0)


class House:
    """An entrance, and the visits that it has started."""

    def __init__(self, place: Endpoint = LOOPBACK) -> None:
        self.place = place
        self.console = Console(Output(format="json"))
        self.tally = Tally(self.console)
        self.worked = 0.0
        self.entrance = Entrance(self._visit, self.tally, lambda: self.worked)
        self.visits: list[Arrival] = []
        self.clients = ExitStack()

    async def _visit(self, arrival: Arrival) -> None:
        self.visits.append(arrival)
        try:
            with arrival.limit:
                await trio.sleep_forever()
        finally:
            self.entrance.leave(arrival)
            arrival.connection.close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        bound = await bind_streams(self.place)
        self.target: object = bound.path or ("127.0.0.1", bound.port)
        async with trio.open_nursery() as nursery:
            task_status.started()
            await self.entrance.serve(bound, nursery)

    def connect(self, source: str = "127.0.0.1", *, says: bytes = b"x") -> socket.socket:
        """A client; closed with the house."""
        family = socket.AF_UNIX if isinstance(self.target, str) else socket.AF_INET
        client = self.clients.enter_context(socket.socket(family))
        if family == socket.AF_INET:
            client.bind((source, 0))
        client.connect(self.target)  # type: ignore[arg-type]
        client.sendall(says)
        client.setblocking(False)
        return client

    @property
    def lines(self) -> list[str]:
        """What was said of those who came."""
        return [event.text for event in self.console.events]


@asynccontextmanager
async def house(place: Endpoint = LOOPBACK) -> AsyncIterator[House]:
    built = House(place)
    with built.clients:
        async with trio.open_nursery() as nursery:
            await nursery.start(built.run)
            yield built
            nursery.cancel_scope.cancel()


def is_reset(client: socket.socket) -> bool:
    """Whether the other end has reset the connection; False while it is open."""
    try:
        client.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    raise AssertionError("it was closed in order")


async def test_silence_has_no_visit_and_is_reset_at_the_deadline(mock_clock: trio.testing.MockClock) -> None:
    async with house() as built:
        silent = [built.connect(says=b"") for _ in range(20)]
        await trio.testing.wait_all_tasks_blocked()
        assert built.visits == []
        mock_clock.jump(GREETING_TIMEOUT)
        await trio.lowlevel.checkpoint()  # which sees that time has passed
        await trio.testing.wait_all_tasks_blocked()
        assert [is_reset(one) for one in silent] == [True] * 20
        assert built.visits == []
        assert len(built.lines) == 1  # not one each
        assert built.lines[0].endswith("was not let in: it did not say within 10 seconds who it is")


async def test_whoever_speaks_is_visited_at_once_and_has_what_is_left_of_the_time(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with house() as built:
        client = built.connect(says=b"")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(4)
        client.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        (visit,) = built.visits
        assert visit.limit.deadline == trio.current_time() - 4 + GREETING_TIMEOUT
        assert visit.connection.recv(10) == b"x"  # nothing was taken from it
        assert visit.name == "{}:{}".format(*client.getsockname())


async def test_whoever_closes_without_a_word_costs_no_visit(mock_clock: trio.testing.MockClock) -> None:
    async with house() as built:
        for number in range(30):
            client = built.connect(says=b"")
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        await trio.testing.wait_all_tasks_blocked()
        assert built.visits == []
        (line,) = built.lines
        assert line.endswith("was not let in: it left without a word")


async def test_an_end_within_the_minute_tells_what_was_counted_in_it(mock_clock: trio.testing.MockClock) -> None:
    tally = Tally(console := Console(Output(format="json")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tally.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            tally.add("left", "somebody", "it left without a word")
        nursery.cancel_scope.cancel()
    lines = [event.text for event in console.events]
    assert lines[1:] == ["connections of the last minute that were not let in: 2 left without a word"]


async def test_one_visit_begins_in_each_turn_of_the_loop(mock_clock: trio.testing.MockClock) -> None:
    counts = [0]

    class Turns(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            counts.append(len(built.visits))

    async with house() as built:
        await trio.testing.wait_all_tasks_blocked()
        built.worked += 1  # before anybody came: no reason to start many
        for _ in range(20):
            built.connect()
        trio.lowlevel.add_instrument(turns := Turns())
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(turns)
        assert len(built.visits) == 20
        assert max(after - before for before, after in itertools.pairwise(counts)) == 1


async def test_more_visits_begin_in_turns_that_are_long(mock_clock: trio.testing.MockClock) -> None:
    """Otherwise, the more those do who are in already, the fewer would come in."""
    async with house() as built:
        for _ in range(20):
            built.connect()
        while not built.visits:
            await trio.lowlevel.checkpoint()
        before = len(built.visits)
        built.worked += 10.5 * _entrance.PACE
        for _ in range(4):
            await trio.lowlevel.checkpoint()
        assert len(built.visits) - before >= 10


async def test_a_crowd_at_one_address_does_not_delay_another(mock_clock: trio.testing.MockClock) -> None:
    async with house() as built:
        for _ in range(3 * _waiting.PLACES_EACH):
            built.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert len(built.visits) == _waiting.PLACES_EACH
        built.connect("127.0.0.2")
        await trio.testing.wait_all_tasks_blocked()
        assert built.visits[-1].network == "127.0.0.2"
        assert len(built.visits) == _waiting.PLACES_EACH + 1


async def test_a_crowd_behind_one_address_comes_in_beside_some_who_hold_their_places(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with house() as built:
        for _ in range(_waiting.PLACES_EACH):
            built.connect()
        await trio.testing.wait_all_tasks_blocked()
        one_more = built.connect()
        mock_clock.jump(_waiting.PATIENCE)
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert len(built.visits) == _waiting.PLACES_EACH + 1
        assert built.visits[-1].name == "{}:{}".format(*one_more.getsockname())
        assert [visit.dropped for visit in built.visits].count(True) == 1
        assert built.visits[0].dropped


async def test_what_does_not_fit_in_line_is_reset_at_once(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "LINE_EACH", 50)
    async with house() as built:
        clients = [built.connect(says=b"") for _ in range(200)]
        await trio.testing.wait_all_tasks_blocked()
        gone = [number for number, client in enumerate(clients) if is_reset(client)]
        assert len(gone) == 150
        assert gone != list(range(150))
        assert len(built.lines) == 1
        for client in clients:
            client.close()
        await trio.testing.wait_all_tasks_blocked()
        assert len(built.lines) == 2  # those that were left have closed


async def test_at_the_end_those_in_line_are_reset() -> None:
    built = House()
    with built.clients:
        async with trio.open_nursery() as nursery:
            await nursery.start(built.run)
            client = built.connect(says=b"")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert is_reset(client)


async def test_clients_at_a_unix_socket_count_as_one_network(tmp_path: Path) -> None:
    async with house(UnixPath(str(tmp_path / "door"))) as built:
        built.connect()
        built.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert [(visit.network, visit.name) for visit in built.visits] == [("a local socket", "a local socket")] * 2


async def test_without_epoll_a_place_is_given_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "epoll")
    async with house() as built:
        built.connect(says=b"")
        await trio.testing.wait_all_tasks_blocked()
        assert len(built.visits) == 1


# ---- what is said ----


async def test_the_first_of_a_kind_is_told_and_then_one_line_a_minute(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally(Console(Output(format="json")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tally.run)
        await trio.sleep(EVERY / 2)
        for number in range(1000):
            tally.add("left", f"192.0.2.1:{number}", "it left without a word")
            tally.add("dropped", f"192.0.2.1:{number}", "it had to make room")
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["peer"] for line in lines] == ["192.0.2.1:0"] * 2
        await trio.sleep(EVERY)
        tally.add("left", "192.0.2.1:1", "it left without a word")  # goes on: no news
        await trio.sleep(EVERY)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(line["left"], line["dropped"]) for line in lines] == [(999, 999), (1, 0)]
        await trio.sleep(EVERY)
        tally.add("left", "192.0.2.1:1", "it left without a word")
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["peer"] == "192.0.2.1:1"
        await trio.sleep(2 * EVERY)
        assert capsys.readouterr().out == ""  # nothing else has happened
        nursery.cancel_scope.cancel()


def test_whoever_is_refused_has_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(Console(Output(format="json")))
    for number in range(5):
        tally.add("refused", f"192.0.2.1:{number}", "the token is not known here")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["peer"] for line in lines] == [f"192.0.2.1:{number}" for number in range(5)]


# ---- answers to wrong tokens ----


async def held(refusals: Refusals, deadline: float, ends: list[float]) -> None:
    await refusals.delay(deadline)
    ends.append(trio.current_time())


async def test_answers_are_held_back_each_for_itself(autojump_clock: trio.testing.MockClock) -> None:
    refusals, ends, begun = Refusals(), list[float](), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(held, refusals, begun + GREETING_TIMEOUT, ends)
    assert ends == [begun + DELAY] * 20
    assert refusals.count == 20


async def test_an_answer_comes_before_its_connection_s_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    refusals, ends, begun = Refusals(), list[float](), trio.current_time()
    await held(refusals, begun + 2.5, ends)
    await held(refusals, begun, ends)
    assert ends == [begun + 1.5] * 2


async def test_so_many_answers_are_held_back_and_the_first_goes_early(autojump_clock: trio.testing.MockClock) -> None:
    refusals, ends, begun = Refusals(), list[float](), trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(HELD + 10):
            nursery.start_soon(held, refusals, begun + GREETING_TIMEOUT, ends)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [begun] * 10
    assert refusals.count == len(ends) == HELD + 10
