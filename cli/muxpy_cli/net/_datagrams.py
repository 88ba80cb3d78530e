"""Talking to a target by UDP."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Self

import trio

from ..specs import family_of, socket_address
from ..wire import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Datagrams"]


class Datagrams:
    """A socket that talks to one of a target's addresses.

    UDP connects without asking, so the first address always seems to be right. If the target says that nobody listens
    there (an ICMP message, ECONNREFUSED), and nothing has come from it yet, what was sent last goes to the next one.
    """

    def __init__(
        self, addresses: Sequence[str], port: int, reached: Callable[[trio.socket.SocketType], None] | None = None
    ) -> None:
        """Raises the last OSError if no address can be used at all, or what `reached` raises for the first that can."""
        self._addresses = deque(addresses)
        """The one that is talked to comes first."""
        self._port = port
        self._reached = reached
        self._is_right = len(addresses) == 1
        self._sent = b""
        self._untried = 0
        """Addresses that what was sent last has not gone to."""
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
        """Send one; raises OSError if it is lost."""
        self._sent, self._untried = datagram, len(self._addresses) - 1
        present = self._socket
        try:
            await present.send(datagram)
        except ConnectionRefusedError:  # to the one before
            if self._is_right:
                raise
            self._go_on()
        except trio.ClosedResourceError:  # while it waited for room: the receiver has sent it on
            if present is self._socket:
                raise

    async def receive(self, size: int) -> bytes:
        """The next one; raises OSError if one that was sent is lost."""
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
        """Send it to the next address. Nothing is awaited, since sender and receiver may both find out."""
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
        """To the first address, with a datagram on its way. Raises OSError, and what `reached` does."""
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
