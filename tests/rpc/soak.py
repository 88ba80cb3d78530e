"""Calls over TCP for a long time, in rounds, while sessions are killed and go away: `python -m tests.rpc.soak 600`.

After each round, everything is as it was after the first: tasks, descriptors, and objects of muxpy. And each call has
ended with its right answer, or with an error that says whether it may have been carried out.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import trio

import muxpy
from muxpy import rpc

from .chaos import PLAYS, Once
from .services import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Soak"]

CALLERS = 20
PATIENCE = 60.0
"""Seconds that a call may take, and the server to be rid of a round's sessions."""


class Soak:
    """A server, and rounds of clients of it."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._sessions: set[muxpy.Session] = set()
        self._worker = Once(seed)
        self.calls: Counter[str] = Counter()
        self.violations: list[str] = []

    async def run(self, rounds: int, seconds: float) -> None:
        """So many rounds, of so many seconds each."""
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(muxpy.serve_tcp_sessions, self._serve, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            first = None
            for number in range(rounds + 1):
                await self._round(port, seconds, number)
                left = await self._left()
                if number and first is None:  # what is made once is there after the first two
                    first = left
                elif first is not None and left != first:
                    self.violations.append(f"round {number}: {(left - first) or (first - left)}")
            nursery.cancel_scope.cancel()
        if max(self._worker.done.values(), default=0) > 1:
            self.violations.append("a call was carried out twice")

    async def _serve(self, session: muxpy.Session) -> None:
        self._sessions.add(session)
        try:
            await rpc.serve(session, [self._worker])
        finally:
            self._sessions.discard(session)

    async def _round(self, port: int, seconds: float, number: int) -> None:
        stop = trio.Event()
        connect = partial(muxpy.open_tcp_session, "127.0.0.1", port)
        async with rpc.pool(connect, size=3) as pool, trio.open_nursery() as nursery:
            nursery.start_soon(self._disturb)
            async with trio.open_nursery() as callers:
                for caller in range(CALLERS):
                    callers.start_soon(self._call, pool, stop, f"{number} {caller}")
                await trio.sleep(seconds)
                stop.set()
            nursery.cancel_scope.cancel()

    async def _call(self, pool: rpc.Pool, stop: trio.Event, name: str) -> None:
        clients = [rpc.client(pool, Bench, priority=priority) for priority in (0, 0, 0, 1)]
        number = 0
        while not stop.is_set():
            number += 1
            play = self._rng.choice(PLAYS)
            try:
                with trio.fail_after(PATIENCE):
                    if not await play(self._rng.choice(clients), f"{name} {number}", self._rng):
                        self.violations.append(f"{play.__name__} has a wrong answer")
                self.calls["answered"] += 1
            except rpc.Unavailable as error:
                self.calls["cut off"] += 1
                if error.retryable and play.__name__ not in ("count", "double", "total"):
                    self.violations.append(f"{play.__name__} was not made again")
            except trio.TooSlowError:
                self.violations.append(f"{play.__name__} has no end")

    async def _disturb(self) -> None:
        end: list[Callable[[muxpy.Session], object]] = [muxpy.Session.kill, muxpy.Session.go_away]
        while True:
            await trio.sleep(self._rng.uniform(0, 0.3))
            if self._sessions:
                self._rng.choice(end)(self._rng.choice(list(self._sessions)))

    async def _left(self) -> Counter[str]:
        """What there is when all clients have gone."""
        with trio.move_on_after(PATIENCE):
            while self._sessions:  # noqa: ASYNC110 - nothing else tells of it
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        gc.collect()
        kinds = (type(each) for each in gc.get_objects())
        left = Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("muxpy"))
        left["tasks"] = trio.lowlevel.current_statistics().tasks_living
        left["descriptors"] = len(os.listdir("/proc/self/fd"))
        return left


def main() -> int:
    """1 if a rule was broken."""
    seconds = float(sys.argv[1])
    rounds = max(3, int(seconds / 5))
    soak = Soak(int(time.time()))
    trio.run(soak.run, rounds, seconds / rounds)
    print(f"{rounds} rounds, calls: {dict(soak.calls)}")
    for violation in soak.violations:
        print(violation)
    return bool(soak.violations)


if __name__ == "__main__":
    sys.exit(main())
