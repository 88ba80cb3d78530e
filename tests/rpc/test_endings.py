"""What becomes of calls when the session ends, goes away or breaks; and pools, which get another one."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy import rpc
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .services import Bench, Worker, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Clock = trio.testing.MockClock


@pytest.fixture(params=[0, 1], ids=["shared", "alone"])
def priority(request: pytest.FixtureRequest) -> int:
    return int(request.param)


class Outcomes:
    """How calls have ended."""

    def __init__(self) -> None:
        self.answers = 0
        self.errors: list[rpc.Unavailable] = []

    async def of(self, call: Awaitable[object]) -> None:
        try:
            await call
        except rpc.Unavailable as error:
            self.errors.append(error)
        else:
            self.answers += 1


@pytest.mark.parametrize("killed", ["here", "there"])
@bounded(1000)
async def test_a_killed_session_ends_all_calls(killed: str, priority: int, autojump_clock: Clock) -> None:
    outcomes = Outcomes()
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        worker = Worker()
        nursery.start_soon(outcomes.of, served_until_the_end(there, worker))
        bench = rpc.client(here, Bench, priority=priority)
        async with trio.open_nursery() as calling:
            for number in range(50):
                calling.start_soon(outcomes.of, bench.wait(str(number)))
            await trio.sleep(1)
            assert worker.running == 50
            (here if killed == "here" else there).kill()
        assert len(outcomes.errors) == 50
        assert not any(error.retryable for error in outcomes.errors)
        await trio.sleep(1)
        assert worker.running == 0
        with pytest.raises(rpc.Unavailable) as later:
            await bench.add(1)
        assert later.value.retryable


async def served_until_the_end(session: muxpy.Session, worker: Worker) -> None:
    with suppress(muxpy.SessionClosed):
        await rpc.serve(session, [worker])


@bounded(1000)
async def test_the_server_goes_away(priority: int, autojump_clock: Clock) -> None:
    """Calls that are under way are answered; later ones are not begun."""
    async with served() as (_, worker, here, there), trio.open_nursery() as nursery:
        bench = rpc.client(here, Bench, priority=priority)
        outcomes = Outcomes()
        for number in range(10):
            nursery.start_soon(outcomes.of, bench.wait(str(number)))
        await trio.sleep(1)
        there.go_away()
        at_once = bench.add(1)  # the other side's word is on its way
        with pytest.raises(rpc.Unavailable) as crossed:
            await at_once
        await trio.sleep(1)
        with pytest.raises(rpc.Unavailable) as later:
            await bench.add(1)
        assert crossed.value.retryable
        assert later.value.retryable
        worker.go_on.set()
        await trio.sleep(1)
        assert outcomes.answers == 10


@bounded(1000)
async def test_the_client_closes_while_calls_are_under_way(priority: int, autojump_clock: Clock) -> None:
    async with served() as (_, worker, here, _), trio.open_nursery() as nursery:
        bench = rpc.client(here, Bench, priority=priority)
        outcomes = Outcomes()
        nursery.start_soon(outcomes.of, bench.wait("a"))
        await trio.sleep(1)
        nursery.start_soon(here.aclose)
        await trio.sleep(1)
        worker.go_on.set()
        await trio.sleep(1)
        assert outcomes.answers == 1
        assert here.end is not None


@bounded(1000)
async def test_a_close_that_cuts_a_call_off(priority: int, autojump_clock: Clock) -> None:
    """The session ends in order, but this call may have been carried out."""
    outcomes = Outcomes()
    config = muxpy.SessionConfig(drain_timeout=1)
    async with session_pair(client_config=config) as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, there, [Worker()])
        nursery.start_soon(outcomes.of, rpc.client(here, Bench, priority=priority).wait("a"))
        await trio.sleep(1)
        await here.aclose()
        nursery.cancel_scope.cancel()
    assert [error.retryable for error in outcomes.errors] == [False]


@bounded(1000)
async def test_a_killed_session_in_which_a_task_of_its_own_reads(autojump_clock: Clock) -> None:
    """That task is cancelled with the session, and tells nobody."""

    class Stubborn(Worker):
        async def wait(self, name: str) -> None:
            with trio.CancelScope(shield=name == "stubborn"):
                await super().wait(name)

    outcomes = Outcomes()
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        worker = Stubborn()
        nursery.start_soon(served_until_the_end, there, worker)
        bench = rpc.client(here, Bench)
        with trio.move_on_after(1):
            await bench.wait("stubborn")
        nursery.start_soon(outcomes.of, bench.wait("a"))
        await trio.sleep(1)
        here.kill()
        worker.go_on.set()
    assert [error.retryable for error in outcomes.errors] == [False]


@bounded(1000)
async def test_serve_returns_when_all_is_answered(autojump_clock: Clock) -> None:
    async with session_pair() as (here, there), trio.open_nursery() as nursery:
        worker = Worker()
        bench = rpc.client(here, Bench)
        async with trio.open_nursery() as serving:
            serving.start_soon(rpc.serve, there, [worker])
            nursery.start_soon(bench.wait, "a")
            await trio.sleep(1)
            there.go_away()
            await trio.sleep(1)
            worker.go_on.set()
        assert worker.ended == ["a"]
        assert there.end is None


# ---- pools ----


class Servers:
    """Servers in memory, one for each connection."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.sessions: list[muxpy.Session] = []
        self.refusing = False

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[muxpy.Session]:
        if self.refusing:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError("nobody is there")
        async with session_pair() as (here, there), trio.open_nursery() as nursery:
            nursery.start_soon(served_until_the_end, there, self.worker)
            self.sessions.append(there)
            yield here
            await here.aclose()


