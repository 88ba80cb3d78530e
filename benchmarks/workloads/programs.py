"""Other programs as clients: iperf3 and wrk, and what they print."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import trio

from benchmarks.contenders import HOST
from benchmarks.tools import find_tool

from ._base import Figures, Job, WorkloadError

if TYPE_CHECKING:
    import subprocess

    from benchmarks.contenders import Client

__all__ = ["iperf3", "iperf3_figures", "wrk", "wrk_figures"]

SECONDS_IN: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
"""The units of wrk's latencies."""

RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
PERCENTILE: Final = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
COMPLAINTS: Final = re.compile(r"^\s+((?:Socket errors|Non-2xx or 3xx responses): .+)$", re.MULTILINE)


async def iperf3(client: Client, job: Job) -> Figures:
    """iperf3 with `streams` connections for `seconds`; with `reverse`, the server sends. Bytes a second, as the
    receiver counted."""
    ways = ["-R"] if job["reverse"] else []
    streams = ["-P", str(job["streams"]), "-t", str(_whole(job["seconds"]))]
    done = await _run("iperf3", "-c", HOST, "-p", str(client.own_port()), "-J", *streams, *ways)
    return iperf3_figures(done.stdout.decode())


def iperf3_figures(output: str) -> Figures:
    """What `iperf3 -J` reports."""
    try:
        report: dict[str, Any] = json.loads(output)
    except ValueError:
        raise WorkloadError("iperf3 did not report") from None
    if "error" in report:
        raise WorkloadError(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    if not received["bytes"]:
        raise WorkloadError("iperf3: nothing was received")
    return {"rate": received["bits_per_second"] / 8, "elapsed": received["seconds"]}


async def wrk(client: Client, job: Job) -> Figures:
    """wrk with `connections` in parallel for `seconds`, each making one request after the other, over the same
    connection if `keep` is set. Answered requests a second, and seconds for one."""
    header = [] if job["keep"] else ["-H", "Connection: close"]
    load = ["-t", "1", "-c", str(job["connections"]), "-d", f"{_whole(job['seconds'])}s"]
    done = await _run("wrk", "--latency", *load, *header, f"http://{HOST}:{client.own_port()}/")
    if done.returncode != 0 or done.stderr:
        reason = done.stderr.decode(errors="replace").strip() or f"ended with status {done.returncode}"
        raise WorkloadError(f"wrk: {reason}")
    return wrk_figures(done.stdout.decode())


def wrk_figures(output: str) -> Figures:
    """What `wrk --latency` reports. An answer that is an error fails it, and a connection that failed."""
    if complaints := COMPLAINTS.findall(output):
        raise WorkloadError(f"wrk: {', '.join(complaints)}")
    rate = RATE.search(output)
    times = {percent: float(number) * SECONDS_IN[unit] for percent, number, unit in PERCENTILE.findall(output)}
    if rate is None or len(times) != 2:
        raise WorkloadError("wrk did not report")
    if not float(rate[1]):
        raise WorkloadError("wrk: no request was answered")
    return {"rate": float(rate[1]), "p50": times["50"], "p99": times["99"]}


async def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; its output says whether it failed."""
    command = [find_tool(name) or name, *arguments]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


def _whole(seconds: float) -> int:
    """Both take whole seconds only, and 0 means no end."""
    return max(1, round(seconds))
