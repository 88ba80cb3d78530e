"""httpcore2 and httpx2 over a session: each connection is a stream, and all lead to the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpcore2
import httpx2

from ._http import KEPT, MOST, PATIENCE, Backend, Errors

if TYPE_CHECKING:
    import ssl

    import muxpy

__all__ = ["backend", "client"]

ERRORS = Errors(
    connect=(httpcore2.ConnectError, httpcore2.ConnectTimeout),
    read=(httpcore2.ReadError, httpcore2.ReadTimeout),
    write=(httpcore2.WriteError, httpcore2.WriteTimeout),
)


def backend(session: muxpy.Session) -> httpcore2.AsyncNetworkBackend:
    """The `network_backend` of a pool of httpcore2 whose connections are streams of the session."""
    return cast("httpcore2.AsyncNetworkBackend", Backend(session, ERRORS))


def client(
    session: muxpy.Session,
    *,
    verify: ssl.SSLContext | None = None,
    **options: Any,  # noqa: ANN401 - as httpx2 has them
) -> httpx2.AsyncClient:
    """A client of httpx2 whose connections are streams of the session. `verify` is for https, and `options` are those
    of httpx2.AsyncClient, but for what concerns how it connects."""
    return httpx2.AsyncClient(transport=_Transport(session, verify), **options)


class _Transport(httpx2.AsyncHTTPTransport):
    """httpx2's own transport with another pool, which its constructor has no parameter for."""

    def __init__(self, session: muxpy.Session, context: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MOST,
            max_keepalive_connections=KEPT,
            keepalive_expiry=PATIENCE,
            network_backend=backend(session),
        )
