"""Splices with whatever comes in whatever order: sizes, pauses, half-closes, small kernel buffers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.content import COUNTED
from tests.helpers.splices import Joint, joint, limit
from tests.helpers.tasks import LIMIT

pytestmark = pytest.mark.no_cover  # test_splice covers as much

SMALLEST = 2304
"""Bytes, about the least that Linux keeps for a socket: most writes are partial then."""


@dataclass(frozen=True)
class Direction:
    """What its sender and its receiver do: sizes are sent and read, and negative numbers are checkpoints between."""

    sends: list[int]
    reads: list[int]


@dataclass(frozen=True)
class Plan:
    """One splice."""

    there: Direction
    back: Direction
    kernel: tuple[str, int | None]  # the kind of socket, and what the kernel keeps for an end of it
    early: int
    head: int


pauses = st.integers(-6, -1)
sizes = st.one_of(st.integers(1, 300), st.sampled_from([4096, 4097, 16_383, 16_384, 40_000, 65_536, 150_000]))
read_sizes = st.sampled_from([1000, 4097, 16_384, 65_536])  # a byte at a time would only take long
steps = st.lists(st.one_of(sizes, pauses), max_size=8).filter(lambda steps: sum(map(abs, steps)) < len(COUNTED) - 1000)
directions = st.builds(Direction, sends=steps, reads=st.lists(st.one_of(read_sizes, pauses), max_size=5))
plans = st.builds(
    Plan,
    there=directions,
    back=directions,
    # Not TCP with small buffers: its timers make that slow.
    kernel=st.sampled_from([("unix", None), ("unix", SMALLEST), ("unix", 20_000), ("tcp", None)]),
    early=st.integers(0, 100),
    head=st.integers(0, 200),
)


async def pause(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def send(sink: trio.abc.HalfCloseableStream, direction: Direction, start: int = 0) -> None:
    for step in direction.sends:
        if step < 0:
            await pause(-step)
        else:
            await sink.send_all(COUNTED[start : start + step])
            start += step
    await sink.send_eof()


async def receive(source: trio.abc.ReceiveStream, direction: Direction, expected: int) -> None:
    reads = direction.reads if any(step > 0 for step in direction.reads) else [*direction.reads, 65_536]
    received = 0
    while True:
        for step in reads:
            if step < 0:
                await pause(-step)
                continue
            data = await source.receive_some(step)
            assert data == COUNTED[received : received + len(data)], "bytes lost, doubled or out of order"
            received += len(data)
            if not data:
                assert received == expected
                return


async def carry(one: Joint, plan: Plan) -> None:
    """Do what the plan says at all four ends."""
    _, buffers = plan.kernel
    if buffers is not None:
        limit(one.inner, buffers)
        limit(one.outer, buffers)
    there = sum(step for step in plan.there.sends if step > 0)
    back = sum(step for step in plan.back.sends if step > 0)
    head_size = min(plan.head, there)
    taken = b""

    def head(data: bytes) -> bytes | None:
        """Take so much of the stream and a little more, and have it written."""
        nonlocal taken
        taken += data
        return taken if len(taken) >= head_size else None

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, one.peer, plan.there, plan.early)
        nursery.start_soon(send, one.outer, plan.back)
        nursery.start_soon(receive, one.outer, plan.there, plan.early + there)
        nursery.start_soon(receive, one.peer, plan.back, back)
        await one.stream.splice(one.inner, early=COUNTED[: plan.early], head=head if plan.head else None)


async def run_all(kind: str, todo: list[Plan]) -> None:
    """All plans at once, on one session."""
    with trio.fail_after(LIMIT):
        async with joint(kind) as first, trio.open_nursery() as nursery:
            made = [await first.another(plan.kernel[0]) for plan in todo]
            for one, plan in zip(made, todo, strict=True):
                nursery.start_soon(carry, one, plan)
        for one in made:
            await one.aclose()


def check(kind: str, todo: list[Plan]) -> None:
    trio.run(run_all, kind, todo)


@pytest.mark.parametrize("kind", ["unix", "tls", "pipe"])
def test_bytes_arrive_whatever_comes_in_whatever_order(kind: str) -> None:
    @settings(deadline=None, max_examples=8 if kind == "pipe" else 40)
    @given(st.lists(plans, min_size=1, max_size=4))
    def run(todo: list[Plan]) -> None:
        check(kind, todo)

    run()


def test_the_same_by_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy.session._stream.has_poller", False)

    @settings(deadline=None, max_examples=20)
    @given(st.lists(plans, min_size=1, max_size=3))
    def run(todo: list[Plan]) -> None:
        check("unix", todo)

    run()
