"""Shares by urgency (RFC 9218): the `priority` field and PRIORITY_UPDATE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from muxpy.frame.http2 import PRIORITY_UPDATE, Setting, encode_header, encode_window_update
from tests.helpers.links import Channel
from tests.helpers.tasks import bounded

from .ends import GET, raw_client

if TYPE_CHECKING:
    from muxpy import http

SIZE = 2_000_000


def priority_update(stream_id: int, value: bytes) -> bytes:
    """A PRIORITY_UPDATE frame."""
    body = stream_id.to_bytes(4, "big") + value
    return encode_header(len(body), PRIORITY_UPDATE, 0, 0) + body


async def shares(first: bytes | None, second: bytes | None, how: str) -> tuple[int, int]:
    """Bytes of two responses that have come when the first of them ends."""
    begin = trio.Event()
    here = 0

    async def handler(exchange: http.Exchange) -> None:
        nonlocal here
        await exchange.start(200)
        here += 1
        if here == 2:
            begin.set()
        await begin.wait()
        await exchange.send_all(bytes(SIZE), end=True)

    settings: dict[int, int] = {Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}
    async with raw_client(handler, settings, outgoing=Channel(20_000)) as peer:
        await peer.send(encode_window_update(0, 2**30))
        for stream_id, value in ((1, first), (3, second)):
            request = (*GET, (b"priority", value)) if value is not None and how == "field" else GET
            if value is not None and how == "update before":
                await peer.send(priority_update(stream_id, value))
            await peer.send(peer.head(stream_id, request, end=True))
            if value is not None and how == "update after":
                await peer.send(priority_update(stream_id, value))
        received = {1: 0, 3: 0}
        while True:
            frame = await peer.receive()
            assert frame is not None
            if frame.name == "DATA":
                received[frame.stream_id] += len(frame.body)
                if frame.end:
                    break
        return received[1], received[3]


@pytest.mark.parametrize("how", ["field", "update before", "update after"])
@bounded()
async def test_the_more_urgent_gets_more_and_the_other_something(how: str) -> None:
    urgent, other = await shares(b"u=0", b"u=7, i", how)
    assert urgent == SIZE
    assert 0.06 < other / urgent < 0.25, "a share of 8 to 1"


@pytest.mark.parametrize(("first", "second"), [(None, None), (b"u=3", None), (b"u=2", b"u=2"), (b"x", b"u=9")])
@bounded()
async def test_equals_share_alike(first: bytes | None, second: bytes | None) -> None:
    one, other = await shares(first, second, "field")
    assert min(one, other) > 0.8 * SIZE


@bounded()
async def test_an_update_overrides_the_field() -> None:
    priorities: list[int] = []

    async def handler(exchange: http.Exchange) -> None:
        priorities.append(exchange.priority)
        await exchange.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.head(1, (*GET, (b"priority", b"u=0")), end=True))
        await peer.send(priority_update(3, b"u=0"), peer.head(3, (*GET, (b"priority", b"u=7")), end=True))
        await peer.until_end(3)
    assert priorities[0] == priorities[1] > 0
