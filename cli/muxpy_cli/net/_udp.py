"""UDP: bound sockets whose answers leave from the address that was asked, and sockets that talk to one target.

A socket that is bound to all addresses of a machine would send from the address that the route starts with. A client
whose own socket is connected, as with most resolvers, never sees an answer from another address than it asked.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias, cast

import trio

from ..specs import family_of, socket_address
from ..wire import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Datagrams", "Sender", "UdpSocket"]


_Ancillary: TypeAlias = tuple[tuple[int, int, bytes], ...]

_IP_PKTINFO: Final[int | None] = getattr(socket, "IP_PKTINFO", 8 if sys.platform == "linux" else None)
"""Python has the name since 3.14; the number is Linux's, see ip(7)."""
_IPV6_RECVPKTINFO: Final[int | None] = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV6_PKTINFO: Final[int | None] = getattr(socket, "IPV6_PKTINFO", None)

_IN_PKTINFO: Final = Struct("=I4s4s")
"""Interface, local address, destination in the header."""
_IN6_PKTINFO: Final = Struct("=16sI")
"""Address, interface."""

_WILDCARDS: Final = {"0.0.0.0", "::"}
_ROOM: Final = socket.CMSG_SPACE(_IN_PKTINFO.size) + socket.CMSG_SPACE(_IN6_PKTINFO.size)


class Sender(NamedTuple):
    """The sender of a datagram, and which of this machine's addresses it asked. Equal for datagrams of one flow."""

    address: tuple[Any, ...]
    asked: _Ancillary = ()
    """For `sendmsg`, to answer from that address. Empty if the socket has only one."""


class UdpSocket:
    """A bound socket, which it closes."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = trio.socket.from_stdlib_socket(bound)
        self._wildcard = bound.getsockname()[0] in _WILDCARDS and _ask_for_destination(bound)

    def close(self) -> None:
        """Receive and send no more."""
        self._socket.close()

    async def receive(self, size: int) -> tuple[bytes, Sender]:
        """The next datagram. Raises OSError, which may be about an earlier one that was sent."""
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
    """Ask the system for the destination of each datagram; False if it has no such option."""
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
    if asked[0] == 0xFF:  # multicast: nothing can be sent from it
        return ()
    link_local = asked[0] == 0xFE and asked[1] & 0xC0 == 0x80  # valid on its interface only
    assert _IPV6_PKTINFO is not None
    return ((socket.IPPROTO_IPV6, _IPV6_PKTINFO, _IN6_PKTINFO.pack(asked, interface if link_local else 0)),)


# ---- talking to a target ----


class Datagrams:
    """A socket that talks to one of a target's addresses.

    UDP connects without a handshake, so the first address always seems right. If an ICMP message says that nobody
    listens there (ECONNREFUSED), and nothing has come from it yet, the last datagram is sent to the next address.
    """

    def __init__(
        self, addresses: Sequence[str], port: int, reached: Callable[[trio.socket.SocketType], None] | None = None
    ) -> None:
        """Raises the last OSError if no address can be used, or what `reached` raises for the first usable one."""
        self._addresses = deque(addresses)
        """The one in use comes first."""
        self._port = port
        self._reached = reached
        self._is_right = len(addresses) == 1
        self._sent = b""
        self._untried = 0
        """Addresses that the last datagram has not been sent to."""
        failure: OSError = TimeoutError()
        for _ in addresses:
            try:
                self._socket = self._connected()
                return
            except OSError as error:
                failure = error
                self._addresses.rotate(-1)
        raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def send(self, datagram: bytes) -> None:
        """Send a datagram; raises OSError if it is lost."""
        self._sent, self._untried = datagram, len(self._addresses) - 1
        present = self._socket
        try:
            await present.send(datagram)
        except ConnectionRefusedError:  # about the previous datagram
            if self._is_right:
                raise
            self._go_on()
        except trio.ClosedResourceError:  # closed while it waited for room: the receiving side has moved on and sent it
            if present is self._socket:
                raise

    async def receive(self, size: int) -> bytes:
        """The next datagram; raises OSError if one that was sent is lost."""
        while True:
            present = self._socket
            try:
                datagram = await present.recv(size)
            except ConnectionRefusedError:
                if self._is_right:
                    raise
                self._go_on()
            except trio.ClosedResourceError:
                if present is self._socket:
                    raise
            else:
                self._is_right = True
                return datagram

    def _go_on(self) -> None:
        """Send the last datagram to the next address. Awaits nothing, since both directions may call it."""
        while self._untried:
            self._untried -= 1
            self._addresses.rotate(-1)
            try:
                one = self._connected(self._sent)
            except (OSError, Refused):
                continue
            self._socket.close()
            self._socket = one
            return
        raise ConnectionRefusedError

    def _connected(self, datagram: bytes | None = None) -> trio.socket.SocketType:
        """A socket connected to the first address, with the datagram sent. Raises OSError, and what `reached` does."""
        address = self._addresses[0]
        plain = socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            plain.connect(socket_address(address, self._port))
            one = trio.socket.from_stdlib_socket(plain)
            if self._reached is not None:
                self._reached(one)
            if datagram is not None:
                plain.send(datagram)
        except BaseException:
            plain.close()
            raise
        return one
