"""httpcore and httpx over a session: each connection is a stream, and all lead to the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import httpcore
import httpx

from ._http import KEPT, MOST, PATIENCE, Backend, Errors

if TYPE_CHECKING:
    import ssl

    import muxpy

__all__ = ["backend", "client"]

ERRORS = Errors(
    connect=(httpcore.ConnectError, httpcore.ConnectTimeout),
    read=(httpcore.ReadError, httpcore.ReadTimeout),
    write=(httpcore.WriteError, httpcore.WriteTimeout),
)


def backend(session: muxpy.Session) -> httpcore.AsyncNetworkBackend:
    """The `network_backend` of a pool of httpcore whose connections are streams of the session."""
    return cast("httpcore.AsyncNetworkBackend", Backend(session, ERRORS))


def client(
    session: muxpy.Session,
    *,
    verify: ssl.SSLContext | None = None,
    **options: Any,  # noqa: ANN401 - as httpx has them
) -> httpx.AsyncClient:
    """A client of httpx whose connections are streams of the session. `verify` is for https, and `options` are those
    of httpx.AsyncClient, but for what concerns how it connects."""
    return httpx.AsyncClient(transport=_Transport(session, verify), **options)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own transport with another pool, which its constructor has no parameter for."""

    def __init__(self, session: muxpy.Session, context: ssl.SSLContext | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MOST,
            max_keepalive_connections=KEPT,
            keepalive_expiry=PATIENCE,
            network_backend=backend(session),
        )
