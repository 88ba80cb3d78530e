"""What a client may do before it knows the server's settings."""

from __future__ import annotations

from muxpy._http_config import Config as HttpConfig
from muxpy.frame.http2 import Setting, encode_settings
from muxpy.proto import Opening
from muxpy.proto.http2 import Connection

GET = Opening(head=((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")))


def test_one_request_goes_immediately_and_the_rest_waits_for_the_servers_limit() -> None:
    client = Connection(HttpConfig(), client=True, clock=lambda: 0.0)
    assert client.may_open
    client.open(GET, fin=True)
    assert not client.may_open
    changes = client.receive(encode_settings({Setting.MAX_CONCURRENT_STREAMS: 2}))
    assert changes.may_open_again
    assert client.may_open
    client.open(GET, fin=True)
    assert not client.may_open


def test_a_server_without_a_limit_takes_any_number() -> None:
    client = Connection(HttpConfig(), client=True, clock=lambda: 0.0)
    client.receive(encode_settings({}))
    for _ in range(1000):
        assert client.may_open
        client.open(GET, fin=True)
