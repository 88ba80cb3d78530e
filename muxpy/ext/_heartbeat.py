"""The heartbeat (keepalive), compatible with the Go peer: it finds a dead or half-open connection and measures the
round trip. docs/protocol.md, "The heartbeat", describes it.

Each side opens one stream of this type, writes a 4-byte number every interval and expects the same bytes back;
each side also answers on the stream that the peer opened. The Go peer has a heartbeat on every session, and closes the
session if its stream is refused, so a session answers by default.

Any received byte is a sign of life: a peer whose answer waits behind a slow link is not dead while its data
arrives. A peer that resets our heartbeat stream has no heartbeat; then the session goes on without one, and the peer's
silence means nothing.
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from muxpy._codes import ErrorCode
from muxpy._errors import SessionClosed, StreamReset
from muxpy.frame.muxado import MIN_EXTENSION_TYPE
from muxpy.session import sleep_fairly

if TYPE_CHECKING:
    from muxpy.session import Accept, Session, Stream

__all__ = ["Heartbeat", "HeartbeatLost"]

log = logging.getLogger("muxpy.heartbeat")

PRIORITY: Final = 0x7FFFFFFF
BEAT_SIZE: Final = 4
MAX_ANSWERED: Final = 4
"""Heartbeat streams of the peer that are answered at the same time. It needs one; more would only be work for us."""


class HeartbeatLost(trio.BrokenResourceError):
    """Nothing at all was received from the peer for too long."""


class Heartbeat:
    """The extension of stream type 0xFFFFFEFF; each session needs an object of its own.

    Its times are the session's `config.heartbeat_interval` and `config.heartbeat_tolerance`, in seconds; without an
    interval it only answers the peer.
    """

    stream_type: Final = MIN_EXTENSION_TYPE

    def __init__(self) -> None:
        self._answering = 0
        self._beating = False

    @property
    def beating(self) -> bool:
        """Whether heartbeats are sent and answered."""
        return self._beating

    async def run(self, session: Session, accept: Accept) -> None:
        """Beat, watch and answer until the session ends."""
        async with trio.open_nursery() as nursery:
            if session.config.heartbeat_interval is not None:
                nursery.start_soon(self._keep_watch, session, session.config.heartbeat_interval)
            try:
                while True:
                    stream = await accept()
                    if self._answering < MAX_ANSWERED:
                        self._answering += 1
                        nursery.start_soon(self._answer, stream)
                    else:
                        stream.reset(ErrorCode.REFUSED_STREAM)
            except SessionClosed:
                # Not raised: a nursery that cancels its tasks for an error leaves a reference cycle of tracebacks and
                # frames, which would be most of what is left of an ended session.
                nursery.cancel_scope.cancel()

    async def _answer(self, stream: Stream) -> None:
        try:
            async with stream:
                while data := await stream.receive_some():
                    await stream.send_all(data)
        except trio.BrokenResourceError:
            pass
        finally:
            self._answering -= 1

    async def _keep_watch(self, session: Session, interval: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, session, interval + session.config.heartbeat_tolerance)
            await self._beat(session, interval)
            nursery.cancel_scope.cancel()  # the peer has no heartbeat, so its silence means nothing

    async def _watch(self, session: Session, limit: float) -> None:
        forgiven = -inf  # when this process was last found to have been suspended
        while (silence := min(session.silence(), trio.current_time() - forgiven)) < limit:
            if not await sleep_fairly(limit - silence):
                forgiven = trio.current_time()
        session.kill(HeartbeatLost(f"the peer is dead: nothing was received for {limit:g} s"))

    async def _beat(self, session: Session, interval: float) -> None:
        """Send beats until the stream ends; return if the peer does not answer them, or takes no more streams."""
        try:
            stream = await session.open_stream(PRIORITY, self.stream_type)
            number = 0
            while True:
                self._beating = await self._exchange(session, stream, number.to_bytes(BEAT_SIZE, "big"))
                if not self._beating:
                    stream.reset()
                    break
                number = (number + 1) % 2**32
                await trio.sleep(interval)
        except SessionClosed:  # or the peer takes no more streams
            return
        except StreamReset as reset:
            if reset.retryable:  # the peer is going away
                return
        finally:
            self._beating = False
        log.info("%r: the peer has no heartbeat; going on without", session)

    async def _exchange(self, session: Session, stream: Stream, beat: bytes) -> bool:
        """Send one beat and wait for its answer; False if something else came back."""
        sent = trio.current_time()
        await stream.send_all(beat)
        answer = b""
        while len(answer) < BEAT_SIZE:
            data = await stream.receive_some(BEAT_SIZE - len(answer))
            if not data:
                return False
            answer += data
        session.report_rtt(trio.current_time() - sent)
        return answer == beat
