"""A server of HTTP/2 whose clients leave as they like, for minutes: `python -m tests.interop.http2.leavers`. The
clients are h2load, and the server is a process of its own.

In each round some clients are killed, some are stopped and go on, and some of those are killed then. Meanwhile an
honest client must lose nothing. Afterwards the server holds what it held before, down to the last task, descriptor and
stream, and has logged nothing.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from muxpy.transport._readiness import AT_ONCE
from tests.chaos.end import HOST
from tests.chaos.processes import Child, child
from tests.helpers.arguments import seconds
from tests.helpers.processes import started
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Scene", "main"]

SECONDS: Final = 60.0
BODY: Final = Path(__file__)
"""What clients send: some file that is there."""
ENDLESS: Final = "1000000"
"""Requests: more than there is time for."""


class Scene:
    """The server, and what it held when only an honest client had been there."""

    def __init__(self, server: Child, port: int) -> None:
        self.server = server
        self._port = port
        self._url = f"http://{HOST}:{port}/"
        self._asked = 0  # times that the server was asked what it holds
        self._first: dict[str, int] = {}

    async def begin(self) -> None:
        """Whatever is made once is made now, also what it takes many connections at a time for."""
        many = [await trio.open_tcp_stream(HOST, self._port) for _ in range(2 * AT_ONCE)]
        while (await self.held())["sessions"] < len(many):  # noqa: ASYNC110 - another process has no event for us
            await trio.sleep(0.01)
        for one in many:
            one.socket.close()
        await self._come_and_go(Random(0))
        self._first = await self._rest()

    def _command(self, requests: str, *, clients: int, upload: bool) -> list[str]:
        body = [f"--data={BODY}"] if upload else []
        return [
            "h2load",
            f"--requests={requests}",
            f"--clients={clients}",
            "--max-concurrent-streams=20",
            *body,
            self._url,
        ]

    async def honest(self, requests: int = 100) -> None:
        """A client that stays to the end, and loses nothing."""
        command = self._command(str(requests), clients=2, upload=True)
        done = await trio.run_process(command, capture_stdout=True)
        assert f"{requests} done, {requests} succeeded, 0 failed" in done.stdout.decode(), done.stdout.decode()

    async def held(self) -> dict[str, int]:
        """What the server holds now, and how many requests there were."""
        self._asked += 1
        self.server.process.send_signal(signal.SIGUSR1)
        return await self.server.said("tasks", self._asked)

    async def more_asked(self, count: int = 200) -> None:
        """Wait until so many requests more have come."""
        before = (await self.held())["asked"]
        while (await self.held())["asked"] < before + count:  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)

    async def _rest(self) -> dict[str, int]:
        """What it holds when no connection is left."""
        while (now := await self.held())["sessions"]:  # noqa: ASYNC110 - as above
            await trio.sleep(0.02)
        del now["asked"]
        return now

    async def leave(self, rng: Random, clients: int = 6) -> None:
        """One round. Nothing is left of it. Some tasks of the round before may have ended only after the count: then so
        much less is right from now on."""
        await self._come_and_go(rng, clients)
        now = await self._rest()
        while any(count > self._first[name] for name, count in now.items()):
            await trio.sleep(0.02)
            now = await self._rest()
        self._first = now

    async def _come_and_go(self, rng: Random, clients: int = 6) -> None:
        async with AsyncExitStack() as stack:
            leaving = []
            for number in range(clients):
                command = self._command(ENDLESS, clients=rng.choice([1, 3, 10]), upload=bool(number % 2))
                leaving.append(await stack.enter_async_context(started(command, stdout=subprocess.DEVNULL)))
            await self.more_asked()
            rng.shuffle(leaving)
            stopped, killed = leaving[: clients // 2], leaving[clients // 2 :]
            for process in stopped:
                process.send_signal(signal.SIGSTOP)
            for process in killed:
                process.kill()
            await self.honest()
            for process in stopped[::2]:
                process.send_signal(signal.SIGCONT)
            await self.more_asked(50)


async def play(limit: float, rng: Random) -> tuple[int, int]:
    """Rounds for so many seconds, one at least. Returns how many, and how many requests there were."""
    end, rounds = time.monotonic() + limit, 0
    async with child("--http2", "serve") as server:
        scene = Scene(server, await server.port())
        with trio.fail_after(LIMIT):
            await scene.begin()
        while not rounds or time.monotonic() < end:
            with trio.fail_after(LIMIT):
                await scene.leave(rng)
            rounds += 1
        asked = (await scene.held())["asked"]
        assert server.complaints.text == "", server.complaints.text
        return rounds, asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, and say what there was."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.http2.leavers", description=__doc__)
    parser.add_argument("--seconds", type=seconds, default=SECONDS, help=f"how long ({SECONDS:g})")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="who leaves, and how")
    options = parser.parse_args(arguments)
    rounds, asked = trio.run(play, options.seconds, Random(options.seed))
    print(json.dumps({"seed": options.seed, "rounds": rounds, "requests": asked}))


if __name__ == "__main__":
    main()
