"""An HTTP server for monitoring: /metrics, /healthz and /readyz, one request a connection."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11
import trio

from .._errors import Failure, describe
from ..net import guard
from ..specs import ALL_INTERFACES, Address
from ._metrics import MAX_SERIES, encode_metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._snapshot import TakeSnapshot

__all__ = ["serve_metrics"]

log = logging.getLogger("muxpy.metrics")

HEAD_LIMIT: Final = 2.0
"""Seconds for the request's head, which a monitor sends as one packet."""
TIME_LIMIT: Final = 10.0
"""Seconds for a connection from its first byte to its end."""
LINGER: Final = 1.0
"""Seconds for the client to close after the answer. If this end closed first with something still unread, the system
would reset the connection, and the answer could be lost on the way."""
MAX_CONNECTIONS: Final = 64
"""With one more, the connection that has been silent longest makes room: a monitor sends its request immediately. If
newcomers were turned away instead, silent connections would take /healthz from everybody."""
MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's head."""
RECEIVE_SIZE: Final = 4096
TEXT: Final = "text/plain; charset=utf-8"


async def serve_metrics(
    address: Address,
    snapshot: TakeSnapshot,
    ready: Callable[[], bool],
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; starts with the address that is bound. /readyz answers as `ready` says. Raises Failure if
    the address cannot be bound."""
    host = None if address.host == ALL_INTERFACES else address.host
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=host)
    except (OSError, UnicodeError) as error:
        raise Failure(f"cannot serve metrics on {address}: {describe(error)}") from error
    for listener in listeners:
        guard(listener.socket)
    task_status.started(_bound(listeners))
    server = _Server(snapshot, ready)
    await trio.serve_listeners(server.serve, listeners)


def _bound(listeners: Sequence[trio.SocketListener]) -> Address:
    host, port = listeners[0].socket.getsockname()[:2]
    return Address(host, port)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content_type: str
    body: bytes
    allow: bool = False

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [("Content-Type", self.content_type), ("Content-Length", str(len(self.body)))]
        if self.allow:
            headers.append(("Allow", "GET, HEAD"))
        return [*headers, ("Connection", "close")]


class _Server:
    def __init__(self, snapshot: TakeSnapshot, ready: Callable[[], bool]) -> None:
        self._snapshot = snapshot
        self._ready = ready
        self._connections: dict[trio.CancelScope, None] = {}  # the oldest first, and those with a request last
        self._pages: dict[bytes, Callable[[str], Awaitable[_Answer]]] = {
            b"/metrics": self._metrics,
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
        }

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection."""
        if len(self._connections) >= MAX_CONNECTIONS:
            self._make_room()
        scope = trio.CancelScope(deadline=trio.current_time() + HEAD_LIMIT)
        ends_by = trio.current_time() + TIME_LIMIT
        self._connections[scope] = None
        try:
            async with stream:
                with scope:
                    await self._answer(stream, partial(self._has_asked, scope, ends_by))
        except trio.BrokenResourceError:
            pass  # the client has gone
        finally:
            self._connections.pop(scope, None)

    def _make_room(self) -> None:
        longest = next(iter(self._connections))
        del self._connections[longest]  # now, since it ends only in the next pass of the loop
        longest.cancel()

    def _has_asked(self, scope: trio.CancelScope, ends_by: float) -> None:
        """It has the whole time for its answer, and makes room only after those without a request."""
        scope.deadline = ends_by
        if self._connections.pop(scope, 0) is None:  # otherwise it has just made room
            self._connections[scope] = None

    async def _answer(self, stream: trio.SocketStream, has_asked: Callable[[], None]) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        with_body = True
        try:
            request = await _request(stream, connection)
            if request is None:
                return
            has_asked()
            with_body = request.method != b"HEAD"
            answer = await self._page(request)
        except h11.RemoteProtocolError as error:
            answer = _words(error.error_status_hint, f"bad request: {error}")
        except trio.BrokenResourceError:
            raise
        except Exception:  # a failing view must not end the process
            log.exception("metrics: no answer to a request")
            answer = _words(500, "internal error")
        await stream.send_all(_encoded(connection, answer, with_body=with_body))
        await stream.send_eof()
        with trio.move_on_after(LINGER):
            while await stream.receive_some(RECEIVE_SIZE):
                pass

    async def _page(self, request: h11.Request) -> _Answer:
        page = self._pages.get(request.target.partition(b"?")[0])
        if page is None:
            return _words(404, f"nothing here; there are {b', '.join(self._pages).decode()}")
        if request.method not in {b"GET", b"HEAD"}:
            return _Answer(405, TEXT, b"only GET and HEAD\n", allow=True)
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        return await page(accept.decode("latin-1"))

    async def _metrics(self, accept: str) -> _Answer:
        return _Answer(200, *encode_metrics(await self._snapshot(MAX_SERIES), accept))

    async def _healthz(self, _: str) -> _Answer:
        return _words(200, "ok")

    async def _readyz(self, _: str) -> _Answer:
        return _words(200, "ready") if self._ready() else _words(503, "not ready")


async def _request(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    """The request's head; None if the connection ends without one. Raises h11.RemoteProtocolError."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some(RECEIVE_SIZE))
    return event if isinstance(event, h11.Request) else None


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


def _encoded(connection: h11.Connection, answer: _Answer, *, with_body: bool) -> bytes:
    parts = [
        connection.send(h11.Response(status_code=answer.status, headers=answer.headers, reason=_phrase(answer.status)))
    ]
    if with_body:
        parts.append(connection.send(h11.Data(data=answer.body)))
        parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(part or b"" for part in parts)


def _words(status: int, text: str) -> _Answer:
    return _Answer(status, TEXT, f"{text}\n".encode("ascii", "replace"))
