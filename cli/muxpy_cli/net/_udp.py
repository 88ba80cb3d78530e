"""Bound UDP sockets whose answers leave from the address that was asked.

A socket that is bound to all addresses of a machine would send from whichever address the route begins with, and a
client that has connected its own socket, as most resolvers do, never sees an answer from another address than the one
that it asked.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Sender", "UdpSocket"]

_Ancillary: TypeAlias = tuple[tuple[int, int, bytes], ...]

_IP_PKTINFO: Final[int | None] = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)
"""Python knows the name since 3.14; the number is Linux's, see ip(7)."""
_IPV6_RECVPKTINFO: Final[int | None] = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6_PKTINFO: Final[int | None] = getattr(socket, "IPV6_PKTINFO", None)

_IN_PKTINFO: Final = Struct("=I4s4s")
"""Interface, local address, destination in the header."""
_IN6_PKTINFO: Final = Struct("=16sI")
"""Address, interface."""

_WILDCARDS: Final = {"0.0.0.0", "::"}
_ROOM: Final = socket.CMSG_SPACE(_IN_PKTINFO.size) + socket.CMSG_SPACE(_IN6_PKTINFO.size)


class Sender(NamedTuple):
    """Who sent a datagram, and which of this machine's addresses it was sent to. Equal for datagrams of one flow."""

    address: tuple[Any, ...]
    asked: _Ancillary = ()
    """For `sendmsg`, to answer from there. Nothing if the socket has one address anyway."""


class UdpSocket:
    """A bound socket, which it closes."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = trio.socket.from_stdlib_socket(bound)
        self._wildcard = bound.getsockname()[0] in _WILDCARDS and _ask_for_destination(bound)

    def close(self) -> None:
        """Take and send no more."""
        self._socket.close()

    async def receive(self, size: int) -> tuple[bytes, Sender]:
        """The next datagram. Raises OSError, which may be about one that was sent before."""
        if not self._wildcard:
            datagram, address = await self._socket.recvfrom(size)
            return datagram, Sender(address)
        datagram, ancillary, _, sender = await self._socket.recvmsg(size, _ROOM)
        return datagram, Sender(cast("tuple[Any, ...]", sender), _answer_from(ancillary))

    async def send(self, datagram: bytes, to: Sender) -> None:
        """Answer a sender. Raises OSError."""
        if to.asked:
            await self._socket.sendmsg([datagram], to.asked, 0, to.address)
        else:
            await self._socket.sendto(datagram, to.address)


def _ask_for_destination(bound: socket.socket) -> bool:
    """Have the system say where each datagram was sent to; False where it has no such option."""
    v6 = bound.family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO) if v6 else (socket.IPPROTO_IP, _IP_PKTINFO)
    with suppress(OSError):
        if option is not None:
            bound.setsockopt(level, option, 1)
            return True
    return False


def _answer_from(ancillary: Iterable[tuple[int, int, bytes]]) -> _Ancillary:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _IN_PKTINFO.size:
            # The local address, which is not the header's for a broadcast. The route chooses the interface.
            _, local, _ = _IN_PKTINFO.unpack_from(data)
            return ((level, kind, _IN_PKTINFO.pack(0, local, bytes(4))),)
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) >= _IN6_PKTINFO.size:
            return _answer_from_v6(*_IN6_PKTINFO.unpack_from(data))
    return ()


def _answer_from_v6(asked: bytes, interface: int) -> _Ancillary:
    if asked[0] == 0xFF:  # multicast, from which nothing can be sent
        return ()
    link_local = asked[0] == 0xFE and asked[1] & 0xC0 == 0x80  # which means something on its interface only
    assert _IPV6_PKTINFO is not None
    return ((socket.IPPROTO_IPV6, _IPV6_PKTINFO, _IN6_PKTINFO.pack(asked, interface if link_local else 0)),)
