"""A splice whose bytes wait for a pacer: what is counted, and what is noticed meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from tests.helpers.splices import BULK, WINDOW, Joint, joint, reset, send, socket_full
from tests.helpers.tasks import bounded, read_all

TURN = 1000

State = Callable[[Joint, "Turns"], Awaitable[None]]


class Turns(muxpy.Pacer):
    """Gives turns of TURN bytes when the test says so, or to everybody while it is `open`."""

    def __init__(self, *, open: bool = False) -> None:
        self.open = open
        self.line: dict[Callable[[], None], None] = {}
        self.counted: list[int] = []
        self._turn: Callable[[], None] | None = None

    def allow(self, resume: Callable[[], None]) -> int:
        if self._turn == resume:
            self._turn = None
        elif not self.open:
            self.line[resume] = None
            return 0
        return TURN

    def carried(self, count: int) -> None:
        self.counted.append(count)

    def withdraw(self, resume: Callable[[], None]) -> None:
        self.line.pop(resume, None)

    def give(self) -> None:
        """A turn for the first in line."""
        self._turn = next(iter(self.line))
        del self.line[self._turn]
        self._turn()
        self._turn = None


# ---- what is counted ----


@bounded()
async def test_every_byte_is_counted_and_no_turn_is_exceeded() -> None:
    there, back = BULK[:300_001], BULK[-200_003:]
    async with joint(near="tcp") as one:
        turns = Turns(open=True)
        received = {}

        async def receive(name: str, source: trio.abc.ReceiveStream) -> None:
            received[name] = await read_all(source)

        outcome = one.start(pacer=turns, early=BULK[:2500], head=lambda data: BULK[2500:6000] + data)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, one.peer, there)
            nursery.start_soon(send, one.outer, back)
            nursery.start_soon(receive, "there", one.outer)
            nursery.start_soon(receive, "back", one.peer)
        await outcome.expect()
        assert received == {"there": BULK[:6000] + there, "back": back}
        assert sum(turns.counted) == 6000 + len(there) + len(back)
        assert max(turns.counted) == TURN


@bounded()
async def test_a_turn_carries_one_piece_of_one_direction() -> None:
    async with joint() as one:
        turns = Turns()
        outcome = one.start(pacer=turns, early=b"early")
        await one.outer.send_all(BULK[:1500])
        await one.peer.send_all(b"late")
        await wait_all_tasks_blocked()
        assert len(turns.line) == 2
        assert not turns.counted

        turns.give()
        assert await one.outer.receive_some() == b"early"
        turns.give()
        assert await one.peer.receive_some() == BULK[:1000]
        await wait_all_tasks_blocked()
        assert turns.counted == [5, 1000]

        turns.give()
        turns.give()
        assert await one.outer.receive_some() == b"late"
        assert await one.peer.receive_some() == BULK[1000:1500]
        await one.outer.send_eof()
        await one.peer.send_eof()
        await wait_all_tasks_blocked()
        while turns.line:  # an end is news as well
            turns.give()
            await wait_all_tasks_blocked()
        await outcome.expect()
        assert turns.counted == [5, 1000, 4, 500]


@bounded()
async def test_who_waits_for_a_turn_wakes_nobody() -> None:
    async with joint() as one:
        turns = Turns()
        one.start(pacer=turns)
        await one.outer.send_all(BULK[:WINDOW])
        await one.peer.send_all(BULK[:WINDOW])
        await wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        try:
            await wait_all_tasks_blocked()
        finally:
            trio.lowlevel.remove_instrument(steps)
        assert not steps.others


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks but the one that made it."""

    def __init__(self) -> None:
        self.others = 0
        self._mine = trio.lowlevel.current_task()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.others += task is not self._mine


@bounded()
async def test_take_counts_only_in_its_turn() -> None:
    turns = Turns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, 70)
        await wait_all_tasks_blocked()
        assert not turns.counted
        turns.give()
    assert turns.counted == [70]

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.take, 80)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert not turns.line
    turns.open = True
    await turns.take(90)
    assert turns.counted == [70, 90]


@bounded()
async def test_copying_takes_turns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy.session._stream.has_poller", False)
    async with joint() as one:
        turns = Turns(open=True)
        outcome = one.start(pacer=turns, early=b"early ")
        await send(one.peer, b"there")
        await send(one.outer, b"back")
        assert await read_all(one.outer) == b"early there"
        assert await read_all(one.peer) == b"back"
        await outcome.expect()
        assert sum(turns.counted) == len(b"early thereback")


# ---- what is noticed ----


async def waiting(one: Joint, turns: Turns) -> None:
    """Both directions wait for their turn."""
    await one.outer.send_all(b"from the socket")
    await one.peer.send_all(b"from the peer")


async def socket_ended(one: Joint, turns: Turns) -> None:
    """Nothing more is read from the socket."""
    turns.open = True
    await one.outer.send_eof()
    assert not await one.peer.receive_some()


async def peer_ended(one: Joint, turns: Turns) -> None:
    """Nothing more is read from the stream."""
    turns.open = True
    await one.peer.send_eof()
    assert not await one.outer.receive_some()


async def socket_ended_and_peer_waiting(one: Joint, turns: Turns) -> None:
    await socket_ended(one, turns)
    turns.open = False
    await one.peer.send_all(b"late answer")


async def peer_ended_and_socket_waiting(one: Joint, turns: Turns) -> None:
    await peer_ended(one, turns)
    turns.open = False
    await one.outer.send_all(b"late answer")


async def full(one: Joint, turns: Turns) -> None:
    """The socket takes nothing, and is not read either."""
    await socket_full(one)
    turns.open = True
    await wait_all_tasks_blocked()
    turns.open = False
    await one.outer.send_all(b"from the socket")


async def no_window(one: Joint, turns: Turns) -> None:
    """The peer takes nothing."""
    turns.open = True
    await one.outer.send_all(BULK[: 2 * WINDOW])


STATES = [
    waiting,
    socket_ended,
    peer_ended,
    socket_ended_and_peer_waiting,
    peer_ended_and_socket_waiting,
    full,
    no_window,
]


@pytest.mark.parametrize("state", STATES)
@bounded()
async def test_a_reset_of_the_socket_is_passed_on(state: State) -> None:
    async with joint(near="tcp") as one:
        turns = Turns()
        outcome = one.start(pacer=turns)
        await state(one, turns)
        await wait_all_tasks_blocked()
        reset(one.outer)
        await outcome.expect(trio.BrokenResourceError)
        assert not turns.line
        one.stream.reset()


@pytest.mark.parametrize("state", STATES)
@bounded()
async def test_a_reset_by_the_peer_is_passed_on(state: State) -> None:
    async with joint(near="tcp") as one:
        turns = Turns()
        outcome = one.start(pacer=turns)
        await state(one, turns)
        await wait_all_tasks_blocked()
        one.peer.reset()
        await outcome.expect(muxpy.StreamReset)
        assert not turns.line


@pytest.mark.parametrize("state", [waiting, full])
@bounded()
async def test_a_cancelled_splice_leaves_the_line(state: State) -> None:
    async with joint(near="tcp") as one:
        turns = Turns()
        outcome = one.start(pacer=turns)
        await state(one, turns)
        await wait_all_tasks_blocked()
        assert turns.line
        outcome.scope.cancel()
        await outcome.expect()
        assert not turns.line
