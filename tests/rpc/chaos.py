"""Calls over a bad link, in both directions at once: `python -m tests.rpc.chaos 100` plays a hundred rounds more.

The rules: each call ends with its exact answer or with an error that says whether it may have been carried out; none is
carried out twice, and none that is said to be retryable was carried out; nothing hangs and nothing is left. On a link
that does damage, values may be wrong, since muxado has no checksum; the other rules hold there too, but for what is
carried out.
"""

from __future__ import annotations

import random
import sys
from contextlib import aclosing, suppress
from random import Random
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

import muxpy
from muxpy import rpc
from muxpy.rpc._endpoint import endpoint_of
from tests.chaos.memory import MemoryLink
from tests.chaos.plan import FAULTS, Fault, plan_link
from tests.chaos.rounds import deterministic
from tests.helpers.content import named

from .services import Bench, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["play"]

CALLERS = 20
CALLS = 10
LIMIT = 100_000.0
"""Virtual seconds: a round that takes longer hangs. The narrowest link carries 12 KB a second."""
CONFIG = muxpy.SessionConfig(heartbeat_interval=1.0, heartbeat_tolerance=5.0, linger_timeout=1.0, drain_timeout=10.0)


class Once(Worker):
    """Notes what it carries out."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.done: dict[str, int] = {}
        self._rng = Random(f"server {seed}")

    async def wait(self, name: str) -> None:
        self.done[name] = self.done.get(name, 0) + 1
        await trio.sleep(self._rng.uniform(0, 1))


class Round:
    """Two sessions and their callers."""

    def __init__(self, seed: int, fault: Fault | None) -> None:
        self.seed = seed
        plan = plan_link(seed, longest_delay=0.2, tls=False, http2=False, fault=fault)
        self.damages = plan.fault == "corrupt"
        self.good = plan.fault == "none"
        self.link = MemoryLink(plan, Random(f"round {seed}").choice([5000, 65536, 1 << 20]))
        self.workers = {side: Once(seed) for side in ("client", "server")}
        self.violations: list[str] = []
        self.answers = 0

    async def run(self) -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        client, server = await self.link.ends()
        try:
            with trio.fail_after(LIMIT):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.link.run)
                    async with trio.open_nursery() as sides:
                        sides.start_soon(self._side, client, "client")
                        sides.start_soon(self._side, server, "server")
                    nursery.cancel_scope.cancel()
        except trio.TooSlowError:
            self.violations.append("hangs")
        if trio.lowlevel.current_statistics().tasks_living != tasks:
            self.violations.append("tasks are left")
        if any(worker.running for worker in self.workers.values()):
            self.violations.append("handlers are left")
        if not self.damages and any(count > 1 for worker in self.workers.values() for count in worker.done.values()):
            self.violations.append("a call was carried out twice")
        if self.good and self.answers != 2 * CALLERS * CALLS:
            self.violations.append(f"the link is good, and {self.answers} calls were answered")

    async def _side(self, end: trio.abc.HalfCloseableStream, name: str) -> None:
        opened = muxpy.open_session(end, client=name == "client", config=CONFIG)
        async with opened as session, trio.open_nursery() as nursery:
            nursery.start_soon(self._serve, session, name)
            async with trio.open_nursery() as callers:
                for number in range(CALLERS):
                    callers.start_soon(self._call, session, name, number)
            await trio.sleep(60)  # for answers to calls that were given up, and for the other side
            if endpoint_of(session).waiting and not self.damages:
                self.violations.append(f"{name}: {endpoint_of(session).waiting} calls are left")
            session.go_away()

    async def _serve(self, session: muxpy.Session, name: str) -> None:
        with suppress(muxpy.SessionClosed):
            await rpc.serve(session, [self.workers[name]])

    async def _call(self, session: muxpy.Session, side: str, number: int) -> None:
        rng = Random(f"{self.seed} {side} {number}")
        bench = rpc.client(session, Bench, priority=rng.choice([0, 0, 0, 1]))
        for call in range(CALLS):
            name = f"{side} {number} {call}"
            await trio.sleep(rng.uniform(0, 0.5))
            play = rng.choice(PLAYS)
            try:
                with trio.move_on_after(LIMIT / 10) as patience:
                    right = await play(bench, name, rng)
                    self.answers += 1
                    if not right and not self.damages:
                        self.violations.append(f"{name}: {play.__name__} has a wrong answer")
                if patience.cancelled_caught and not self.damages:
                    self.violations.append(f"{name}: {play.__name__} has no end")
            except rpc.Error as error:
                self._judge(side, name, error)

    def _judge(self, side: str, name: str, error: rpc.Error) -> None:
        if self.damages:
            return
        if not isinstance(error, rpc.Unavailable):
            self.violations.append(f"{name}: {error!r}")
        other = self.workers["server" if side == "client" else "client"]
        if error.retryable and name in other.done:
            self.violations.append(f"{name}: it was carried out, and is said to be retryable")


async def wait(bench: Bench, name: str, rng: Random) -> bool:
    await bench.wait(name)
    return True


async def echo(bench: Bench, name: str, rng: Random) -> bool:
    data = named(name, rng.choice([0, 10, 4000, 4096, 20_000, 200_000]))
    return await bench.echo(data) == data


async def count(bench: Bench, name: str, rng: Random) -> bool:
    to = rng.choice([0, 1, 50])
    return [value async for value in bench.count(to)] == list(range(to))


async def give_up(bench: Bench, name: str, rng: Random) -> bool:
    with trio.move_on_after(rng.uniform(0, 0.5)):
        await bench.wait(name)
    return True


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def double(bench: Bench, name: str, rng: Random) -> bool:
    many = rng.choice([0, 1, 50])
    values: Any = bench.double(numbers(many))
    async with aclosing(values):
        return [value async for value in values] == list(range(0, 2 * many, 2))


async def total(bench: Bench, name: str, rng: Random) -> bool:
    return await bench.total(numbers(50)) == 1225


PLAYS: list[Callable[[Bench, str, Random], Awaitable[bool]]]
PLAYS = [wait, echo, count, give_up, double, total]


def play(seed: int, fault: Fault | None = None) -> list[str]:
    """One round; what broke the rules. The seed decides everything, the scheduler's order included."""
    made = Round(seed, fault)
    with deterministic(seed):
        trio.run(made.run, clock=trio.testing.MockClock(autojump_threshold=0))
    return made.violations


def main() -> int:
    """1 if a rule was broken."""
    seed = random.randrange(1 << 31)
    print(f"seeds from {seed} on")
    failed = 0
    for number in range(seed, seed + int(sys.argv[1])):
        for fault in FAULTS:
            for violation in play(number, fault):
                failed = 1
                print(f"seed {number}, {fault}: {violation}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
