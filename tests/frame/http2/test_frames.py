"""The bytes of each frame, and the bodies that are refused."""

from collections.abc import Callable

import pytest

from muxpy import ErrorCode
from muxpy._codes import ProtocolError
from muxpy.frame import http2
from muxpy.frame.http2 import Http2Code, Setting

from . import wire
from .wire import frame


def test_preface_and_numbers() -> None:
    assert bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a") == http2.PREFACE
    assert [code.value for code in Http2Code] == list(range(14))
    assert http2.MAX_ID == http2.MAX_WINDOW == 2**31 - 1
    assert len(http2.TYPE_NAMES) == 11
    assert [setting.value for setting in Setting] == [1, 2, 3, 4, 5, 6, 8, 9]


def test_an_error_of_either_protocol_shows_its_own_name() -> None:
    assert str(ProtocolError(Http2Code.COMPRESSION_ERROR, "why")) == "COMPRESSION_ERROR: why"
    assert str(ProtocolError(ErrorCode.CANCEL, "why")) == "CANCEL: why"


def test_data_headers() -> None:
    assert http2.encode_header(0x012345, 7, 0x80, 5) == bytes.fromhex("012345 07 80 00000005")
    assert http2.encode_data_header(5, 300) == frame(wire.DATA, 5, length=300)
    assert http2.encode_data_header(5, 0, end=True) == frame(wire.DATA, 5, flags=wire.END_STREAM)


def test_end_stream_is_set_in_a_frame_that_stands_already() -> None:
    frames = bytearray(frame(wire.PING, 0, bytes(8)) + frame(wire.DATA, 3, b"x"))
    http2.set_end_stream(frames, 17)
    assert frames[17:] == frame(wire.DATA, 3, b"x", flags=wire.END_STREAM)
    assert frames[:17] == frame(wire.PING, 0, bytes(8))


def test_rst_stream() -> None:
    assert http2.encode_rst_stream(3, 8) == frame(wire.RST_STREAM, 3, b"\0\0\0\x08")
    assert http2.parse_rst_stream(b"\0\0\0\x08") == 8


def test_window_update() -> None:
    assert http2.encode_window_update(0, 0x10000) == frame(wire.WINDOW_UPDATE, 0, b"\0\x01\0\0")
    assert http2.parse_window_update(b"\x80\x01\0\0") == 0x10000


def test_settings() -> None:
    encoded = http2.encode_settings({Setting.MAX_FRAME_SIZE: 16384, 0x99: 2**32 - 1})
    assert encoded == frame(wire.SETTINGS, 0, bytes.fromhex("0005 00004000 0099 ffffffff"))
    assert http2.encode_settings({}) == frame(wire.SETTINGS, 0)
    assert frame(wire.SETTINGS, 0, flags=wire.ACK) == http2.SETTINGS_ACK
    again = bytes.fromhex("0004 00000001 0004 00000002")
    assert http2.parse_settings(again) == [(4, 1), (4, 2)]


def test_ping() -> None:
    assert http2.encode_ping(b"12345678") == frame(wire.PING, 0, b"12345678")
    assert http2.encode_ping(b"12345678", ack=True) == frame(wire.PING, 0, b"12345678", flags=wire.ACK)
    assert http2.parse_ping(b"12345678") == b"12345678"


def test_goaway() -> None:
    assert http2.encode_goaway(7, 11, b"why") == frame(wire.GOAWAY, 0, b"\0\0\0\x07\0\0\0\x0bwhy")
    assert http2.parse_goaway(b"\x80\0\0\x07\0\0\0\x0bwhy") == (7, 11, b"why")
    assert len(http2.encode_goaway(7, 11, bytes(20_000))) == 9 + 16_384


def test_priority() -> None:
    assert http2.parse_priority(b"\x80\0\0\x07\xff") == (7, 256, True)
    assert http2.parse_priority(b"\0\0\0\0\0") == (0, 1, False)


def test_priority_update() -> None:
    assert http2.parse_priority_update(b"\x80\0\0\x07u=0, i") == (7, b"u=0, i")


def test_headers() -> None:
    assert http2.encode_headers(1, b"block") == frame(wire.HEADERS, 1, b"block", flags=wire.END_HEADERS)
    flags = wire.END_HEADERS | wire.END_STREAM
    assert http2.encode_headers(1, b"block", end=True) == frame(wire.HEADERS, 1, b"block", flags=flags)


@pytest.mark.parametrize("size", [4, 5])
def test_a_header_block_that_is_split(size: int) -> None:
    """END_STREAM stands in HEADERS, END_HEADERS in the last frame."""
    assert http2.encode_headers(1, b"0123456789", end=True, max_frame_size=size) == b"".join(
        frame(
            wire.CONTINUATION if start else wire.HEADERS,
            1,
            b"0123456789"[start : start + size],
            flags=(0 if start else wire.END_STREAM) | (wire.END_HEADERS if start + size >= 10 else 0),
        )
        for start in range(0, 10, size)
    )


