"""What all servers of HTTP/2 answer, and the same as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Message = dict[str, Any]

__all__ = ["BULK", "SMALL", "app"]

SMALL: Final = b"hello\n"
"""What `/` answers, also to a POST whose body was read."""

BULK: Final = bytes(8 * 2**20)
"""What `/bulk` answers."""


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    body = BULK if scope["path"] == "/bulk" else SMALL
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
