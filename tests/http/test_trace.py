"""What a trace shows of HTTP/2: each frame, the names of fields, and no values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from muxpy import TraceEvent, http
from muxpy.frame.http2 import (
    PREFACE,
    HpackEncoder,
    encode_data_header,
    encode_goaway,
    encode_header,
    encode_headers,
    encode_ping,
    encode_push_promise,
    encode_rst_stream,
    encode_settings,
    encode_window_update,
)
from muxpy.trace._http2 import Http2Frames
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "open-sesame"
LONG = tuple((b"x-%d" % number, bytes(1000)) for number in range(20))


def conversation() -> tuple[bytes, list[dict[str, Any]]]:
    """Bytes with a frame of each kind, and what is shown of them."""
    hpack = HpackEncoder()
    head = ((b":status", b"200"), (b"set-cookie", SECRET.encode()))
    frames = [
        (
            encode_settings({4: 70_000, 0x99: 1}),
            {"type": "SETTINGS", "stream": 0, "settings": ("INITIAL_WINDOW_SIZE=70000", "0x99=1")},
        ),
        (
            encode_headers(1, hpack.encode(head), False, 16_384),
            {"type": "HEADERS", "stream": 1, "headers": (":status", "set-cookie")},
        ),
        (
            encode_data_header(1, 5, True) + b"hello",
            {"type": "DATA", "stream": 1, "length": 5, "flags": ("END_STREAM",)},
        ),
        (encode_ping(bytes(8), True), {"type": "PING", "stream": 0, "flags": ("ACK",), "length": 8}),
        (encode_window_update(3, 9), {"type": "WINDOW_UPDATE", "stream": 3, "increment": 9}),
        (encode_rst_stream(3, 8), {"type": "RST_STREAM", "stream": 3, "code": "CANCEL"}),
        (encode_rst_stream(3, 99), {"type": "RST_STREAM", "stream": 3, "code": "error 99"}),
        (
            encode_push_promise(1, 2, hpack.encode(((b":path", SECRET.encode()),)), 16_384),
            {"type": "PUSH_PROMISE", "stream": 1, "promised": 2, "headers": (":path",)},
        ),
        (encode_header(3, 0x77, 0, 5) + b"abc", {"type": "type 0x77", "stream": 5, "length": 3}),
        (
            encode_goaway(5, 11, b"slower"),
            {"type": "GOAWAY", "stream": 0, "last_id": 5, "code": "ENHANCE_YOUR_CALM", "text": "slower"},
        ),
    ]
    return b"".join(frame for frame, _ in frames), [shown for _, shown in frames]


def shown(data: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    cutter = Http2Frames()
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    found = [frame for piece in pieces for frame in cutter(piece)]
    return [{key: value for key, value in frame.items() if value is not None} for frame in found]


@pytest.mark.parametrize("preface", [b"", PREFACE], ids=["server", "client"])
@given(cuts=st.lists(st.integers(0, 250)))
def test_wherever_the_bytes_are_cut(preface: bytes, cuts: list[int]) -> None:
    data, expected = conversation()
    assert shown(preface + data, sorted(cuts)) == expected


def test_the_names_of_a_block_in_several_frames_come_with_the_last() -> None:
    block = HpackEncoder(huffman=False).encode(LONG)
    first, *rest = shown(encode_headers(1, block, True, 16_384), [])
    assert first == {"type": "HEADERS", "stream": 1, "flags": ("END_STREAM",)}
    assert rest == [{"type": "CONTINUATION", "stream": 1, "headers": tuple(name.decode() for name, _ in LONG)}]


@bounded()
async def test_a_session_shows_its_frames_and_no_values(tmp_path: Path) -> None:
    seen: list[TraceEvent] = []

    async def handler(exchange: http.Exchange) -> None:
        await exchange.respond(200, {"set-cookie": SECRET}, SECRET.encode(), trailers={"x-sum": SECRET})

    async with trio.open_nursery() as nursery:
        config = http.Config(trace=seen.append)

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await http.serve(handler, 0, host="127.0.0.1", config=config, task_status=task_status)

        [listener] = await nursery.start(serve)
        async with http.connect(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as client:
            response = await client.request("POST", f"/?{SECRET}", {"authorization": SECRET}, SECRET.encode())
            assert await response.read() == SECRET.encode()
        nursery.cancel_scope.cancel()
    assert SECRET not in "".join(json.dumps(event.as_dict()) + str(event) for event in seen)
    frames = [(event.direction, event.type, event.headers) for event in seen if event.stream == 1]
    asked = (":method", ":scheme", ":authority", ":path", "authorization", "content-length")
    assert ("received", "HEADERS", asked) in frames
    assert ("sent", "HEADERS", ("x-sum",)) in frames
    assert [seen[0].event, seen[-1].event] == ["begin", "end"]
