"""iperf3: one stream and eight, each way, and UDP beside the TCP connection that directs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ..program import free_port
from ._programs import HOST, require, run, serving
from ._tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AMOUNT = 100_000_000
WINDOW = ("-w", "128K")
"""Small socket buffers, so that not all of it is in them when the sender is done: iperf3 throws away what still is."""


@dataclass(frozen=True, slots=True)
class Iperf:
    """A server that runs."""

    port: int
    log: Path

    def is_free(self) -> bool:
        """Whether it is done with the last test: until then, it resets the connections of a next one."""
        text = self.log.read_text()
        return text.count("Server listening on") > text.count("Accepted connection from")

    async def measure(self, port: int, *options: str) -> dict[str, Any]:
        """A test's result in its `end`; `port` leads to this server."""
        while not self.is_free():  # noqa: ASYNC110 - it tells nobody but its log
            await trio.sleep(0.01)
        done = await run("iperf3", "-c", HOST, "-p", str(port), "--json", *options, check=False)
        result = json.loads(done.out)
        assert "error" not in result, result
        assert done.code == 0
        end: dict[str, Any] = result["end"]
        return end


@pytest.fixture(scope="module")
def iperf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iperf]:
    """A server. It takes any connection for a test, so nobody may knock to see whether it listens."""
    require("iperf3", "iperf3")
    port, log = free_port(), tmp_path_factory.mktemp("iperf") / "log"
    command = ["iperf3", "-s", "-B", HOST, "-p", str(port), "--forceflush"]
    with serving(command, log, says=r"Server listening on \d+"):
        yield Iperf(port, log)


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_bulk_each_way(iperf: Iperf, option: str) -> None:
    async with tunnel(option, f"0:{HOST}:{iperf.port}") as ends:
        for streams in (1, 8):
            for direction in ((), ("-R",)):
                end = await iperf.measure(ends.port, "-n", str(AMOUNT), "-P", str(streams), *WINDOW, *direction)
                assert len(end["streams"]) == streams
                assert end["sum_sent"]["bytes"] >= AMOUNT
                assert all(stream["receiver"]["bytes"] > 0 for stream in end["streams"])
        totals = (await ends.status())["totals"]
        assert totals["failed"] == 0
        assert totals["connections"] == 2 * (1 + 1) + 2 * (1 + 8)  # one of each test directs it
        assert totals["received"] > AMOUNT
        assert totals["sent"] > AMOUNT


@pytest.mark.parametrize("option", ["-L", "-R"])
async def test_udp_on_the_port_number_of_tcp(iperf: Iperf, option: str) -> None:
    port = free_port()
    forwards = (option, f"{port}:{HOST}:{iperf.port}", option, f"{port}:{HOST}:{iperf.port}/udp")
    async with tunnel(*forwards) as ends:
        for direction in ((), ("-R",)):
            # Slow enough that no buffer on the way runs over, even on a busy machine.
            end = await iperf.measure(port, "-u", "-b", "8M", "-l", "1000", "-n", "500K", *direction)
            assert end["sum"]["packets"] >= 500
            assert end["sum"]["lost_packets"] < end["sum"]["packets"] / 2
        udp = [forward for forward in (await ends.status())["forwards"] if forward["kind"] == "udp"]
        assert [forward["total"] for forward in udp] == [2]
