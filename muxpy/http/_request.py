"""A request, as users see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._headers import Headers

if TYPE_CHECKING:
    from muxpy.proto.http2 import RequestHead

__all__ = ["Request"]


class Request:
    """What a client asks for. All text is Latin-1 of the bytes on the wire; `path` is as it was sent, with the query,
    and nothing in it is decoded."""

    __slots__ = ("_head",)

    def __init__(self, head: RequestHead) -> None:
        self._head = head

    @property
    def method(self) -> str:
        """Such as `GET`."""
        return self._head.method.decode("latin-1")

    @property
    def scheme(self) -> str:
        """`http` or `https`; empty for CONNECT."""
        return self._head.scheme.decode("latin-1")

    @property
    def authority(self) -> str:
        """Host and port, as the client has written them (`:authority`, or else `host`); empty if it gave none."""
        return self._head.authority.decode("latin-1")

    @property
    def path(self) -> str:
        """With the query; empty for CONNECT."""
        return self._head.path.decode("latin-1")

    @property
    def protocol(self) -> str:
        """What an extended CONNECT is for, such as `websocket` (RFC 8441); empty for other requests."""
        return self._head.protocol.decode("latin-1")

    @property
    def headers(self) -> Headers:
        """The fields, without the pseudo ones."""
        return Headers.of(self._head.fields)

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, if the client has announced them."""
        return self._head.content_length

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path or self.authority}>"
