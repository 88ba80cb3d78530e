"""The end of the soak that opens sessions: some last the whole run, others come and go in every way there is."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import asynccontextmanager
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from .end import CONFIG, Process
from .peer import Mishap, Peer, ask_for_end, leaves
from .plan import Act

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Client"]

PATIENCE: Final = 60.0
"""Seconds that a session may take to its end."""

LIFE: Final = (0.2, 5.0)
"""Seconds that a session lasts, from and to."""


class Ending(StrEnum):
    """How a session ends."""

    QUIET = "quiet"  # its streams end first
    CLOSED = "closed"  # in the middle of its work
    KILLED = "killed"
    CANCELLED = "cancelled"
    RAISED = "raised"
    CUT = "cut"  # the connection is gone at once
    CLOSED_THERE = "closed there"
    KILLED_THERE = "killed there"


class Client(Process):
    """Opens sessions to the server."""

    async def begin(self, nursery: trio.Nursery) -> None:
        self._context = ssl.create_default_context(cafile=self.settings["authority"])
        for secure in (False, True):
            await nursery.start(self._last, secure)
            for _ in range(self.settings["slots"]):
                nursery.start_soon(self._slot, secure)

    async def _last(self, secure: bool, task_status: trio.TaskStatus[None]) -> None:
        async with muxpy.open_tcp_session(
            "127.0.0.1", self._port(secure), ssl_context=self._context if secure else None, config=CONFIG
        ) as session:
            task_status.started()
            await self.attend(Peer(session, self.tally, Random(self.rng.random()), lasting=True))

    def _port(self, secure: bool) -> int:
        port: int = self.settings["ports"][secure]
        return port

    # ---- sessions that come and go ----

    async def _slot(self, secure: bool) -> None:
        """One session after the other, in each round."""
        while True:
            if self.stop.is_set():
                await self.started.wait()
            with self.working():
                while not self.stop.is_set():
                    await self._session(secure, Random(self.rng.random()))

    async def _session(self, secure: bool, rng: Random) -> None:
        """From connecting to whatever its end is."""
        self.tally.sessions += 1
        ending = rng.choice(list(Ending))
        try:
            with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
                async with self._connected(secure) as (session, stream):
                    peer = Peer(session, self.tally, rng)
                    self.peers.append(peer)
                    try:
                        await self._use(peer, ending, stream, scope)
                    finally:
                        self.peers.remove(peer)
        except Exception as error:
            for leaf in leaves(error):
                if not isinstance(leaf, Mishap | muxpy.SessionClosed):
                    self.tally.fail(f"a session that was to be {ending}: {leaf!r}")

    @asynccontextmanager
    async def _connected(self, secure: bool) -> AsyncIterator[tuple[muxpy.Session, trio.SocketStream]]:
        stream = await trio.open_tcp_stream("127.0.0.1", self._port(secure))
        context = self._context if secure else None
        async with muxpy.open_session(
            stream, client=True, ssl_context=context, server_hostname="127.0.0.1" if secure else None, config=CONFIG
        ) as session:
            yield session, stream

    async def _use(self, peer: Peer, ending: Ending, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        quiet = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve)
            nursery.start_soon(peer.load, quiet, self.settings["tasks"])
            with trio.move_on_after(peer.rng.uniform(*LIFE)):
                await self.stop.wait()
            await self._end(peer, ending, stream, scope, quiet)

    async def _end(
        self, peer: Peer, ending: Ending, stream: trio.SocketStream, scope: trio.CancelScope, quiet: trio.Event
    ) -> None:
        match ending:
            case Ending.QUIET | Ending.CLOSED:
                quiet.set()
                if ending is Ending.QUIET:
                    await trio.sleep(peer.rng.uniform(0, 1))
                await peer.session.aclose()
            case Ending.KILLED:
                peer.session.kill()
            case Ending.CANCELLED:
                scope.cancel()
            case Ending.RAISED:
                raise Mishap(ending)
            case Ending.CUT:
                # Whatever has not been read at the other end is lost, as when a machine goes down.
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.socket.shutdown(socket.SHUT_RDWR)
            case Ending.CLOSED_THERE | Ending.KILLED_THERE:
                await peer.one(ask_for_end(peer.rng, Act.END if ending is Ending.CLOSED_THERE else Act.KILL))
                await peer.session.wait()
