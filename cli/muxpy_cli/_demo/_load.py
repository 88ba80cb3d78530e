"""The demo's load: HTTP through the forwarded port, from threads, with each body checked by its SHA-256 sum."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from .._errors import Failure, describe
from ._target import CHUNK, bulk, bulk_digest, small

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Different", "Load", "TrafficCount"]

T = TypeVar("T")

SOCKET_TIMEOUT: Final = 30.0
POLL: Final = 0.1
"""Seconds between two updates of the display."""


class Different(Failure):
    """The data that came back is not the data that was sent."""


class TrafficCount:
    """The progress of a phase; threads add to it."""

    def __init__(self) -> None:
        self.done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count


class Load:
    """HTTP clients for one port."""

    def __init__(self, port: int, deadline: float, watch: Callable[[], None]) -> None:
        self._port = port
        self._deadline = deadline
        self._watch = watch  # raises if one of the processes has ended

    def run(self, jobs: Sequence[Callable[[], T]], show: Callable[[], None]) -> list[T]:
        """Run all jobs in parallel, each in a thread; their results. The first failure ends it."""
        executor = ThreadPoolExecutor(len(jobs))
        try:
            futures = [executor.submit(job) for job in jobs]
            self._wait(futures, show)
            return [future.result() for future in futures]
        except (OSError, http.client.HTTPException) as error:
            self._watch()
            raise Failure(f"the traffic failed: {describe(error)}") from error
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _wait(self, futures: list[Future[T]], show: Callable[[], None]) -> None:
        while True:
            done, running = wait(futures, timeout=POLL, return_when=FIRST_EXCEPTION)
            show()
            if not running or any(future.exception() for future in done):
                return
            if time.monotonic() > self._deadline:
                raise Failure("the demo takes longer than its time limit")

    # ---- jobs ----

    def downloads(self, total: int, connections: int, meter: TrafficCount) -> list[Callable[[], None]]:
        return [partial(self._download, seed, size, meter) for seed, size in enumerate(_split(total, connections))]

    def uploads(self, total: int, connections: int, meter: TrafficCount) -> list[Callable[[], None]]:
        return [partial(self._upload, seed, size, meter) for seed, size in enumerate(_split(total, connections), 100)]

    def requests(
        self, total: int, connections: int, meter: TrafficCount, keep_alive: bool = True
    ) -> list[Callable[[], list[float]]]:
        """Jobs that return the seconds that each of their requests took."""
        numbers = [range(first, total, connections) for first in range(min(total, connections))]
        return [partial(self._request_all, part, meter, keep_alive) for part in numbers]

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=SOCKET_TIMEOUT)

    def _download(self, seed: int, length: int, meter: TrafficCount) -> None:
        connection = self._connection()
        connection.request("GET", f"/bulk/{seed}/{length}")
        response = _checked(connection.getresponse())
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        received = 0
        while count := response.readinto(buffer):
            digest.update(buffer[:count])
            received += count
            meter.add(count)
        connection.close()
        if received < length:  # cut short, and the expected sum may take long to compute
            raise Different(f"download {seed} ended after {received} of {length} bytes")
        _compare(f"download {seed}", (length, bulk_digest(seed, length)), (received, digest.hexdigest()))

    def _upload(self, seed: int, length: int, meter: TrafficCount) -> None:
        connection = self._connection()
        connection.putrequest("PUT", "/bulk")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        for chunk in bulk(seed, length):
            connection.send(chunk)
            meter.add(len(chunk))
        answer = json.loads(_checked(connection.getresponse()).read())
        connection.close()
        _compare(f"upload {seed}", (length, bulk_digest(seed, length)), (answer["length"], answer["sha256"]))

    def _request_all(self, numbers: Sequence[int], meter: TrafficCount, keep_alive: bool) -> list[float]:
        connection = self._connection()
        times = []
        for number in numbers:
            started = time.perf_counter()
            connection.request("GET", f"/small/{number}")
            body = _checked(connection.getresponse()).read()
            if not keep_alive:
                connection.close()  # the next request opens a new connection
            times.append(time.perf_counter() - started)
            _compare(f"request {number}", _sum(small(number)), _sum(body))
            meter.add(1)
        connection.close()
        return times


def _split(total: int, parts: int) -> list[int]:
    """Sizes that differ by one at most and make up the total."""
    return [total * (part + 1) // parts - total * part // parts for part in range(parts)]


def _checked(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if response.status != 200:
        raise Different(f"the server answered {response.status} {response.reason}")
    return response


def _sum(body: bytes) -> tuple[int, str]:
    return len(body), hashlib.sha256(body).hexdigest()


def _compare(what: str, expected: tuple[int, str], got: tuple[int, str]) -> None:
    if expected != got:
        raise Different(f"{what} differs: {got[0]} bytes with SHA-256 {got[1]}, not {expected[0]} with {expected[1]}")