def test_push_promise() -> None:
    block = b"\0\0\0\x02block"
    assert http2.encode_push_promise(1, 2, b"block") == frame(wire.PUSH_PROMISE, 1, block, flags=wire.END_HEADERS)
    assert http2.encode_push_promise(1, 2, b"block", max_frame_size=6) == (
        frame(wire.PUSH_PROMISE, 1, block[:6]) + frame(wire.CONTINUATION, 1, block[6:], flags=wire.END_HEADERS)
    )
    assert http2.parse_push_promise(0, b"\x80" + block[1:]) == (2, b"block")
    assert http2.parse_push_promise(wire.PADDED, b"\x02" + block + b"\0\0") == (2, b"block")


def test_padding_and_priority_of_headers() -> None:
    priority = b"\x80\0\0\x07\x0f"
    assert http2.parse_headers(0, b"block") == (b"block", None)
    assert http2.parse_headers(wire.PADDED, b"\x02block\0\0") == (b"block", None)
    assert http2.parse_headers(wire.HAS_PRIORITY, priority + b"block") == (b"block", (7, 16, True))
    both = wire.HAS_PRIORITY | wire.PADDED
    assert http2.parse_headers(both, b"\x01" + priority + b"block\0") == (b"block", (7, 16, True))
    assert http2.strip_padding(wire.HEADERS, b"\0") == b""


Parser = Callable[[bytes], object]


def of_headers(flags: int) -> Parser:
    return lambda body: http2.parse_headers(flags, body)


def of_push_promise(flags: int) -> Parser:
    return lambda body: http2.parse_push_promise(flags, body)


@pytest.mark.parametrize(
    ("parse", "body", "reason"),
    [
        (http2.parse_settings, bytes(5), "SETTINGS has a length of 5; it must be a multiple of 6"),
        (http2.parse_rst_stream, bytes(3), "RST_STREAM has a length of 3; it must be 4"),
        (http2.parse_rst_stream, bytes(5), "RST_STREAM has a length of 5; it must be 4"),
        (http2.parse_window_update, bytes(3), "WINDOW_UPDATE has a length of 3; it must be 4"),
        (http2.parse_window_update, bytes(5), "WINDOW_UPDATE has a length of 5; it must be 4"),
        (http2.parse_ping, bytes(7), "PING has a length of 7; it must be 8"),
        (http2.parse_ping, bytes(9), "PING has a length of 9; it must be 8"),
        (http2.parse_goaway, bytes(7), "GOAWAY has a length of 7; it must be at least 8"),
        (http2.parse_priority, bytes(4), "PRIORITY has a length of 4; it must be 5"),
        (http2.parse_priority, bytes(6), "PRIORITY has a length of 6; it must be 5"),
        (http2.parse_priority_update, bytes(3), "PRIORITY_UPDATE has a length of 3; it must be at least 4"),
        (
            of_headers(wire.PADDED),
            b"",
            "HEADERS has a length of 0; it must be at least 1, as it says that it is padded",
        ),
        (of_headers(wire.HAS_PRIORITY), bytes(4), "HEADERS has a length of 4; it must be at least 5"),
        (of_push_promise(0), bytes(3), "PUSH_PROMISE has a length of 3; it must be at least 4"),
    ],
    ids=lambda value: value.__name__.strip("<>") if callable(value) else None,
)
def test_a_body_of_a_wrong_size(parse: Parser, body: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason) as caught:
        parse(body)
    assert caught.value.code is Http2Code.FRAME_SIZE_ERROR


@pytest.mark.parametrize("parse", [of_headers(wire.PADDED), of_push_promise(wire.PADDED)], ids=["headers", "push"])
@pytest.mark.parametrize("padding", [6, 7, 255])
def test_padding_that_fills_a_body(parse: Parser, padding: int) -> None:
    """With the byte that says so, five of padding are the most that fit into six."""
    with pytest.raises(ProtocolError, match=f"{padding} bytes of padding in a payload of 6") as caught:
        parse(bytes([padding]) + bytes(5))
    assert caught.value.code is Http2Code.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("parse", "fixed"),
    [(of_headers(wire.PADDED | wire.HAS_PRIORITY), 5), (of_push_promise(wire.PADDED), 4)],
    ids=["headers", "push"],
)
def test_padding_that_leaves_less_than_is_always_there(parse: Parser, fixed: int) -> None:
    parse(b"\x03" + bytes(fixed) + bytes(3))
    with pytest.raises(ProtocolError, match="4 bytes of padding") as caught:
        parse(b"\x04" + bytes(fixed) + bytes(3))
    assert caught.value.code is Http2Code.PROTOCOL_ERROR
    with pytest.raises(ProtocolError, match=f"it must be at least {fixed + 1}") as caught:
        parse(b"\0" + bytes(fixed - 1))
    assert caught.value.code is Http2Code.FRAME_SIZE_ERROR
