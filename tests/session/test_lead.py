"""A task that waits reads itself (leader and followers): whatever it does then, and whatever is done to it, somebody
reads, and nothing is lost."""

from __future__ import annotations

import gc
import signal
import weakref
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import encode_data_header
from muxpy.proto import Batch
from muxpy.session._lead import FEWEST, MOST, PATIENCE
from muxpy.session._reader import WORK_A_TURN
from muxpy.transport import Interrupted, StreamTransport
from muxpy.transport._readiness import AT_ONCE
from muxpy.transport._socket import SocketTransport
from tests.helpers.inside import assert_read, leads, reader_rests
from tests.helpers.pairs import session_pair, stream_pair, unix_pair
from tests.helpers.tasks import bounded, cancel_at, echo, moments, read_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from muxpy.frame import Buffer

Clock = trio.testing.MockClock

QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=1, drain_timeout=1)
WINDOW = 65536


@dataclass
class Scene:
    """A session of which the client has seen a lone receiver: the next task that waits there takes the lead."""

    client: muxpy.Session
    server: muxpy.Session
    near: muxpy.Stream
    far: muxpy.Stream
    others: tuple[muxpy.Stream, muxpy.Stream]
    """A second stream."""


@asynccontextmanager
async def scene(kind: str = "unix", config: muxpy.SessionConfig = QUIET) -> AsyncIterator[Scene]:
    async with session_pair(kind, client_config=config, server_config=config) as (client, server):
        near, far = await stream_pair(client, server)
        others = await stream_pair(client, server)
        for _ in range(2 * FEWEST):
            await far.send_all(b"x")
            await wait_all_tasks_blocked()
            assert await near.receive_some() == b"x"
        yield Scene(client, server, near, far, others)
        await wait_all_tasks_blocked()
        assert_read(client, server)
        client.kill()  # otherwise it would wait for the streams
        server.kill()
        await client.wait()
        await server.wait()
        assert_read(client, server)


class Outcomes:
    """What came of operations, by name."""

    def __init__(self) -> None:
        self.results: dict[str, object] = {}

    async def run(self, name: str, operation: Callable[[], Awaitable[object]]) -> None:
        try:
            self.results[name] = await operation()
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            self.results[name] = type(error)


# ---- who reads ----


async def ping(s: Scene, times: int) -> None:
    for _ in range(times):
        await s.far.send_all(b"ping")
        assert await s.near.receive_some() == b"ping"


@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_a_task_that_waits_in_receive_some_reads(kind: str) -> None:
    async with scene(kind) as s, trio.open_nursery() as nursery:

        async def receive() -> None:
            assert await s.near.receive_some() == b"x"
            assert reader_rests(s.client)

        assert not leads(s.client)
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        await s.far.send_all(b"x")
        await wait_all_tasks_blocked()
        assert not reader_rests(s.client)


@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_a_task_that_waits_in_accept_stream_reads(kind: str) -> None:
    async with scene(kind) as s, trio.open_nursery() as nursery:

        async def accept() -> None:
            await s.client.accept_stream()
            assert reader_rests(s.client)

        nursery.start_soon(accept)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        await s.server.open_stream()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


@pytest.mark.parametrize("kind", ["memory", "ssl_stream", "ssl_stream_tcp"])
@bounded()
async def test_over_another_trio_stream_the_reader_task_reads(kind: str) -> None:
    async with scene(kind) as s, trio.open_nursery() as nursery:
        await ping(s, 20)
        nursery.start_soon(s.near.receive_some)
        await wait_all_tasks_blocked()
        assert not leads(s.client)
        nursery.cancel_scope.cancel()


# ---- a leader that is cancelled ----


@pytest.mark.parametrize("any_task", [False, True], ids=["own_steps", "all_steps"])
@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_a_leader_that_is_cancelled_at_any_moment_loses_nothing_and_holds_up_nobody(
    kind: str, any_task: bool
) -> None:
    """Beside it, a task sends more than a window, and one receives on another stream."""
    for nth in moments():
        async with scene(kind) as s:
            near, far = s.others
            received = bytearray()

            async def receive(stream: muxpy.Stream = s.near, received: bytearray = received) -> None:
                while len(received) < 3_000:
                    received += await stream.receive_some(1_000)

            async def send(stream: muxpy.Stream = s.far) -> None:
                for _ in range(3):
                    await stream.send_all(bytes(1_000))
                    await wait_all_tasks_blocked()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(s.near.send_all, bytes(WINDOW + 1_000))
                nursery.start_soon(
                    far.send_all,
                    b"other",
                )
                nursery.start_soon(read_until, s.far, WINDOW + 1_000)
                nursery.start_soon(send)
                cancelled = await cancel_at(nth, receive, any_task=any_task)
                assert await near.receive_some() == b"other"
                await receive()
            assert received == bytes(3_000)
        if not cancelled:
            assert nth > 3
            return


