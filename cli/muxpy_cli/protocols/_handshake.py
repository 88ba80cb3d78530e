"""The common interface of the proxies' handshakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..specs import Address

__all__ = ["Handshake"]


class Handshake(Protocol):
    """The proxy's end of one client's handshake, without I/O.

    Give it what the client sends until `request` or `failed` is set, and send the client what it returns. Then, after
    `failed`, close the connection; after `request`, connect, send what `answer` returns, and, if it was a success,
    relay: `rest` first, which are bytes that the client sent early.
    """

    request: Address | None
    """Where the client wants to go, the name not resolved; None as long as that is not known."""
    rest: bytes
    """The bytes after the request, which are not part of the handshake."""
    failed: str | None
    """Why there is no request, for people; None if there is one or may still be."""

    def receive(self, data: bytes) -> bytes:
        """Handle what the client sent, and return what to send it now. Raises nothing, whatever the bytes are."""
        ...

    def answer(self, reason: str | None) -> bytes:
        """What to tell the client: None that it is connected, otherwise why not, as one of the wire's REASONS.

        An unknown reason counts as "failed". RuntimeError if there is no request.
        """
        ...
