"""Other protocols are told by their first bytes."""

import ssl

import pytest

from muxpy.frame.muxado import looks_like, looks_like_muxado
from tests.frame import wire


def client_hello() -> bytes:
    """What a real TLS client sends first."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.org")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


STRANGERS = [
    (client_hello(), "TLS"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
    (b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "an HTTP request"),
    (b"PATCH /x HTTP/1.1\r\n", "an HTTP request"),
    (b"CONNECT example.org:443 HTTP/1.1\r\n", "an HTTP request"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    (b"HTTP/1.1 400 Bad Request\r\n", "an HTTP server's answer"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a PROXY protocol header"),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "a PROXY protocol header"),
    (b"\x05\x01\x00", "a SOCKS 5 request"),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "a SOCKS 4 request"),
    (b"220 mail.example.org ESMTP\r\n", "a mail or FTP server's greeting"),
]


@pytest.mark.parametrize(("data", "name"), STRANGERS)
def test_strangers_are_known_by_their_first_bytes(data: bytes, name: str) -> None:
    assert looks_like(data) == name
    assert looks_like(memoryview(bytearray(data))) == name
    assert not looks_like_muxado(data)


@pytest.mark.parametrize("data", [b"", b"\x16", b"GET", b"nobody knows this", bytes(64)])
def test_what_nobody_knows_has_no_name(data: bytes) -> None:
    assert looks_like(data) is None


@pytest.mark.parametrize(
    "frame", [wire.syn(3), wire.syn(2, priority=7, stream_type=9), wire.goaway(0), wire.go_peers_goaway(0, 1, 5)]
)
def test_what_a_muxado_peer_sends_first_is_known(frame: bytes) -> None:
    assert looks_like_muxado(frame)
    assert looks_like(frame) is None
    assert not looks_like_muxado(frame[:7])