async def read_until(stream: muxpy.Stream, size: int) -> None:
    while size:
        size -= len(await stream.receive_some())


# ---- a task that has left the lead, and does something else ----


async def _event(s: Scene) -> None:
    await trio.Event().wait()


async def _sleep(s: Scene) -> None:
    await trio.sleep(1000)


async def _other_session(s: Scene) -> None:
    async with session_pair("unix", client_config=QUIET, server_config=QUIET) as (client, _):
        await client.accept_stream()


async def _sends(s: Scene) -> None:
    while True:
        await s.near.send_all(b"more")
        with trio.CancelScope(shield=True):
            await s.far.receive_some()


async def _checkpoints(s: Scene) -> None:
    while True:
        await trio.lowlevel.checkpoint()


async def _ends(s: Scene) -> None:
    pass


async def _waits_for_the_session(s: Scene) -> None:
    await s.client.wait()


async def _sends_too_much(s: Scene) -> None:
    await s.others[0].send_all(bytes(2 * WINDOW))


ELSE = [_event, _sleep, _other_session, _sends, _checkpoints, _ends, _waits_for_the_session, _sends_too_much]


@asynccontextmanager
async def left(s: Scene, something_else: Callable[[Scene], Awaitable[None]]) -> AsyncIterator[None]:
    """While the block runs, a task that had the lead does something else."""

    async def lead() -> None:
        assert await s.near.receive_some() == b"go"
        with suppress(muxpy.SessionClosed):
            await something_else(s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lead)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        await s.far.send_all(b"go")
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("something_else", ELSE)
@bounded()
async def test_while_the_task_does_something_else_the_session_is_read(
    something_else: Callable[[Scene], Awaitable[None]],
) -> None:
    async with scene() as s, left(s, something_else):
        near, far = s.others
        if something_else is not _sends_too_much:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.send_all, bytes(WINDOW + 1_000))  # it waits for window
                await read_until(far, WINDOW + 1_000)
        await far.send_all(b"data")
        assert await near.receive_some() == b"data"
        s.server.kill()
        await s.client.wait()


@bounded()
async def test_a_session_that_nobody_waits_for_is_read_too(autojump_clock: Clock) -> None:
    """The peer's heartbeats are answered, and ours are."""
    async with scene(config=muxpy.SessionConfig(heartbeat_interval=1)) as s, left(s, _sleep):
        await trio.sleep(60)
        assert s.client.end is None
        assert s.server.end is None


