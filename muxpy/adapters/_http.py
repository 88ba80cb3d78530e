"""Streams as connections of httpcore, and of httpcore2, which has the same interfaces and exceptions of its own."""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    import muxpy

__all__ = ["KEPT", "MOST", "PATIENCE", "Backend", "Errors"]

MOST: Final = 100
KEPT: Final = 20
PATIENCE: Final = 5.0
"""Connections at the same time, idle ones that are kept, and for how many seconds: httpx's own defaults."""

Failure = type[Exception]


class Errors(NamedTuple):
    """The library's exceptions: for what fails, and for what takes too long."""

    connect: tuple[Failure, Failure]
    read: tuple[Failure, Failure]
    write: tuple[Failure, Failure]


class Connection:
    """A stream, as an `AsyncNetworkStream`."""

    def __init__(self, raw: Raw, stream: trio.abc.Stream, errors: Errors) -> None:
        self._raw = raw
        self._stream = stream  # the raw one, or TLS on it
        self._errors = errors

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _limited(timeout, self._errors.read):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        with _limited(timeout, self._errors.write):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Connection:
        secure = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with _limited(timeout, self._errors.connect):
                await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return Connection(self._raw, secure, self._errors)

    def get_extra_info(self, info: str) -> object:
        match info:
            case "is_readable":  # asked of an idle connection: if so, it has ended
                return self._raw.is_readable()
            case "ssl_object" if isinstance(self._stream, trio.SSLStream):
                return self._stream
            case "client_addr":
                return self._raw.stream.local_address
            case "server_addr":
                return self._raw.stream.remote_address
        return None


class Raw(trio.abc.Stream):
    """A stream that can be asked whether there is something to read."""

    def __init__(self, stream: muxpy.Stream) -> None:
        self.stream = stream
        self._early = b""

    def is_readable(self) -> bool:
        """Whether reading would return or raise something now."""
        try:
            self._early = self._early or self.stream.receive_nowait()
        except trio.WouldBlock:
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return True
        return True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._early:
            return await self.stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        early = self._early if max_bytes is None else self._early[:max_bytes]
        self._early = self._early[len(early) :]
        return early

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


class Backend:
    """An `AsyncNetworkBackend`: whatever host and port are asked for, the peer is what there is to connect to."""

    def __init__(self, session: muxpy.Session, errors: Errors) -> None:
        self._session = session
        self._errors = errors

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: object = None,
    ) -> Connection:
        with _limited(timeout, self._errors.connect):
            raw = Raw(await self._session.open_stream())
        return Connection(raw, raw, self._errors)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: object = None,
    ) -> Connection:
        return await self.connect_tcp(path, 0, timeout)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@contextmanager
def _limited(seconds: float | None, errors: tuple[Failure, Failure]) -> Iterator[None]:
    failed, too_slow = errors
    try:
        with trio.fail_after(inf if seconds is None else seconds):
            yield
    except trio.TooSlowError as error:
        raise too_slow(str(error)) from error
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise failed(str(error)) from error
