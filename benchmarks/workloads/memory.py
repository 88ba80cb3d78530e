"""What streams cost while they do nothing, and what a reader that never reads can cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from benchmarks.pattern import PATTERN
from benchmarks.serving import resident

from ._base import Figures, Job, ask_report

if TYPE_CHECKING:
    from collections.abc import Callable

    import muxpy
    from benchmarks.contenders import Client

__all__ = ["memory", "unread"]


async def memory(client: Client, job: Job) -> Figures:
    """Open `streams` and leave them: by how many bytes each makes this process and the server's grow."""
    session = client.own_session()
    server = (await ask_report(session))["resident"]
    own = resident()
    streams = [await session.open_stream() for _ in range(job["streams"])]
    grown = await _until(session, lambda report: report["streams_accepted"] > len(streams))
    return {
        "client": (resident() - own) / len(streams),
        "server": (grown["resident"] - server) / len(streams),
    }


async def unread(client: Client, job: Job) -> Figures:
    """Send without end on `streams` that nobody reads, until all of them stand still: by how much the receiver grew,
    and the bound that the guide states for what was received and not read."""
    session = client.own_session()
    before = await ask_report(session)
    async with trio.open_nursery() as nursery:
        for _ in range(job["streams"]):
            nursery.start_soon(_send_on, session)
        after = await _until_still(session)
        nursery.cancel_scope.cancel()
    return {
        "growth": after["resident"] - before["resident"],
        "bound": bound(job["streams"], after["receive_budget"]),
        "unread": after["data_received"] - before["data_received"],
    }


def bound(streams: int, receive_budget: int) -> int:
    """Bytes that may lie unread: see "Windows and memory" in docs/guide.md."""
    return 65536 * streams + receive_budget


async def _send_on(session: muxpy.Session) -> None:
    stream = await session.open_stream()
    await stream.send_all(b"h")
    while True:
        await stream.send_all(PATTERN)


async def _until_still(session: muxpy.Session) -> dict[str, Any]:
    """The report once nothing more comes but the reports themselves."""
    received = -1

    def still(report: dict[str, Any]) -> bool:
        nonlocal received
        before, received = received, report["data_received"]
        return bool(received <= before + 1)

    return await _until(session, still, every=0.3)


async def _until(
    session: muxpy.Session, is_so: Callable[[dict[str, Any]], bool], every: float = 0.05
) -> dict[str, Any]:
    while True:
        report = await ask_report(session)
        if is_so(report):
            return report
        await trio.sleep(every)
