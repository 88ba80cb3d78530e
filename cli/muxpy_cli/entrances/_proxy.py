"""Clients that name their target themselves: SOCKS and HTTP proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ..protocols import HttpProxy, SocksServer
from ..specs import Kind

if TYPE_CHECKING:
    from ..protocols import Handshake
    from ..specs import Address

__all__ = ["NotServed", "greet", "handshake_for"]

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds for a client to name its target: silent clients must not wait without end."""
READ_SIZE: Final = 4096


class NotServed(Exception):
    """The client asked for nothing that can be served; the message says what it did, "" if it just went away."""


def handshake_for(kind: Kind) -> Handshake:
    """The proxy's side of a new client's handshake."""
    return SocksServer() if kind is Kind.SOCKS else HttpProxy()


async def greet(near: trio.abc.HalfCloseableStream, handshake: Handshake, early: bytes = b"") -> Address:
    """Talk with the client until it has named its target; `early` is what it has already sent.

    Raises NotServed after the client was told. Leaves `near` open.
    """
    data: bytes | bytearray = early
    with trio.move_on_after(HANDSHAKE_TIMEOUT):
        try:
            while True:
                if data and (reply := handshake.receive(bytes(data))):
                    await near.send_all(reply)
                if handshake.failed is not None:
                    await near.send_eof()
                    raise NotServed(handshake.failed)
                if handshake.request is not None:
                    return handshake.request
                data = await near.receive_some(READ_SIZE)
                if not data:
                    raise NotServed("")
        except trio.BrokenResourceError:
            raise NotServed("") from None
    raise NotServed(f"it did not say within {HANDSHAKE_TIMEOUT:g} seconds where it wants to go")
