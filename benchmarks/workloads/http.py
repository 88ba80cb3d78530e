"""HTTP/2: h2load against a server, clients against nghttpd, and the parts that need no network."""

from __future__ import annotations

import re
import time
from itertools import count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from benchmarks.contenders import HOST
from benchmarks.tools import find_tool

from ..family import processor_time
from ._base import Figures, Job, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.contenders import Client

__all__ = ["h2load", "h2load_figures", "requests"]

FINISHED: Final = re.compile(r"^finished in ([\d.]+)(us|ms|s), ", re.MULTILINE)
REQUESTS: Final = re.compile(r"^requests: (\d+) total, .* (\d+) succeeded, ", re.MULTILINE)
COUNTS: Final = re.compile(r"^((?:requests|status codes): .+)$", re.MULTILINE)
SECONDS_IN: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

LEAST: Final = 4
"""Requests for each that goes on at a time, at least."""

SMALL_REQUESTS: Final = 200
"""Requests at least, where each moves a few bytes: the first ones are slow."""


async def h2load(client: Client, job: Job) -> Figures:
    """h2load with `streams` requests at a time on each of `connections`: `GET` of `path`, or `POST` of `upload` bytes.
    Before that a few requests show how many the server needs `seconds` of processor time for.

    Requests for each second of the server's processor time and by the clock, or bytes, if `size` says how many each
    request moves; and seconds for a request.
    """
    with TemporaryDirectory(prefix="muxpy-bench-h2load-") as name:
        folder = Path(name)
        command = _command(client, job, folder)
        together = job["connections"] * job["streams"]
        least = max(LEAST * together, 0 if "size" in job else SMALL_REQUESTS)
        begun = processor_time(job["server"])
        await _run(command, least)
        before = processor_time(job["server"])
        wanted = round(job["seconds"] * least / max(before - begun, 1e-6))
        log = folder / "log"
        done = await _run([*command, f"--log-file={log}"], max(wanted, least))
        spent = processor_time(job["server"]) - before
        cuts = quantiles(_times(log.read_text()), n=100, method="inclusive")
    units = done["requests"] * job.get("size", 1)
    return {"rate": units / spent, "clock": units / done["elapsed"], "p50": cuts[49], "p99": cuts[98], "spent": spent}


def _command(client: Client, job: Job, folder: Path) -> list[str]:
    command = [find_tool("h2load") or "h2load", "-t", "1", "-c", str(job["connections"]), "-m", str(job["streams"])]
    if job.get("upload"):
        (folder / "body").write_bytes(bytes(job["upload"]))
        command += ["-d", str(folder / "body")]
    return [*command, f"http://{HOST}:{client.own_port()}{job['path']}"]


async def _run(command: Sequence[str], number: int) -> Figures:
    done = await trio.run_process([*command, "-n", str(number)], capture_stdout=True, capture_stderr=True, check=False)
    return h2load_figures(done.stdout.decode(errors="replace"), number)


def h2load_figures(output: str, number: int) -> Figures:
    """What h2load reports of so many requests. One that was not answered as it should be fails it."""
    finished, requests = FINISHED.search(output), REQUESTS.search(output)
    if finished is None or requests is None:
        raise WorkloadError("h2load did not report")
    if int(requests[2]) != number or f"status codes: {number} 2xx" not in output:
        raise WorkloadError(f"h2load: {'; '.join(COUNTS.findall(output))}")
    return {"requests": number, "elapsed": float(finished[1]) * SECONDS_IN[finished[2]]}


def _times(log: str) -> list[float]:
    """Seconds for each request, of h2load's log: when it began, its status, microseconds."""
    return [int(line.split("\t")[2]) / 1e6 for line in log.splitlines()]


async def requests(client: Client, job: Job) -> Figures:
    """`at_once` tasks of the client `of` this name GET `path` over one connection, over and over. Requests for each
    second of this process's time, and by the clock."""
    url = f"http://{HOST}:{client.own_port()}"
    if job["of"] == "muxpy":
        return await _muxpy(url, job)
    return await _httpx(url, job)


async def _muxpy(url: str, job: Job) -> Figures:
    from muxpy import http

    async with http.connect(url) as client:

        async def get() -> bytes:
            async with await client.request("GET", job["path"]) as response:
                return await response.read() if response.status == 200 else b""

        return await _over_and_over(get, job)


async def _httpx(url: str, job: Job) -> Figures:
    import httpx  # a reference, which need not be installed

    # More connections than one would not be the same work.
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http1=False, http2=True, limits=limits, timeout=None) as client:

        async def get() -> bytes:
            response = await client.get(url + job["path"])
            return response.content if response.status_code == 200 else b""

        return await _over_and_over(get, job)


async def _over_and_over(get: Callable[[], Awaitable[bytes]], job: Job) -> Figures:
    expected = await get()
    if not expected:
        raise WorkloadError("the answer is not 200")
    numbers = count()
    start, spent = time.perf_counter(), time.process_time()
    deadline = start + job["seconds"]

    async def work() -> None:
        while time.perf_counter() < deadline:
            if await get() != expected:
                raise WorkloadError("an answer differs")
            next(numbers)

    async with trio.open_nursery() as nursery:
        for _ in range(job["at_once"]):
            nursery.start_soon(work)
    number = next(numbers)
    elapsed, spent = time.perf_counter() - start, time.process_time() - spent
    return {"rate": number / spent, "clock": number / elapsed}
