"""The server's end of SOCKS 5 (RFC 1928, RFC 1929), SOCKS 4 and 4a.

Only CONNECT is supported. Names are passed on as they are: the other end of the tunnel resolves them.

Every field is bounded by its length byte, or by MAX_STRING where the protocol has no bound, so a handshake never keeps
more than about a KiB.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from typing import Final

from ..specs import Address, check_host, ipv6

__all__ = ["SocksServer"]

MAX_STRING: Final = 255
"""Bytes of a zero-terminated string of SOCKS 4: as many as SOCKS 5, with its length byte, allows."""

# RFC 1928, section 3 and 4
NO_AUTHENTICATION: Final = 0
USER_AND_PASSWORD: Final = 2
NONE_ACCEPTABLE: Final = 0xFF
CONNECT: Final = 1
IPV4: Final = 1
NAME: Final = 3
IPV6: Final = 4

# RFC 1928, section 6, has no replies for "not resolved" and "timeout"; these are Tor's, which clients know: host
# unreachable and TTL expired.
REPLIES: Final = {"forbidden": 2, "unreachable": 4, "unresolved": 4, "refused": 5, "timeout": 6}
GENERAL_FAILURE: Final = 1
COMMAND_NOT_SUPPORTED: Final = 7
ADDRESS_NOT_SUPPORTED: Final = 8

GRANTED_4: Final = 90
REJECTED_4: Final = 91

# A browser that takes this for an HTTP proxy shows this text.
NOT_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"This is a SOCKS proxy, not an HTTP proxy.\n"
)
HTTP_METHODS: Final = b"CDGHOPT"
"""The first letters of CONNECT, DELETE, GET, HEAD, OPTIONS, POST and TRACE."""
TLS_HANDSHAKE: Final = 0x16

Steps = Generator[None, None, bytes]
"""Yields while it waits for bytes."""


class _Failed(Exception):
    """The handshake is over. `reply` is what the client gets."""

    def __init__(self, why: str, reply: bytes = b"") -> None:
        super().__init__(why)
        self.reply = reply


class SocksServer:
    """One client's handshake; see Handshake for how to use it. Any user and password is accepted."""

    def __init__(self) -> None:
        self.request: Address | None = None
        self.failed: str | None = None
        self.rest = b""
        self._version = 5
        self._data = bytearray()
        self._replies = bytearray()
        self._steps = self._handshake()

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent, and return what to send it now; sets `request` and `rest`, or `failed`."""
        self._data += data
        if self.request is None and self.failed is None:
            self._step()
        if self.request is not None:
            self.rest += bytes(self._data)
        if self.request is not None or self.failed is not None:
            self._data.clear()
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def answer(self, reason: str | None) -> bytes:
        """The reply to the request: None for success, or one of the wire's REASONS. RuntimeError without a request."""
        if self.request is None:
            raise RuntimeError("there is no request to answer")
        if self._version == 4:
            return _reply4(GRANTED_4 if reason is None else REJECTED_4)
        return _reply5(0 if reason is None else REPLIES.get(reason, GENERAL_FAILURE))

    def _step(self) -> None:
        try:
            next(self._steps)
        except StopIteration as done:
            self.request = done.value
        except _Failed as failure:
            self.failed = str(failure)
            self._replies += failure.reply

    # The handshake is written as if reading could wait; each step continues once its bytes are there, however split.

    def _handshake(self) -> Generator[None, None, Address]:
        self._version = version = (yield from self._read(1))[0]
        if version == 5:
            return (yield from self._version5())
        if version == 4:
            return (yield from self._version4())
        if version == TLS_HANDSHAKE:
            raise _Failed("the client speaks TLS, not SOCKS")
        if version in HTTP_METHODS:
            raise _Failed("the client speaks HTTP, not SOCKS", NOT_HTTP)
        raise _Failed(f"the client does not speak SOCKS: its first byte is 0x{version:02x}")

    def _version5(self) -> Generator[None, None, Address]:
        methods = yield from self._read_counted()
        method = _choose(methods)
        self._replies += bytes([5, method])
        if method == USER_AND_PASSWORD:
            yield from self._authenticate()
        version, command, _, kind = yield from self._read(4)
        if version != 5:
            raise _Failed(f"the client changed to SOCKS version {version}", _reply5(GENERAL_FAILURE))
        # The request is read to its end before it is refused: closing with unread bytes would reset the connection, and
        # the client might never see the reply.
        host = yield from self._read_host(kind)
        port = int.from_bytes((yield from self._read(2)), "big")
        if command != CONNECT:
            raise _Failed(f"the client asks for command {command}, not CONNECT", _reply5(COMMAND_NOT_SUPPORTED))
        _check(host, port, _reply5(GENERAL_FAILURE))
        return Address(host, port)

    def _authenticate(self) -> Generator[None, None, None]:
        """RFC 1929."""
        version = (yield from self._read(1))[0]
        if version != 1:
            raise _Failed(f"the client authenticates with version {version}, not 1", b"\x01\x01")
        yield from self._read_counted()
        yield from self._read_counted()
        self._replies += b"\x01\x00"

    def _read_host(self, kind: int) -> Generator[None, None, str]:
        if kind == IPV4:
            return str(ipaddress.IPv4Address((yield from self._read(4))))
        if kind == IPV6:
            return str(ipaddress.IPv6Address((yield from self._read(16))))
        if kind == NAME:
            return _name((yield from self._read_counted()))
        raise _Failed(f"the client gives an address of type {kind}", _reply5(ADDRESS_NOT_SUPPORTED))

    def _version4(self) -> Generator[None, None, Address]:
        rejected = _reply4(REJECTED_4)
        command, *number = yield from self._read(7)
        port, address = int.from_bytes(number[:2], "big"), bytes(number[2:])
        yield from self._read_string("user")
        host = str(ipaddress.IPv4Address(address))
        if address[:3] == b"\0\0\0" and address[3]:  # 4a: an impossible address means that a name follows
            host = _name((yield from self._read_string("host")))
        if command != CONNECT:
            raise _Failed(f"the client asks for command {command}, not CONNECT", rejected)
        _check(host, port, rejected)
        return Address(host, port)

    def _read(self, size: int) -> Steps:
        """The next `size` bytes."""
        while len(self._data) < size:
            yield
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def _read_counted(self) -> Steps:
        """As many bytes as their length byte says."""
        size = yield from self._read(1)
        return (yield from self._read(size[0]))

    def _read_string(self, what: str) -> Steps:
        """The bytes before a zero byte."""
        # Bytes beyond the limit are not looked at, so that it does not matter how the bytes are split.
        while (end := self._data.find(0, 0, MAX_STRING + 1)) < 0:
            if len(self._data) > MAX_STRING:
                raise _Failed(f"the client's {what} is longer than {MAX_STRING} bytes", _reply4(REJECTED_4))
            yield
        taken = yield from self._read(end + 1)
        return taken[:-1]


