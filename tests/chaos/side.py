"""One side of a round: it opens its streams, takes the other's, and checks every byte that it reads."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import trio

from .http2 import end_of, wrong_trailers
from .script import Script, content, script_of
from .tally import DOCUMENTED, Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import muxpy

__all__ = ["Side"]

PIECES: Final = (100, 4096, 4097, 70_000, 1_000_000)
READS: Final = (None, None, 1000, 65536)


class Lie(Exception):
    """What was read is not what was sent. Raised in here only; the tally has the words."""


class Side:
    """Plays its part on every stream. `numbers` are the streams that it opens; `pause`: seconds of a short wait."""

    def __init__(self, name: str, seed: int, numbers: range, tally: Tally, pause: float) -> None:
        self.name = name
        self.done = trio.Event()  # all plays of the streams that it opened have ended
        self._seed = seed
        self._numbers = numbers
        self._tally = tally
        self._pause = pause
        rng = Random(f"{seed} {name}")
        self._serves = rng.random() < 0.5
        self._leaves_early = rng.random() < 0.5
        self.taken: set[int] = set()  # streams of the other side
        self._all_taken = trio.Event()  # each stream of the other side has been accepted

    async def run(self, session: muxpy.Session, other: Side) -> None:
        """Play until both sides have finished, then end the session."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, session)
            async with trio.open_nursery() as plays:
                for number in self._numbers:
                    plays.start_soon(self._open, session, number)
            self.done.set()
            if session.client:  # it leaves; the other hears of it
                await self._time_to_leave(other)
                await session.aclose()
            self._tally.session_end(self.name, await session.wait())

    async def _time_to_leave(self, other: Side) -> None:
        """When the other side has finished too, or when it has nothing more to open: then its streams are drained."""
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, other.done)
            if self._leaves_early:
                nursery.start_soon(wait, self._all_taken)

    # ---- streams ----

    async def _open(self, session: muxpy.Session, number: int) -> None:
        script = script_of(self._seed, number)
        try:
            stream = await session.open_stream(script.priority, number, fin=script.play == "push")
        except DOCUMENTED as error:
            self._tally.error(error, self.name, number)
        else:
            self._tally.opened += 1
            await self._play(stream, script, opener=True)

    async def _accept(self, session: muxpy.Session) -> None:
        try:
            if self._serves:
                await session.serve_streams(self._answer)
            else:
                async with trio.open_nursery() as nursery:
                    async for stream in session:
                        nursery.start_soon(self._answer, stream)
        except* DOCUMENTED:
            pass

    async def _answer(self, stream: muxpy.Stream) -> None:
        self.taken.add(stream.stream_type)
        if len(self.taken) == len(self._numbers):  # the other side opens as many
            self._all_taken.set()
        await self._play(stream, script_of(self._seed, stream.stream_type), opener=False)

    async def _play(self, stream: muxpy.Stream, script: Script, *, opener: bool) -> None:
        part = Part(self._seed, self.name, self._tally, self._pause, stream, script, opener)
        try:
            with trio.move_on_after(part.patience):
                async with stream:
                    await part.play()
        except Exception as error:
            self._tally.violations.append(f"{self.name} {script.number} {script.play}: {error!r}")
        except trio.Cancelled:
            self._tally.hung.append(f"{self.name} {script.number} {script.play}")
            raise


