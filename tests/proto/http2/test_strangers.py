"""A peer that speaks something else than HTTP/2 is told so, in words."""

from __future__ import annotations

import pytest

from muxpy.frame.http2 import Http2Code
from tests.frame import wire as muxado
from tests.frame.http2 import wire
from tests.frame.http2.wire import frame
from tests.frame.test_strangers import STRANGERS

from .side import PREFACE, Side

OTHERS = [
    *((data, name) for data, name in STRANGERS if name != "HTTP/2"),
    (muxado.syn(3, priority=0x7FFFFFFF, stream_type=muxado.EXTENSION), "muxado"),
    (muxado.syn(3), "muxado"),
    (muxado.syn(2, priority=1), "muxado"),
    (muxado.syn(2, stream_type=9), "muxado"),
]


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("step", [8, 1000])
@pytest.mark.parametrize(("data", "name"), OTHERS)
def test_the_error_names_the_stranger(client: bool, data: bytes, name: str, step: int) -> None:
    side = Side(client=client)
    for start in range(0, len(data), step):
        side.receive(data[start : start + step])
    side.core.receive_eof()
    error = side.core.error
    assert error is not None
    assert error.code is Http2Code.PROTOCOL_ERROR
    assert error.reason.startswith(f"this looks like {name}, not HTTP/2: ")
    assert f"this looks like {name}".encode() in side.sent()


def test_a_client_that_meets_a_client_asks_for_that() -> None:
    side = Side(client=True)
    side.receive(PREFACE, frame(wire.SETTINGS, 0))
    error = side.core.error
    assert error is not None
    assert error.code is Http2Code.PROTOCOL_ERROR
    assert "are both sides the client?" in error.reason


def test_after_the_first_settings_nothing_looks_like_anything_else() -> None:
    side = Side()
    side.begin()
    side.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert side.core.error is not None
    assert "looks like" not in side.core.error.reason


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_a_first_frame_that_is_wrong_is_just_wrong(client: bool) -> None:
    side = Side(client=client)
    side.receive(b"" if client else PREFACE, frame(wire.SETTINGS, 0, bytes(5)))
    assert side.core.error is not None
    assert side.core.error.code is Http2Code.FRAME_SIZE_ERROR
    assert "looks like" not in side.core.error.reason


@pytest.mark.parametrize("begin", [b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", b"PRI *"])
def test_a_preface_that_is_cut_off_is_no_clean_end(begin: bytes) -> None:
    side = Side()
    side.receive(begin)
    assert not side.core.receive_eof()