@bounded(1000)
async def test_a_pool_uses_the_session_with_the_least_to_do(autojump_clock: Clock) -> None:
    worker = Worker()
    servers = Servers(worker)
    async with rpc.pool(servers.connect, size=3) as pool, trio.open_nursery() as nursery:
        bench = rpc.client(pool, Bench)
        await trio.sleep(1)
        assert len(pool.sessions) == 3
        for number in range(9):
            nursery.start_soon(bench.wait, str(number))
            await trio.sleep(0.01)
        assert [session.statistics().streams_open for session in servers.sessions] == [3, 3, 3]
        worker.go_on.set()


@bounded(10_000)
async def test_calls_wait_for_a_session(autojump_clock: Clock) -> None:
    servers = Servers(Worker())
    servers.refusing = True
    async with rpc.pool(servers.connect) as pool, trio.open_nursery() as nursery:
        outcomes = Outcomes()
        nursery.start_soon(outcomes.of, rpc.client(pool, Bench).add(1))
        with trio.move_on_after(5) as scope:
            await rpc.client(pool, Bench).add(1)
        assert scope.cancelled_caught
        assert outcomes.answers == 0
        servers.refusing = False
        await trio.sleep(40)
        assert outcomes.answers == 1


@bounded(10_000)
async def test_a_session_that_goes_away_is_replaced_at_once(autojump_clock: Clock) -> None:
    worker = Worker()
    servers = Servers(worker)
    async with rpc.pool(servers.connect) as pool, trio.open_nursery() as nursery:
        bench = rpc.client(pool, Bench)
        outcomes = Outcomes()
        nursery.start_soon(outcomes.of, bench.wait("old"))
        await trio.sleep(1)
        servers.sessions[0].go_away()
        before = trio.current_time()
        assert await bench.add(1) == 2
        assert trio.current_time() - before < 0.1
        assert len(servers.sessions) == 2
        worker.go_on.set()
        await trio.sleep(1)
        assert outcomes.answers == 1


@bounded(10_000)
async def test_idempotent_calls_are_made_again(autojump_clock: Clock) -> None:
    class Slow(Worker):
        async def again(self, name: str) -> int:
            self.began.append(name)
            if len(self.began) == 1:
                await trio.sleep_forever()
            return len(self.began)

    servers = Servers(Slow())
    async with rpc.pool(servers.connect) as pool, trio.open_nursery() as nursery:
        bench = rpc.client(pool, Bench)
        nursery.start_soon(kill_later, servers)
        assert await bench.again("a") == 2


async def kill_later(servers: Servers) -> None:
    await trio.sleep(1)
    servers.sessions[0].kill()


@bounded(10_000)
async def test_a_pool_that_is_closed(autojump_clock: Clock) -> None:
    servers = Servers(Worker())
    servers.refusing = True
    outcomes = Outcomes()
    async with trio.open_nursery() as nursery, rpc.pool(servers.connect) as pool:
        nursery.start_soon(outcomes.of, rpc.client(pool, Bench).add(1))
        await trio.sleep(1)
    assert [error.retryable for error in outcomes.errors] == [True]


@bounded(10_000)
async def test_a_pool_does_not_hide_bugs(autojump_clock: Clock) -> None:
    def connect() -> AsyncIterator[muxpy.Session]:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError):
        async with rpc.pool(connect):  # type: ignore[arg-type]
            await trio.sleep_forever()


