"""A server whose clients (h2load) leave as they like; longer by `make leavers`."""

from __future__ import annotations

import resource
from random import Random

import pytest
import trio

from tests.chaos.end import HOST
from tests.chaos.processes import child, until
from tests.cli.real._programs import require
from tests.helpers.tasks import LIMIT

from .leavers import Scene, play

pytestmark = pytest.mark.live_peer

SPARE = 3
"""Descriptors that the starved server may still open."""


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("nghttp2-client", "h2load")


async def test_clients_that_are_killed_and_stopped_leave_nothing() -> None:
    rounds, asked = await play(0, Random(1))
    assert rounds == 1
    assert asked >= 400


async def test_a_server_without_descriptors_goes_on_when_there_are_some_again() -> None:
    with trio.fail_after(LIMIT):
        async with child("--http2", "serve") as server:
            port = await server.port()
            scene = Scene(server, port)
            await scene.begin()
            limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (server.descriptors + SPARE, limits[1]))
            others = [await trio.open_tcp_stream(HOST, port) for _ in range(SPARE + 5)]
            await until(lambda: "EMFILE" in server.complaints.text)
            for other in others:
                other.socket.close()
            await scene.honest()  # the limit is as low as before, and room is there again
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
            await scene.leave(Random(2))
