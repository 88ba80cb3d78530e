"""One process of the soak: `python -m tests.soak.end server|client SETTINGS`. It takes commands as lines, and says in
lines of JSON what it sees.

load   put all sessions under load          stop   stop that, and say when the last stream is done
rest   wait until all is as at the first rest, and say what is held
prime  use everything once                  fill   as many streams at once as a session takes
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import sys
from dataclasses import asdict
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio

import muxpy
from muxpy.transport import ending_turns

from .carry import Tally
from .measure import EXACT, at_rest, sample
from .peer import Mishap, Peer
from .plan import Kind, Piece, Plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["CONFIG", "Process", "main"]

CONFIG: Final = muxpy.SessionConfig(drain_timeout=1.0)
"""The defaults, but for sessions that are closed in the middle of their work: it would only wait for more of that."""

INTERVAL: Final = 1.0
"""Seconds between two samples."""

SETTLING: Final = 15.0
"""Seconds that it may take until nothing is left of the load. Closing a session has a second or two of its own."""


RETRIES: Final = 4
"""How often objects are counted before they count as left over."""


class Process:
    """What both ends have: sessions, their load, and the answers to commands."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.rng = Random(settings["seed"])
        self.tally = Tally()
        self.peers: list[Peer] = []
        self.stop = trio.Event()
        self.stop.set()
        self.started = trio.Event()
        self._active = 0
        self._idle = trio.lowlevel.ParkingLot()
        self._first: dict[str, Any] | None = None

    async def run(self) -> None:
        """Until stdin ends: also when whoever started this process was killed."""
        await ending_turns().turn()  # it and its task are the run's, and begin when the first sessions end together
        async with trio.open_nursery() as nursery:
            await self.begin(nursery)
            nursery.start_soon(self._sample)
            async for command in _lines():
                nursery.start_soon(getattr(self, f"_{command}"))  # a task, so that the end of stdin ends it too
            nursery.cancel_scope.cancel()

    async def begin(self, nursery: trio.Nursery) -> None:
        """Start what lasts the whole run."""
        raise NotImplementedError

    async def attend(self, peer: Peer) -> None:
        """Serve a session's streams, and put it under load in each round, until it ends."""
        self.tally.sessions += 1
        self.peers.append(peer)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._rounds, peer)
                await peer.serve()
                nursery.cancel_scope.cancel()
        finally:
            self.peers.remove(peer)

    async def _rounds(self, peer: Peer) -> None:
        while True:
            if self.stop.is_set():
                await self.started.wait()
            with self.working():
                await peer.load(self.stop, self.settings["tasks"])
            await self.stop.wait()

    def working(self) -> _Working:
        """What `stop` waits for."""
        return _Working(self)

    def work_began(self) -> None:
        self._active += 1

    def work_ended(self) -> None:
        self._active -= 1
        if not self._active:
            self._idle.unpark_all()

    # ---- commands ----

    async def _load(self) -> None:
        self.stop = trio.Event()
        self.started.set()
        self.started = trio.Event()
        say("loading")

    async def _stop(self) -> None:
        self.stop.set()
        while self._active:
            await self._idle.park()
        say("stopped")

    async def _rest(self) -> None:
        with trio.move_on_after(SETTLING):
            await self._settled()
        for _ in range(RETRIES):
            figures = at_rest(self._sessions(), self.tally)
            if self._first is None or figures["living"] == self._first["living"]:
                break
            await trio.sleep(INTERVAL / 2)  # a heartbeat may have been under way
        self._first = self._first or figures
        say("rest", **figures, **self._told())

    async def _settled(self) -> None:
        """All is as it was at the first rest; at the first, nothing changes any more for a second."""
        before: list[dict[str, Any]] = []
        while True:
            figures = sample(self._sessions(), self.tally)
            now = {name: figures[name] for name in EXACT}
            if self._first is not None and all(self._first[name] == now[name] for name in EXACT):
                return
            before = [*before, now] if before and before[-1] == now else [now]
            if self._first is None and len(before) > 10:
                return
            await trio.sleep(0.1)

    async def _prime(self) -> None:
        nothing = Piece(0, 1)
        for peer in self.peers:
            for kind in Kind:
                await peer.one(Plan(nothing, nothing, seed=1, kind=kind))
        say("primed")

    async def _fill(self) -> None:
        for peer in self.peers:
            try:
                await fill(peer.session)
            except Exception as error:
                self.tally.fail(f"not all streams could be opened that a session takes: {error!r}")
        say("filled")

    async def _sample(self) -> None:
        while True:
            await trio.sleep(INTERVAL)
            say("sample", **sample(self._sessions(), self.tally), **self._told())

    def _sessions(self) -> list[muxpy.Session]:
        return [peer.session for peer in self.peers]

    def _told(self) -> dict[str, Any]:
        told = asdict(self.tally)
        told["all_sessions"] = told.pop("sessions")
        return told


class _Working:
    def __init__(self, process: Process) -> None:
        self._process = process

    def __enter__(self) -> None:
        self._process.work_began()

    def __exit__(self, *_: object) -> None:
        self._process.work_ended()


async def fill(session: muxpy.Session) -> None:
    """Have as many streams open at once as the peer admits: no place may have been lost."""
    plan = Plan(Piece(0, 0), Piece(0, 1), seed=1, in_turn=True).encode()
    streams = []
    for _ in range(session.config.max_streams):
        stream = await session.open_stream()
        await stream.send_all(plan)
        streams.append(stream)
    for stream in streams:
        async with stream:
            await stream.send_eof()
            while await stream.receive_some():
                pass


class Server(Process):
    """Accepts sessions over plain TCP and TLS."""

    async def begin(self, nursery: trio.Nursery) -> None:
        ports = []
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.settings["certificate"])
        for each in (None, context):
            (listener,) = await nursery.start(self._listen, each)
            ports.append(listener.socket.getsockname()[1])
        say("ready", ports=ports)

    async def _listen(
        self, context: ssl.SSLContext | None, task_status: trio.TaskStatus[list[trio.SocketListener]]
    ) -> None:
        await muxpy.serve_tcp_sessions(
            self._serve, 0, host="127.0.0.1", ssl_context=context, config=CONFIG, task_status=task_status
        )

    async def _serve(self, session: muxpy.Session) -> None:
        await self.attend(Peer(session, self.tally, Random(self.rng.random())))


class Watch(logging.Handler):
    """What the library logs as an error is one, but for the handlers that fail as planned."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, Mishap):
            self._tally.fail(f"logged: {record.getMessage()}: {error!r}")


def say(what: str, **figures: object) -> None:
    """One line for whoever started this process."""
    print(json.dumps({"what": what, **figures}), flush=True)


async def _lines() -> AsyncIterator[str]:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        rest = b""
        async for data in stdin:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode()


def main(role: str, settings: dict[str, Any]) -> None:
    from .client import Client

    process = Server(settings) if role == "server" else Client(settings)
    log = logging.getLogger("muxpy")
    log.propagate = False
    log.addHandler(Watch(process.tally))
    trio.run(process.run)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
