"""wrk's load on nginx: sessions that share it, and what the program says of itself meanwhile."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.helpers import processes
from tests.helpers.tasks import LIMIT

from ..program import free_port
from ._nginx import SMALL
from ._programs import CLEAN, HOST, curl, find, require
from ._tunnel import Ends, tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._nginx import Nginx

CONNECTIONS = 40
TAKEN = CONNECTIONS + 1
"""wrk first tries with one more whether somebody is there."""

EITHER_END = pytest.mark.parametrize("option", ["-L", "-R"])


@pytest.fixture(autouse=True)
def _wrk() -> None:
    require("wrk", "wrk")


class Load:
    """wrk, until it is told to end."""

    requests = 0

    async def run(self, port: int, task_status: trio.TaskStatus[trio.Process]) -> None:
        """Start; at the end every request must have been answered, and well."""
        command = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{LIMIT:.0f}s",
            f"--timeout={LIMIT:.0f}s",
            f"http://{HOST}:{port}/small",
        ]
        async with processes.started([find(command[0]) or command[0], *command[1:]], env=CLEAN) as process:
            task_status.started(process)
            assert process.stdout is not None
            output = b"".join([bytes(chunk) async for chunk in process.stdout]).decode()
            assert await process.wait() == 0, output
        assert "Socket errors" not in output, output
        assert "Non-2xx" not in output, output
        match = re.search(r"(\d+) requests in", output)
        assert match is not None, output
        self.requests = int(match[1])


async def status_when(ends: Ends, condition: Callable[[dict[str, Any]], bool], *, listening: bool = False) -> Any:  # noqa: ANN401
    """The first status that fulfils the condition: nothing else tells when it does."""
    while True:
        status = await ends.status(listening=listening)
        if condition(status):
            return status


def streams(status: dict[str, Any]) -> list[int]:
    return [session["streams"] for session in status["sessions"]]


def connections(status: dict[str, Any]) -> int:
    return sum(forward["connections"] for forward in status["forwards"])


@EITHER_END
async def test_status_under_load(nginx: Nginx, option: str) -> None:
    load = Load()
    async with tunnel(option, f"0:{nginx.target}") as ends:
        async with trio.open_nursery() as nursery:
            wrk = await nursery.start(load.run, ends.port)
            status = await status_when(ends, lambda status: connections(status) == CONNECTIONS)
            other = await ends.status(listening=True)
            # A forward at the other end is held by a stream of its own, which that end does not count.
            assert streams(status) == [CONNECTIONS + (option == "-R")]
            assert streams(other) == [CONNECTIONS]
            assert status["ready"]
            assert other["ready"]
            wrk.send_signal(signal.SIGINT)
        status = await status_when(ends, lambda status: connections(status) == 0)
        other = await status_when(ends, lambda status: streams(status) == [0], listening=True)
        for end in (status, other):
            assert end["totals"]["connections"] == TAKEN
            assert end["totals"]["failed"] == 0
            carried = end["totals"]["received" if (end is status) == (option == "-L") else "sent"]
            assert carried > load.requests * SMALL


async def test_metrics_under_load(nginx: Nginx) -> None:
    url = f"http://{HOST}:{free_port()}"
    load = Load()

    async def scrape() -> dict[str, float]:
        text = (await curl("--fail", f"{url}/metrics")).out
        return {name: float(value) for name, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", text, re.MULTILINE)}

    async with tunnel("-L", f"0:{nginx.target}", "--metrics", url.removeprefix("http://")) as ends:
        for path in ("healthz", "readyz"):
            await curl("--fail", f"{url}/{path}")
        async with trio.open_nursery() as nursery:
            wrk = await nursery.start(load.run, ends.port)
            await status_when(ends, lambda status: connections(status) == CONNECTIONS)
            during = await scrape()
            wrk.send_signal(signal.SIGINT)
        after = await scrape()
        assert 0 < during["muxpy_received_bytes_total"] < after["muxpy_received_bytes_total"]
        assert after["muxpy_received_bytes_total"] > load.requests * SMALL
        assert during["muxpy_connections_total"] == after["muxpy_connections_total"] == TAKEN
        assert after["muxpy_connections_failed_total"] == 0


async def test_connections_spread_over_parallel_sessions(nginx: Nginx) -> None:
    load = Load()
    async with tunnel("-L", f"0:{nginx.target}", "--sessions", "4") as ends:
        await status_when(ends, lambda status: [one["state"] for one in status["sessions"]] == ["connected"] * 4)
        async with trio.open_nursery() as nursery:
            wrk = await nursery.start(load.run, ends.port)
            status = await status_when(ends, lambda status: connections(status) == CONNECTIONS)
            other = await ends.status(listening=True)
            wrk.send_signal(signal.SIGINT)
        # Each goes where there are fewest. Who tried first may have taken a place, and the forward itself takes one.
        for end in (status, other):
            assert all(abs(count - CONNECTIONS // 4) <= 2 for count in streams(end)), streams(end)
        assert sum(streams(other)) == CONNECTIONS
        assert all(session["received"] > SMALL for session in status["sessions"])
