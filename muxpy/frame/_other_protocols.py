"""Which protocol the first bytes of a connection may be, if they are not of the one that is spoken here: for an error
that a person can act on."""

from typing import Final

__all__ = ["ENOUGH", "known_beginning"]

ENOUGH: Final = 8
"""Bytes that tell the protocols below from each other: as many as the shortest header of a frame here has, so the bytes
that make an illegal header are enough."""

_HTTP_METHODS: Final = tuple(b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT".split())

_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x16\x03", "TLS"),  # a handshake record, RFC 8446, 5.1
    (b"\x15\x03", "TLS"),  # an alert
    (b"PRI * HT", "HTTP/2"),  # RFC 9113, 3.4
    *((method + b" ", "an HTTP request") for method in _HTTP_METHODS),
    (b"HTTP/", "an HTTP server's answer"),
    *((tag, "an HTTP server's answer") for tag in (b"<!DOCTY", b"<!docty", b"<html", b"<HTML")),  # without a head
    (b"SSH-", "SSH"),  # RFC 4253, 4.2
    (b"PROXY ", "a PROXY protocol header"),
    (b"\r\n\r\n\x00\r\nQ", "a PROXY protocol header"),
    (b"\x05\x01\x00", "a SOCKS 5 request"),
    (b"\x05\x02\x00", "a SOCKS 5 request"),
    (b"\x04\x01", "a SOCKS 4 request"),
    (b"220 ", "a mail or FTP server's greeting"),
    (b"220-", "a mail or FTP server's greeting"),
    # A SYN of muxado with nothing in it, a priority, a type, or both, as that of a heartbeat has.
    (b"\x00\x00\x00\x01", "muxado"),
    (b"\x00\x04\x02\x01", "muxado"),
    (b"\x00\x04\x04\x01", "muxado"),
    (b"\x00\x08\x06\x01", "muxado"),
)


def known_beginning(start: bytes) -> str | None:
    """The protocol whose connections begin like this; None for none of those above."""
    return next((name for beginning, name in _BEGINNINGS if start.startswith(beginning)), None)
