"""The bytes of bulk, and that a wrong one is noticed."""

from __future__ import annotations

from functools import partial
from hashlib import sha256

import pytest
import trio
from trio.testing import memory_stream_pair

from benchmarks.contenders import Client
from benchmarks.pattern import BLOCK, PATTERN, WRONG, Checker, pieces
from benchmarks.peer import causes
from benchmarks.serving import serve
from benchmarks.workloads import WORKLOADS, Job
from benchmarks.workloads._base import WorkloadError, echo_once

BULK: Job = {"workload": "bulk", "streams": 1, "chunk": BLOCK, "seconds": 0.0, "warmup": 0.0}


def test_the_pattern_is_what_any_program_can_make() -> None:
    assert len(PATTERN) == BLOCK
    assert PATTERN[:32] == sha256(bytes(8)).digest()
    assert PATTERN[-32:] == sha256((2047).to_bytes(8, "big")).digest()


@pytest.mark.parametrize("size", [1024, BLOCK, 4 * BLOCK])
def test_pieces_are_the_pattern_over_and_over(size: int) -> None:
    chunks = pieces(size)

    assert {len(chunk) for chunk in chunks} == {size}
    assert b"".join(chunks) == PATTERN * max(1, size // BLOCK)


@pytest.mark.parametrize("size", [1000, BLOCK + 1])
def test_pieces_that_would_not_repeat_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=str(size)):
        pieces(size)


@pytest.mark.parametrize("cut", [1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK])
def test_the_checker_takes_the_pattern_cut_anywhere(cut: int) -> None:
    data = PATTERN * 5
    checker = Checker()

    for start in range(0, len(data), cut) if cut > 1 else range(100):
        checker.feed(data[start : start + cut])

    assert checker.intact
    assert int.from_bytes(checker.answer(), "big") == checker.count == (len(data) if cut > 1 else 100)


@pytest.mark.parametrize("position", [0, BLOCK - 1, 3 * BLOCK + 7])
def test_the_checker_notices_one_wrong_byte(position: int) -> None:
    data = bytearray(PATTERN * 4)
    data[position] ^= 1
    checker = Checker()

    for start in range(0, len(data), 10_000):
        checker.feed(data[start : start + 10_000])

    assert checker.count == len(data)
    assert int.from_bytes(checker.answer(), "big") == WRONG


class Corrupting(trio.abc.HalfCloseableStream):
    """Changes the last byte of everything that is longer than a request."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, xor: int) -> None:
        self._stream = stream
        self._xor = xor

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        changed = bytearray(data)
        if len(changed) > 16:
            changed[-1] ^= self._xor
        await self._stream.send_all(changed)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("xor", [0, 1])
@pytest.mark.parametrize("workload", ["bulk", "timeline"])
async def test_a_byte_that_changes_on_its_way_fails_the_run(workload: str, xor: int) -> None:
    async with trio.open_nursery() as nursery:

        async def open_stream() -> trio.abc.HalfCloseableStream:
            near, far = memory_stream_pair()
            nursery.start_soon(_serve_and_close, far)
            return Corrupting(near, xor)

        run = partial(WORKLOADS[workload], Client(open_stream), {**BULK, "interval": 1.0})
        if not xor:
            assert await run()
            return
        with pytest.raises((WorkloadError, ExceptionGroup)) as raised:
            await run()
        assert causes(raised.value) == ["WorkloadError: the receiver found a byte that was not sent so"]


async def _serve_and_close(stream: trio.abc.Stream) -> None:
    async with stream:
        await serve(stream)


async def test_an_echo_that_differs_fails_the_run() -> None:
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve_and_close, far)
        await near.send_all(b"e")
        await echo_once(near, PATTERN[:100])
        with pytest.raises(WorkloadError):
            await echo_once(Corrupting(near, 1), PATTERN[:100])
        await near.aclose()
