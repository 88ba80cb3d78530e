"""Rounds: two sessions over a bad link, 200 streams of checked data at once, and the rules that always hold.

**The rule.** Every stream ends with its exact bytes or with an error: never silently short, never with wrong bytes. And
nothing hangs: when the link has ended, every task has finished, both sessions have an end that says why in words, and
no stream and no descriptor is left. On a link that only delays and splits, everything but what a side itself breaks
off must arrive.

**Corruption.** muxado has no checksum. On a plain link damaged payload cannot be noticed, and a damaged header may be
another frame that is right: lengths, ends and bytes may lie there, and they may do so only in rounds in which the
link itself did damage. What holds even then: no hang, no crash, no exception that is not documented
(trio.BrokenResourceError and what is below it), bounded memory. Over TLS damage is always noticed: the rule holds as it
stands, whatever is flipped, deleted, inserted or cut. A link that is cut on a frame boundary without GOAWAY is an
error for all streams that had not ended, with TLS and without.

A link that damages is ended when nothing has come through for a while: a lost window update or a stretched length
can leave both sides waiting for what never comes, and no protocol without a checksum can know. So is a link that loses
the bytes of a TLS handshake: how long that may take is up to the caller.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import trio
import trio.testing
from trio._core import _run as run

import muxpy
from tests.helpers.inside import assert_read
from tests.helpers.pairs import client_context, server_context
from tests.helpers.tasks import LIMIT
from tests.helpers.tunnels import http_config

from .http2 import open_http_session
from .memory import MemoryLink
from .plan import Fault, LinkPlan, Mangler, plan_link
from .proxy import Proxy
from .script import WHOLE, script_of
from .side import Side
from .tally import LogWatch, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KINDS", "STREAMS", "Kind", "Result", "deterministic", "play_round"]


class Kind(NamedTuple):
    """What is between two sessions, and what they speak: muxado or HTTP/2."""

    link: Literal["memory", "tcp", "tls"]
    http2: bool = False

    @property
    def in_memory(self) -> bool:
        return self.link == "memory"

    @property
    def tls(self) -> bool:
        return self.link == "tls"


KINDS: Final = {
    "memory": Kind("memory"),
    "plain": Kind("tcp"),
    "tls": Kind("tls"),
    "http2": Kind("memory", http2=True),
    "http2-plain": Kind("tcp", http2=True),
    "http2-tls": Kind("tls", http2=True),
}
STREAMS: Final = 200


class Link(Protocol):
    """What carries the bytes between the two sessions."""

    manglers: list[Mangler]

    async def ends(self) -> tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]:
        """The client's and the server's."""

    async def run(self) -> None:
        """Carry until the end."""

    def cut(self, hard: bool) -> None:
        """End it now."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: in memory on a mock clock, over TCP real ones."""

    delay: float  # the most that a piece is held
    pause: float  # of an application that dawdles
    patience: float  # after so long without any progress, a link that does damage is ended
    limit: float  # a round that takes longer hangs


MOCK: Final = Times(delay=0.2, pause=0.1, patience=20.0, limit=600.0)
REAL: Final = Times(delay=0.004, pause=0.002, patience=2.5, limit=LIMIT)
IMPATIENT: Final = ("lose", "corrupt")
"""Faults with which, in real time, heartbeats are quick: else it takes 13 s to find that the other side is lost."""


@dataclass(frozen=True, slots=True)
class Result:
    """A round that is over. `violations` is empty if every rule was kept."""

    kind: str
    seed: int
    fault: Fault
    tally: Tally
    damaged: int  # times that the link did damage
    seconds: float

    @property
    def violations(self) -> list[str]:
        return self.tally.violations