def _choose(methods: bytes) -> int:
    """The authentication method, out of those that the client offers."""
    if NO_AUTHENTICATION in methods:
        return NO_AUTHENTICATION
    if USER_AND_PASSWORD in methods:  # some programs offer nothing else once they were given a user
        return USER_AND_PASSWORD
    raise _Failed("the client offers no way to authenticate that is known here", bytes([5, NONE_ACCEPTABLE]))


def _check(host: str, port: int, reply: bytes) -> None:
    if problem := check_host(host):
        raise _Failed(f"the client asks for a wrong host: {problem}", reply)
    if port == 0:
        raise _Failed(f"the client asks for port 0 of {host}", reply)


def _name(data: bytes) -> str:
    """A host name as text. Invalid UTF-8 becomes something that check_host refuses.

    Some clients send an IPv6 address as a name, as it stands in a URL: in brackets.
    """
    text = data.decode("utf-8", "surrogateescape")
    return (ipv6(text[1:-1]) if text[:1] + text[-1:] == "[]" else None) or text


def _reply5(code: int) -> bytes:
    """RFC 1928, section 6. The bound address is at the tunnel's other end, so it is given as 0.0.0.0:0."""
    return bytes([5, code, 0, IPV4]) + bytes(6)


def _reply4(code: int) -> bytes:
    """The eight bytes of a SOCKS 4 reply; clients look at the second."""
    return bytes([0, code]) + bytes(6)
