"""An end that has no descriptors left, and one whose log and trace are on a full disk."""

from __future__ import annotations

import resource

import pytest
import trio

from tests.helpers.tasks import LIMIT

from .end import HOST
from .processes import child, loaded, until

SPARE = 3
"""Descriptors that the starved end may still open."""


async def exchange(port: int) -> None:
    """A new session works, from begin to end."""
    async with loaded(port, streams=2) as (session, load):
        pass
    assert load.errors == []
    assert load.whole == len(load.messages)
    assert (await session.wait()).error is None


async def test_accepting_goes_on_when_there_are_descriptors_again() -> None:
    with trio.fail_after(LIMIT):
        async with child("serve") as end:
            port = await end.port()
            async with loaded(port) as (session, load):
                limits = resource.prlimit(end.process.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(end.process.pid, resource.RLIMIT_NOFILE, (end.descriptors + SPARE, limits[1]))
                # These are accepted by the kernel in any case; the process gets some of them only.
                others = [await trio.open_tcp_stream(HOST, port) for _ in range(SPARE + 5)]
                await until(lambda: "EMFILE" in end.complaints.text)
                await load.more()  # the session that was there does not feel it
                for other in others:
                    other.socket.close()
                await exchange(port)  # the limit is as low as before, and room is there again
                await load.more()
            assert load.errors == []
            assert (await session.wait()).error is None


@pytest.mark.parametrize(
    ("option", "complaint"), [("--log", "No space left on device"), ("--trace", "the trace ends here")]
)
async def test_a_full_disk_hurts_no_session(option: str, complaint: str) -> None:
    with trio.fail_after(LIMIT):
        async with child(option, "/dev/full", "serve") as end:
            for number in range(2):
                await exchange(await end.port())
                assert (await end.said("end", number + 1))["error"] is None
            await until(lambda: complaint in end.complaints.text)