def play_round(name: str, seed: int, *, streams: int = STREAMS, fault: Fault | None = None) -> Result:
    """One round, of a kind of KINDS, in a Trio run of its own. In memory, the seed decides everything, the scheduler's
    order included."""
    kind = KINDS[name]
    times = MOCK if kind.in_memory else REAL
    plan = plan_link(seed, longest_delay=times.delay, tls=kind.tls, http2=kind.http2, fault=fault)
    play = Round(kind, seed, plan, times, streams)
    started = time.perf_counter()
    before = len(os.listdir("/proc/self/fd"))
    with LogWatch(play.tally):
        if kind.in_memory:
            with deterministic(seed):
                trio.run(play.run, clock=trio.testing.MockClock(autojump_threshold=0))
        else:
            trio.run(play.run)
    left = len(os.listdir("/proc/self/fd")) - before
    if left > 0:  # fewer there may be: what an earlier test left to the garbage collector
        play.tally.violations.append(f"{left} descriptors are left")
    return Result(name, seed, plan.fault, play.tally, play.damaged, time.perf_counter() - started)


class Round:
    """The two sessions of one round, what is between them, and who watches."""

    def __init__(self, kind: Kind, seed: int, plan: LinkPlan, times: Times, streams: int) -> None:
        rng = Random(f"round {seed}")
        self.tally = Tally()
        self._kind = kind
        self._seed = seed
        self._plan = plan
        self._times = times
        self._link: Link = MemoryLink(plan, rng.choice([5000, 65536, 1 << 20])) if kind.in_memory else Proxy(plan)
        self._impatient = impatient = not kind.in_memory and plan.fault in IMPATIENT
        self._config = muxpy.SessionConfig(
            linger_timeout=times.patience / 5,
            drain_timeout=times.limit / 3,
            receive_budget=rng.choice([0, 1 << 20, 64 << 20]),
            # A dead link must be found in the time of a test; a good one is given the usual time.
            heartbeat_interval=0.2 if impatient else 3.0,
            heartbeat_tolerance=1.5 if impatient else 10.0,
        )
        half = streams if kind.http2 else streams // 2  # only the client opens streams
        self._most = rng.choice([20, 250])  # streams of HTTP/2
        self._client = Side("client", seed, range(half), self.tally, times.pause)
        self._server = Side("server", seed, range(half, streams), self.tally, times.pause)
        self._sessions: dict[str, muxpy.Session] = {}
        self._streams = streams
        self._half = half

    @property
    def damaged(self) -> int:
        return sum(mangler.damaged for mangler in self._link.manglers)

    async def run(self) -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        try:
            with trio.fail_after(self._times.limit):
                await self._play()
            assert_read(*self._sessions.values())
        except trio.TooSlowError:
            self.tally.violations.append(
                f"hangs; ends {self.tally.ends}; {len(self.tally.hung)} plays go on: {self.tally.hung[:5]}"
            )
        except Exception as error:
            self.tally.violations.append("".join(traceback.format_exception(error)))
        if trio.lowlevel.current_statistics().tasks_living != tasks:
            self.tally.violations.append("tasks are left")
        self._judge()

    async def _play(self) -> None:
        client, server = await self._link.ends()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._link.run)
            async with trio.open_nursery() as watched:
                watch = await watched.start(self._watch)
                async with trio.open_nursery() as sides:
                    sides.start_soon(self._run_side, self._client, client, self._server)
                    sides.start_soon(self._run_side, self._server, server, self._client)
                watch.cancel()

    async def _run_side(self, side: Side, end: trio.abc.HalfCloseableStream, other: Side) -> None:
        try:
            async with self._session(end, client=side is self._client) as session:
                self._sessions[side.name] = session
                await side.run(session, other)
        except OSError as error:  # TLS could not be agreed on
            self.tally.no_session(side.name, error)
        except trio.BrokenResourceError as error:
            if side.name in self._sessions:
                raise
            self.tally.no_session(side.name, error)
        finally:
            side.done.set()

    def _session(
        self, end: trio.abc.HalfCloseableStream, *, client: bool
    ) -> AbstractAsyncContextManager[muxpy.Session]:
        context = None
        if self._kind.tls:
            context = client_context() if client else server_context()
        if self._kind.http2:
            # A narrow link that 200 streams share, and a busy machine, may need longer than the usual times.
            patient = dict.fromkeys(("send_timeout", "settings_timeout"), self._times.limit)
            config = http_config(self._config, max_streams=self._most, **patient)
            return open_http_session(end, self._seed, client=client, config=config, ssl_context=context)
        return muxpy.open_session(
            end, client=client, ssl_context=context, server_hostname="127.0.0.1", config=self._config
        )

    async def _watch(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Look at the memory; end a link that does damage when nothing comes through any more."""
        moves, since = -1, trio.current_time()
        with trio.CancelScope() as scope:
            task_status.started(scope)
            while True:
                await trio.sleep(self._times.patience / 10)
                self._check_memory()
                if self.tally.moves != moves:
                    moves, since = self.tally.moves, trio.current_time()
                elif self._may_be_stuck and trio.current_time() - since > self._times.patience:
                    self._link.cut(hard=bool(self._seed % 2))
                    return

    @property
    def _may_be_stuck(self) -> bool:
        """After damage; and in a TLS handshake, whose time is the caller's affair."""
        return self._plan.fault == "corrupt" or (self._kind.tls and len(self._sessions) < 2)

    def _check_memory(self) -> None:
        for name, session in self._sessions.items():
            live = session._engine.core.streams
            unread = sum(state.incoming.buffered for state in live.values())
            if unread > 65536 * len(live) + self._config.receive_budget:
                self.tally.violations.append(f"{name}: {unread} bytes are unread on {len(live)} streams")
            if len(live) > self._config.max_streams + self._streams + 16:
                self.tally.violations.append(f"{name}: {len(live)} streams")
            if session._engine.core.sending.outbox.control_frames > self._config.max_control_frames + self._streams:
                self.tally.violations.append(
                    f"{name}: {session._engine.core.sending.outbox.control_frames} control frames wait"
                )

    # ---- when it is over ----

    def _judge(self) -> None:
        tally = self.tally
        if self._kind.tls or not self.damaged:
            tally.violations += tally.lies
        for name in ("client", "server"):
            if name not in tally.ends:
                tally.violations.append(f"{name}: no end")
            elif name in self._sessions and (left := self._streams_left(self._sessions[name])):
                tally.violations.append(f"{name}: streams are left: {left}")
        if not self._touched:
            tally.violations += [
                f"{name}: the link is good, and the session ended with: {tally.ends[name]}" for name in tally.broken
            ]
        if len(tally.ends) == 2 and (self._kind.tls or not self.damaged):
            self._judge_whole_plays()

    @staticmethod
    def _streams_left(session: muxpy.Session) -> list[int]:
        """Streams of which the session believes that somebody still wants them. Those that were closed here and not by
        a peer that is gone are of no matter."""
        return [state.id for state in session._engine.unfinished()]

    @property
    def _touched(self) -> bool:
        """Whether the link has done more than delaying and splitting, or is watched too closely to be sure."""
        return self._impatient or any(mangler.over or mangler.damaged for mangler in self._link.manglers)

    def _judge_whole_plays(self) -> None:
        """A session that says it ended in order has brought every byte that was meant to arrive there."""
        for number in range(self._streams):
            play = script_of(self._seed, number).play
            if play in WHOLE:
                readers = ("client", "server") if play in ("exchange", "ask") else (self._opener(number),)
                self.tally.violations += [
                    f"{name} {number} {play}: the session ended in order, and it did not get all"
                    for name in readers
                    if self._expects(name, number) and (name, number) not in self.tally.clean
                ]

    def _expects(self, name: str, number: int) -> bool:
        """Whether a side must have read all of a stream: if it has heard of it, and of no error that could have stopped
        it. On a good link there is none.

        A side that finds the link cut resets what it has open; the other may hear of that and still end in order. And a
        client of HTTP/2 may leave without a word when it has no stream open. So if the link ends then, the server does
        not hear of the streams that were still to come.
        """
        if not self._touched:
            return True
        taken = name == "client" or not self._kind.http2 or number in self._server.taken
        return taken and not {name, (name, number)} & (self.tally.broken | self.tally.failed)

    def _opener(self, number: int) -> str:
        """Who opened a stream; of an `echo` or a `push` it alone checks what it reads."""
        return "client" if number < self._half else "server"


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Trio shuffles the tasks that are ready; here it does so by the seed."""
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    vars(run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    run._r.seed(seed)
    try:
        yield
    finally:
        vars(run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = before[0]
        run._r.setstate(before[1])
