"""A response that is whole stays whole, whatever the server then says of the rest of the request."""

from __future__ import annotations

import pytest

from muxpy._http_config import Config as HttpConfig
from muxpy.frame.http2 import HpackEncoder, Http2Code, encode_headers, encode_rst_stream, encode_settings
from muxpy.frame.http2 import encode_data_header as data_header
from muxpy.proto import Opening
from muxpy.proto.http2 import Connection, HttpStream

HEAD = ((b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))


def opened(head: tuple[tuple[bytes, bytes], ...]) -> tuple[Connection, HttpStream]:
    client = Connection(HttpConfig(), client=True, clock=lambda: 0.0)
    client.receive(encode_settings({}))
    return client, client.open(Opening(head=head))


def answered(end: bool) -> bytes:
    head = encode_headers(1, HpackEncoder().encode(((b":status", b"413"),)), False, 16_384)
    return head + data_header(1, 3, end) + b"no!"


@pytest.mark.parametrize("code", [Http2Code.NO_ERROR, Http2Code.CANCEL, Http2Code.INTERNAL_ERROR], ids=lambda c: c.name)
def test_a_reset_after_the_end_leaves_the_response(code: Http2Code) -> None:
    client, stream = opened(((b":method", b"POST"), *HEAD))
    client.receive(answered(end=True))
    client.receive(encode_rst_stream(1, code))
    assert stream.phase.peer_done
    assert not stream.phase.sends
    assert client.read(stream, None) == b"no!"
    assert stream.reset_code == code  # for whoever still sends
    assert client.open_streams == 0


def test_a_reset_before_the_end_does_not() -> None:
    client, stream = opened(((b":method", b"POST"), *HEAD))
    client.receive(answered(end=False))
    client.receive(encode_rst_stream(1, Http2Code.CANCEL))
    assert not stream.phase.peer_done
    assert client.read(stream, None) == b""