@pytest.mark.parametrize("count", [PATIENCE, PATIENCE + 1])
@bounded()
async def test_a_task_is_awaited_for_a_few_checkpoints_of_ours_and_no_more(count: int) -> None:
    async with scene() as s:
        lead = s.client._engine.lead

        async def send() -> None:
            assert await s.near.receive_some() == b"go"
            await s.near.send_all(b"first")  # in the same step
            for _ in range(count):
                await s.near.send_all(b"more")
            assert (lead.on_its_way is not None) == (count == PATIENCE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await s.far.send_all(b"go")


@bounded()
async def test_a_task_in_two_sessions_by_turns(autojump_clock: Clock) -> None:
    async with scene() as one, scene() as two, trio.open_nursery() as nursery:
        for s in (one, two):
            nursery.start_soon(echo, s.far)
        await wait_all_tasks_blocked()
        for _ in range(50):
            for s in (one, two):
                await s.near.send_all(b"ping")
                assert await s.near.receive_some() == b"ping"
        for s in (one, two):
            await s.near.send_eof()
            assert await s.near.receive_some() == b""


# ---- something else ends the wait of the leader ----


ENDS: dict[str, Callable[[Scene], object]] = {
    "reset": lambda s: s.near.reset(),
    "closed": lambda s: s.client._engine.end_stream(s.near._state, None),
    "killed": lambda s: s.client.kill(),
    "reset by the peer": lambda s: s.far.reset(),
    "killed by the peer": lambda s: s.server.kill(),
}
ERRORS = {
    "reset": trio.ClosedResourceError,
    "closed": trio.ClosedResourceError,
    "killed": muxpy.SessionClosed,
    "reset by the peer": muxpy.StreamReset,
    "killed by the peer": muxpy.SessionClosed,
}


async def act_at(nth: int, act: Callable[[], object], traffic: Callable[[], Awaitable[object]]) -> bool:
    """Call `act` after the nth step of any task while `traffic` goes on, or at its end. False if it was the end."""

    async def wait() -> None:
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    await traffic()
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

            nursery.start_soon(work)

    early = await cancel_at(nth, wait, any_task=True)
    act()
    return early


async def send_to_others(s: Scene) -> None:
    for size in (1, 1, 100):
        await s.others[1].send_all(bytes(size))


@pytest.mark.parametrize("kind", ["unix", "tls", "filled", "group"])
@pytest.mark.parametrize("how", ENDS)
@bounded()
async def test_whatever_ends_its_wait_wakes_the_leader_at_any_moment(how: str, kind: str) -> None:
    """Also while it is between two reads: "filled", a read is as large as it may be, and the next one is tried at
    once."""
    group = muxpy.SessionGroup()
    for nth in moments():
        async with scene("tls" if kind == "tls" else "unix") as s, trio.open_nursery() as nursery:
            transport = s.client._engine.transport
            if kind == "filled":
                transport.read_size = transport.read_limit = len(encode_data_header(1, 1)) + 1
            if kind == "group":  # both ends, which take turns then
                for session in (s.client, s.server):
                    session.admit(group)
            outcomes = Outcomes()
            nursery.start_soon(outcomes.run, "leader", s.near.receive_some)
            await wait_all_tasks_blocked()
            assert leads(s.client)
            early = await act_at(nth, partial(ENDS[how], s), partial(send_to_others, s))
            await wait_all_tasks_blocked()
            assert outcomes.results == {"leader": ERRORS[how]}, f"at step {nth}"
        if not early:
            assert nth > 3
            return


@pytest.mark.parametrize("listener", [False, True])
@bounded()
async def test_an_acceptor_that_reads_hears_of_go_away_and_of_the_end_of_its_listener(listener: bool) -> None:
    async with scene() as s, trio.open_nursery() as nursery:
        outcomes = Outcomes()
        accepting = s.client.listener()
        nursery.start_soon(outcomes.run, "leader", accepting.accept if listener else s.client.accept_stream)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        if listener:
            await accepting.aclose()
        else:
            s.client.go_away()
        await wait_all_tasks_blocked()
        assert outcomes.results == {"leader": trio.ClosedResourceError if listener else muxpy.SessionGoingAway}


@bounded()
async def test_who_was_interrupted_and_has_not_run_yet_does_not_count_as_one_that_waits() -> None:
    """Otherwise a task could take the place of one that does not wait now, and two would read the same socket."""
    near, far = unix_pair()

    async def receive() -> None:
        with suppress(Interrupted):
            await transport.receive()

    async with near, far, trio.open_nursery() as nursery:
        transport = SocketTransport(near)
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert transport.waiting
        transport.interrupt()
        assert not transport.waiting
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        assert transport.waiting
        transport.interrupt()


@pytest.mark.parametrize("whose", ["first", "second"])
@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_bytes_that_come_in_the_pass_in_which_the_lead_is_taken_away_are_read(kind: str, whose: str) -> None:
    """They have woken the one task, and the other begins to wait before it runs, or after, as the coin falls."""
    for _ in range(10):
        async with scene(kind) as s, trio.open_nursery() as nursery:
            outcomes = Outcomes()
            nursery.start_soon(outcomes.run, "first", s.near.receive_some)
            await wait_all_tasks_blocked()
            s.client._engine.reader.lone = MOST  # so that the second takes the lead away
            streams = {"first": s.far, "second": s.others[1]}
            written = encode_data_header(streams[whose].id, 1) + b"1"
            s.server._engine.transport.try_send(Batch([written], [], len(written)))
            nursery.start_soon(outcomes.run, "second", s.others[0].receive_some)
            await wait_all_tasks_blocked()
            assert outcomes.results == {whose: b"1"}
            assert_read(s.client)
            del streams[whose]
            for stream in streams.values():
                await stream.send_all(b"2")
            await wait_all_tasks_blocked()
            assert sorted(outcomes.results) == ["first", "second"]


# ---- whoever reads, it ends alike ----


async def ends_of(kind: str, how: str) -> dict[str, object]:
    """What tasks in all kinds of waits get, and how the session ended."""
    outcomes = Outcomes()
    async with scene(kind) as s, trio.open_nursery() as nursery:
        nursery.start_soon(outcomes.run, "receive", s.near.receive_some)
        await wait_all_tasks_blocked()
        assert leads(s.client) == (kind != "memory")
        nursery.start_soon(outcomes.run, "receive another", s.others[0].receive_some)
        nursery.start_soon(outcomes.run, "send", partial(s.near.send_all, bytes(2 * WINDOW)))
        nursery.start_soon(outcomes.run, "accept", s.client.accept_stream)
        nursery.start_soon(outcomes.run, "wait_ended", s.near.wait_ended)
        await wait_all_tasks_blocked()
        transport = s.server._engine.transport
        match how:
            case "ended":
                await transport.send_eof()
            case "lost":
                await transport.aclose()
            case "rule":
                assert isinstance(transport, SocketTransport | StreamTransport)
                await transport._stream.send_all(encode_data_header(99, 1) + b"x")
        end = await s.client.wait()
        outcomes.results["end"] = end.code, type(end.error), end.by_peer
        outcomes.results["wait_ended"] = type(outcomes.results["wait_ended"])
    return outcomes.results


@pytest.mark.parametrize("how", ["ended", "lost", "rule"])
@bounded()
async def test_the_end_is_the_same_for_all_whoever_reads(how: str, autojump_clock: Clock) -> None:
    led, not_led = await ends_of("unix", how), await ends_of("memory", how)
    assert led == not_led
    assert len(led) == 6


@pytest.mark.parametrize(("way", "end"), [("receive", True), ("receive_lone", False)])
@pytest.mark.parametrize("kind", ["unix", "memory"])
@bounded()
async def test_a_bug_ends_the_session_whoever_reads(
    kind: str, way: str, end: bool, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = ZeroDivisionError("on purpose")

    def broken(received: Buffer, number: float) -> NoReturn:
        raise bug

    outcomes = Outcomes()

    async def run(nursery: trio.Nursery) -> None:
        async with scene(kind) as s:
            nursery.start_soon(outcomes.run, "receive", s.near.receive_some)
            nursery.start_soon(outcomes.run, "accept", s.client.accept_stream)
            await wait_all_tasks_blocked()
            assert leads(s.client) == (kind == "unix")
            monkeypatch.setattr(s.client._engine.core, way, broken)
            await s.far.send_all(b"x", end=end)
            assert (await s.client.wait()).error is bug

    async with trio.open_nursery() as nursery:
        with pytest.raises(ZeroDivisionError) as info:
            await run(nursery)
    assert info.value is bug
    assert outcomes.results == {"receive": muxpy.SessionClosed, "accept": muxpy.SessionClosed}


@trio.lowlevel.enable_ki_protection
def strike() -> None:
    """Have Ctrl-C come where it must not be raised: then Trio raises it in the main task."""
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_while_the_main_task_reads_loses_nothing() -> None:
    async def strike_later() -> None:
        await wait_all_tasks_blocked()
        strike()

    async def main() -> None:
        async with scene() as s, trio.open_nursery() as nursery:
            nursery.start_soon(strike_later)
            with pytest.raises(KeyboardInterrupt):
                await s.near.receive_some()
            await s.far.send_all(b"data")
            assert await s.near.receive_some() == b"data"

    trio.run(main)


# ---- what must not depend on who reads ----

who: ContextVar[str] = ContextVar("who", default="nobody")


@bounded()
async def test_handlers_have_the_context_of_serve_streams() -> None:
    seen: list[str] = []

    async def handle(stream: muxpy.Stream) -> None:
        seen.append(who.get())

    async def run(name: str, operation: Callable[[], Awaitable[object]]) -> None:
        who.set(name)
        await operation()

    async with scene() as s, trio.open_nursery() as nursery:
        nursery.start_soon(run, "server", partial(s.client.serve_streams, handle))
        await wait_all_tasks_blocked()
        nursery.start_soon(run, "leader", s.near.receive_some)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        await s.server.open_stream()
        await wait_all_tasks_blocked()
        assert seen == ["server"]
        nursery.cancel_scope.cancel()


@bounded()
async def test_a_writer_that_waits_for_room_goes_on_when_the_leader_is_interrupted() -> None:
    """Both wait for the same socket, and Trio wakes both."""
    near, far = unix_pair()
    size = 4 * 1024 * 1024

    async def receive() -> None:
        with suppress(Interrupted):
            await transport.receive()

    async with near, far, trio.open_nursery() as nursery:
        transport = SocketTransport(near)
        nursery.start_soon(transport.send, Batch([bytes(size)], [], size))
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        transport.interrupt()
        while size:
            size -= len(await far.receive_some())


@bounded()
async def test_leaders_of_more_sessions_than_wait_by_trios_own_means() -> None:
    async with AsyncExitStack() as stack:
        scenes = [await stack.enter_async_context(scene()) for _ in range(AT_ONCE)]
        nursery = await stack.enter_async_context(trio.open_nursery())
        for s in scenes:
            nursery.start_soon(Outcomes().run, "leader", s.near.receive_some)
        await wait_all_tasks_blocked()
        assert sum(leads(s.client) for s in scenes) == AT_ONCE
        for s in scenes[::2]:
            await s.far.send_all(b"x")
        for s in scenes[1::2]:
            s.near.reset()
        await wait_all_tasks_blocked()
        assert_read(*(s.client for s in scenes), *(s.server for s in scenes))
        nursery.cancel_scope.cancel()


async def ended_while_led() -> weakref.ref[muxpy.Session]:
    async with scene() as s, trio.open_nursery() as nursery:
        nursery.start_soon(Outcomes().run, "leader", s.near.receive_some)
        await wait_all_tasks_blocked()
        s.server.kill()
        await s.client.wait()
        return weakref.ref(s.client)


@bounded()
async def test_a_session_that_ended_while_it_was_led_is_freed() -> None:
    gc.collect()
    gc.disable()
    try:
        left = await ended_while_led()
        await trio.lowlevel.checkpoint()
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", ["unix", "tls"])
@bounded()
async def test_a_read_that_is_more_than_one_turn_of_work_is_the_reader_tasks(kind: str) -> None:
    """Its rest is acted on in further turns; the leader waits for its data as a follower."""
    async with scene(kind) as s, trio.open_nursery() as nursery:
        outcomes = Outcomes()
        nursery.start_soon(outcomes.run, "leader", s.near.receive_some)
        await wait_all_tasks_blocked()
        assert leads(s.client)
        transport = s.server._engine.transport
        frames = [(s.others[0].id, b"x")] * (4 * WORK_A_TURN) + [(s.near.id, b"last")]
        written = b"".join(encode_data_header(stream_id, len(body)) + body for stream_id, body in frames)
        await transport.send(Batch([written], [], len(written)))
        await wait_all_tasks_blocked()
        assert outcomes.results == {"leader": b"last"}
        assert await s.others[0].receive_some() == b"x" * 4 * WORK_A_TURN


# ---- when it is worth it ----


@bounded()
async def test_wrong_guesses_need_more_lone_reads_and_right_ones_fewer() -> None:
    async with scene() as s:
        lead, reader = s.client._engine.lead, s.client._engine.reader
        for wrong in range(1, 10):
            reader.lone = MOST
            async with left(s, _sleep):
                await wait_all_tasks_blocked()
            assert lead._needed == min(FEWEST * 2**wrong, MOST)
        reader.lone = MOST
        async with left(s, ask_back), trio.open_nursery() as nursery:
            nursery.start_soon(echo, s.far)
            await wait_all_tasks_blocked()
            assert lead._needed == FEWEST
            nursery.cancel_scope.cancel()


async def ask_back(s: Scene) -> None:
    for _ in range(20):
        await s.near.send_all(b"ask")
        await s.near.receive_some()


async def interrupts_while(count: int, *, together: bool, rounds: int = 20) -> int:
    """How often the wait of a task was ended so that another may read, in so many rounds of messages for `count`
    streams."""
    async with scene() as s, trio.open_nursery() as nursery:
        pairs = [await stream_pair(s.client, s.server) for _ in range(count)]
        for near, _ in pairs:
            nursery.start_soon(read_all, near)
        await wait_all_tasks_blocked()
        transport = s.client._engine.transport
        assert isinstance(transport, SocketTransport)
        before = transport._interrupts
        for _ in range(rounds):
            for _, far in pairs:
                await far.send_all(b"message")
                if not together:
                    await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
        interrupts = transport._interrupts - before
        nursery.cancel_scope.cancel()
    return interrupts


@bounded()
async def test_streams_that_alternate_do_not_interrupt_each_other_at_each_message() -> None:
    """Each takes the lead in vain at first, and has to see twice as many lone reads before the next attempt."""
    assert await interrupts_while(2, together=False) <= 8


@pytest.mark.parametrize("count", [10, 100])
@bounded()
async def test_with_many_busy_streams_nobody_takes_the_lead(count: int) -> None:
    assert await interrupts_while(count, together=True) <= 1