@bounded(100_000)
async def test_calls_while_sessions_are_killed_and_go_away(autojump_clock: Clock) -> None:
    """None is carried out twice, none hangs, and an error says whether it may have been carried out."""

    class Once(Worker):
        def __init__(self) -> None:
            super().__init__()
            self.done: dict[str, int] = {}

        async def wait(self, name: str) -> None:
            self.done[name] = self.done.get(name, 0) + 1
            await trio.sleep(random.uniform(0, 0.02))

    worker = Once()
    servers = Servers(worker)
    seen: dict[str, bool] = {}
    retryable: list[bool] = []

    async with rpc.pool(servers.connect, size=3) as pool:
        clients = [rpc.client(pool, Bench, priority=priority) for priority in (0, 0, 0, 1)]

        async def call(caller: int) -> None:
            for number in range(40):
                name = f"{caller}.{number}"
                try:
                    await random.choice(clients).wait(name)
                    seen[name] = True
                except rpc.Unavailable as error:
                    seen[name] = False
                    retryable.append(error.retryable)

        async with trio.open_nursery() as chaos, trio.open_nursery() as calling:
            chaos.start_soon(disturb, servers)
            for caller in range(50):
                calling.start_soon(call, caller)
            calling.start_soon(end_with, chaos, seen)
    assert len(seen) == 2000
    assert not any(retryable)
    assert max(worker.done.values()) == 1
    assert all(worker.done[name] == 1 for name, answered in seen.items() if answered)
    assert sum(seen.values()) > 1000
    assert len(servers.sessions) > 5


async def disturb(servers: Servers) -> None:
    end: list[Callable[[muxpy.Session], object]] = [muxpy.Session.kill, muxpy.Session.go_away]
    while True:
        await trio.sleep(0.02)
        random.choice(end)(random.choice(servers.sessions[-3:]))


async def end_with(chaos: trio.Nursery, seen: dict[str, bool]) -> None:
    while len(seen) < 2000:  # noqa: ASYNC110 - callers know nothing of it
        await trio.sleep(0.1)
    chaos.cancel_scope.cancel()


@bounded(1000)
async def test_a_pool_raises_what_its_block_raises(autojump_clock: Clock) -> None:
    async def use() -> None:
        async with rpc.pool(Servers(Worker()).connect):
            await trio.sleep(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()


@bounded(1000)
async def test_a_server_that_goes_away_at_once_is_not_asked_again_and_again(autojump_clock: Clock) -> None:
    servers = Servers(Worker())

    @asynccontextmanager
    async def connect() -> AsyncIterator[muxpy.Session]:
        async with servers.connect() as session:
            servers.sessions[-1].go_away()
            yield session

    async with rpc.pool(connect):
        await trio.sleep(1)
    assert 2 < len(servers.sessions) < 50


@bounded(1000)
async def test_serving_a_session_that_has_ended(autojump_clock: Clock) -> None:
    async with session_pair() as (_, there):
        there.kill()
        with pytest.raises(muxpy.SessionClosed):
            await rpc.serve(there, [Worker()])


@bounded(1000)
async def test_serving_a_session_that_ends_before_its_login(autojump_clock: Clock) -> None:
    config = muxpy.SessionConfig(wants_login=True)
    async with session_pair(server_config=config) as (_, there), trio.open_nursery() as nursery:
        nursery.start_soon(served_until_the_end, there, Worker())
        await trio.sleep(1)
        there.kill()


@bounded(1000)
async def test_calls_before_the_login(autojump_clock: Clock) -> None:
    """A server may ask a client who it is by a call, give one up, and make many."""
    worker = Worker()
    config = muxpy.SessionConfig(wants_login=True)
    async with session_pair(server_config=config) as (here, there), trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve, here, [worker])
        bench = rpc.client(there, Bench)
        with trio.move_on_after(1):
            await bench.wait("given up")
        outcomes = Outcomes()
        async with trio.open_nursery() as calling:
            for _ in range(100):
                calling.start_soon(outcomes.of, bench.echo(bytes(50)))
        assert outcomes.errors == []
        assert outcomes.answers == 100
        there.admit()
        await there.aclose()


@bounded(1000)
async def test_a_server_that_is_cancelled_cuts_its_calls_off(priority: int, autojump_clock: Clock) -> None:
    """Nobody has given them up."""
    outcomes = Outcomes()
    for _ in range(10):  # Trio lets either task go first
        async with session_pair() as (here, there), trio.open_nursery() as nursery, trio.open_nursery() as serving:
            serving.start_soon(rpc.serve, there, [Worker()])
            nursery.start_soon(outcomes.of, rpc.client(here, Bench, priority=priority).wait("a"))
            await trio.sleep(1)
            serving.cancel_scope.cancel()
            there.kill()
    assert [error.retryable for error in outcomes.errors] == [False] * 10
