"""Which other protocol the first bytes of a connection may be, if they are not muxado: for an error that a person can
act on."""

from typing import Final

from muxpy.frame import Buffer

from ._header import GOAWAY, HEADER, HEADER_SIZE, RST, SYN

__all__ = ["looks_like", "looks_like_muxado"]

_HTTP_METHODS: Final = tuple(b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT".split())

# None is longer than a frame's header, so the bytes that make an illegal header are enough to tell.
_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x16\x03", "TLS"),  # a handshake record, RFC 8446, 5.1
    (b"\x15\x03", "TLS"),  # an alert
    (b"PRI * HT", "HTTP/2"),  # RFC 9113, 3.4
    *((method + b" ", "an HTTP request") for method in _HTTP_METHODS),
    (b"HTTP/", "an HTTP server's answer"),
    (b"SSH-", "SSH"),  # RFC 4253, 4.2
    (b"PROXY ", "a PROXY protocol header"),
    (b"\r\n\r\n\x00\r\nQ", "a PROXY protocol header"),
    (b"\x05\x01\x00", "a SOCKS 5 request"),
    (b"\x05\x02\x00", "a SOCKS 5 request"),
    (b"\x04\x01", "a SOCKS 4 request"),
    (b"220 ", "a mail or FTP server's greeting"),
    (b"220-", "a mail or FTP server's greeting"),
)


def looks_like(data: Buffer) -> str | None:
    """Which protocol bytes that are not muxado look like; None for none of those above."""
    start = bytes(data[:HEADER_SIZE])
    if looks_like_muxado(start):  # the length of a GOAWAY may be the bytes that another protocol begins with
        return None
    for beginning, name in _BEGINNINGS:
        if start.startswith(beginning):
            return name
    return None


def looks_like_muxado(data: Buffer) -> bool:
    """Whether a connection begins with a frame that a muxado peer may send first."""
    if len(data) < HEADER_SIZE:
        return False
    header: tuple[int, int, int, int] = HEADER.unpack_from(data)
    length, _, kind, stream_id = header
    if kind == GOAWAY:
        return stream_id == 0
    return (kind == SYN and length in (0, 4, 8) and stream_id >= 2) or (kind == RST and length == 4)