class Part:
    """One side of one stream."""

    def __init__(
        self, seed: int, side: str, tally: Tally, pause: float, stream: muxpy.Stream, script: Script, opener: bool
    ) -> None:
        self._seed = seed
        self._side = side
        self._tally = tally
        self._pause = pause
        self._stream = stream
        self._script = script
        self._opener = opener
        self._rng = Random(f"{seed} {script.number} {opener}")
        self._outgoing = content(seed, script, there=opener)
        self._incoming = content(seed, script, there=not opener)
        self._hurry = self._rng.uniform(0, 20 * pause) if script.play == "cancel" and opener else float("inf")
        self.patience = self._hurry if self._rng.random() < 0.5 else float("inf")

    async def play(self) -> None:
        script, opener = self._script, self._opener
        if script.play == "exchange":
            await self._together(self._send, self._read)
        elif script.play == "echo":
            await (self._together(self._send, self._read) if opener else self._guard(self._echo))
        elif script.play == "ask":
            await self._in_order(*((self._send, self._read) if opener else (self._read, self._send)))
        elif script.play == "push":
            await (self._guard(self._read) if opener else self._in_order(self._read_nothing, self._send))
        elif script.play == "cancel" and opener:
            await self._guard(self._send_in_a_hurry)
        elif opener:
            await self._guard(self._send_a_part if script.play == "reset" else self._send)
        elif script.play in ("reset back", "quit"):
            await self._guard(self._read_a_part)
        else:
            await self._guard(self._read)

    # ---- doing several things, until one fails ----

    async def _together(self, *acts: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for act in acts:
                nursery.start_soon(self._guard, act)

    async def _in_order(self, *acts: Callable[[], Awaitable[None]]) -> None:
        for act in acts:
            if not await self._guard(act):
                return

    async def _guard(self, act: Callable[[], Awaitable[None]]) -> bool:
        try:
            await act()
        except DOCUMENTED as error:
            self._tally.error(error, self._side, self._script.number)
            return False
        except Lie:
            self._stream.reset()
            return False
        except trio.ClosedResourceError:
            if self._script.play in ("reset", "reset back", "cancel", "quit") or self._tally.lies:
                return False  # this side has ended it itself
            raise
        return True

    # ---- sending ----

    async def _send(self) -> None:
        await self._send_bytes(self._outgoing)
        await end_of(self._stream, self._seed, self._script.number)

    async def _echo(self) -> None:
        async for part in self._stream:
            await self._stream.send_all(part)
        await end_of(self._stream, self._seed, self._script.number)

    async def _send_a_part(self) -> None:
        await self._send_bytes(self._outgoing[: self._script.stop])
        self._stream.reset(self._script.code)

    async def _send_in_a_hurry(self) -> None:
        """Sending alone is cancelled, and the stream is closed as if nothing had been: a part must not pass for all."""
        with trio.move_on_after(self._hurry):
            await self._send_bytes(self._outgoing)
        await self._stream.aclose()

    async def _send_bytes(self, data: bytes) -> None:
        view, size = memoryview(data), self._rng.choice(PIECES)
        for start in range(0, len(data), size):
            await self._stream.send_all(view[start : start + size])
            self._tally.moves += 1
            if self._hurry == float("inf"):  # cancelled between two pieces, it would have to reset the stream itself
                await self._dawdle()

    # ---- reading ----

    async def _read(self) -> None:
        await self._read_up_to(len(self._incoming) + 1)
        if wrong := wrong_trailers(self._stream, self._seed, self._script.number):
            self._lie(wrong)
        self._tally.clean_end(self._side, self._script.number)

    async def _read_nothing(self) -> None:
        if self._script.play == "push" and (got := await self._stream.receive_some()):
            self._lie(f"{len(got)} bytes on a stream that was opened with FIN")

    async def _read_a_part(self) -> None:
        await self._read_up_to(self._script.stop)
        if self._script.play == "reset back":
            self._stream.reset(self._script.code)
        else:
            await self._stream.aclose()

    async def _read_up_to(self, enough: int) -> None:
        """Read and compare; returns when there is enough, or at an end in the right place."""
        expected, offset = self._incoming, 0
        while offset < enough:
            part = await self._stream.receive_some(self._rng.choice(READS))
            if not part:
                if offset != len(expected):
                    self._lie(f"{self._script.play}: ended after {offset} of {len(expected)} bytes")
                return
            if expected[offset : offset + len(part)] != part:
                self._lie(f"{self._script.play}: wrong bytes in {offset}-{offset + len(part)} of {len(expected)}")
            offset += len(part)
            self._tally.checked += len(part)
            self._tally.moves += 1
            await self._dawdle()

    def _lie(self, what: str) -> None:
        self._tally.lie(self._side, self._script.number, what)
        raise Lie

    async def _dawdle(self) -> None:
        if self._rng.random() < 0.05:
            await trio.sleep(self._rng.uniform(0, self._pause))
