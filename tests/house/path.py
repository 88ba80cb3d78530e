"""What one small message passes through: the functions of the library, in the order of their turns on the processor.

`python -m tests.house.path` shows them, with what docs/architecture.md tells of them.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio.testing

import muxpy
from tests.helpers.pairs import stream_pair, tcp_pair

if TYPE_CHECKING:
    from types import FrameType

ROOT = Path(muxpy.__file__).parent
MESSAGE = bytes(100)
TRIES = 20


@dataclass
class Way:
    """The functions that were entered, one after the other, and the files that had their turn."""

    functions: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """A file again when control comes back to it."""

    @property
    def returns(self) -> int:
        """How often a file has its turn again that was left before."""
        return len(self.files) - len(set(self.files))

    def enter(self, frame: FrameType, *, called: bool) -> None:
        """A function of the library has its turn."""
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(ROOT):
            return
        name = str(path.relative_to(ROOT))
        if called:
            self.functions.append(f"{name}: {frame.f_code.co_name}")
        if not self.files or self.files[-1] != name:
            self.files.append(name)


class Recorder:
    """Records from one function to another."""

    def __init__(self, first: str, last: str) -> None:
        self.way = Way()
        self._first = first
        self._last = last
        self._on = False
        self._over = False

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if self._over:
            return
        name = frame.f_code.co_name
        if event == "c_call" and getattr(argument, "__name__", "") == self._last and self._on:
            self._over = True
        if event == "c_call" and getattr(argument, "__name__", "") == self._first:
            self._on = True
        if event == "call" and name == self._first and not self._on:
            self._on = True
        if not self._on:
            return
        if event == "call":
            self.way.enter(frame, called=True)
        elif event == "return":
            if name == self._last:
                self._over = True
            elif frame.f_back is not None:
                self.way.enter(frame.f_back, called=False)


async def one_message(first: str, last: str) -> Way:
    """The way of an answer of 100 bytes, between the calls of two functions."""
    config = muxpy.SessionConfig(heartbeat_interval=None)
    near, far = await tcp_pair()
    async with (
        muxpy.open_session(near, client=True, config=config) as client,
        muxpy.open_session(far, client=False, config=config) as server,
    ):
        one, other = await stream_pair(client, server)
        recorder: Recorder | None = None

        async def answer() -> None:
            async for question in other:
                if recorder is not None:
                    sys.setprofile(recorder)
                await other.send_all(question)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            for number in range(5):  # the last of them, when nothing is done for the first time any more
                recorder = Recorder(first, last) if number == 4 else None
                await one.send_all(MESSAGE)
                await one.receive_some()
            sys.setprofile(None)
            nursery.cancel_scope.cancel()
        client.kill()
        server.kill()
    assert recorder is not None
    return recorder.way


async def shortest(first: str, last: str) -> Way:
    """The shortest of some: Trio shuffles the tasks of a pass, so others may have their turn in between."""
    return min([await one_message(first, last) for _ in range(TRIES)], key=lambda way: len(way.files))


async def main() -> None:
    """Show both ways."""
    ways = {
        "out, send_all to write": await shortest("send_all", "write"),
        "in, readv to receive_some": await shortest("readv", "receive_some"),
    }
    for title, way in ways.items():
        print(f"{title}: {len(way.functions)} functions, {len(set(way.files))} files, {way.returns} returns to a file")
        print(*(f"    {function}" for function in way.functions), sep=os.linesep)


if __name__ == "__main__":
    trio.run(main)
