"""What the proxies' handshakes have in common."""

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
    """What came after the request. It is not part of the handshake."""
    failed: str | None
    """Why this became no request, for a person; None if it did or still may."""

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent, and return what to send it now. It raises nothing, whatever the bytes are."""
        ...

    def answer(self, reason: str | None) -> bytes:
        """What to tell the client: None that it is connected, otherwise why not, as one of the wire's REASONS.

        A reason that is not known counts as "failed". RuntimeError if there is no request.
        """
        ...
