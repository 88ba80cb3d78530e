"""The exceptions that sessions and streams raise.

    trio.BusyResourceError          another task is doing the same on this stream
    trio.ClosedResourceError        you closed, reset or half-closed the stream yourself
    trio.BrokenResourceError
    ├── StreamReset                 the stream was reset, by the peer or for a rule that the peer broke
    └── SessionClosed               the session has ended, whoever ended it
        └── SessionGoingAway        the session goes on, but opens no new streams

`retryable` is True where the peer cannot have acted on the stream, so that the same work may be tried again on
another stream or session without being done twice.
"""

import ssl
from dataclasses import dataclass

import trio

from ._codes import ErrorCode, code_name, named, printable
from ._help import document_fields

__all__ = [
    "SessionClosed",
    "SessionEnd",
    "SessionGoingAway",
    "StreamReset",
    "only_lost",
    "raise_first",
    "without_cancelled",
]


@document_fields
@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended; what `Session.wait` returns."""

    code: int
    """The error code that this side ended the session with, or the peer's code if the peer's GOAWAY ended it. NO_ERROR
    for a clean end, CANCEL for `kill`. In HTTP/2 an `http.ErrorCode`."""
    error: BaseException | None
    """What went wrong. After `kill`, the error that it was called with, or otherwise a trio.ClosedResourceError. None
    for a clean end."""
    remote_code: int | None
    """The code of the peer's GOAWAY; None if it had sent none when the session ended."""
    remote_debug: bytes
    """The debug text of the peer's GOAWAY, at most 1 KiB."""
    by_peer: bool = False
    """Whether the peer ended the session, by a GOAWAY with an error or by closing the connection. False if this side
    ended it, for whatever reason, or an error of the network did. What this side saw first counts: a peer that closes
    the connection because this side is closing has not ended the session. A GOAWAY without an error only asks for no
    more streams; if this side then closes the session before the peer closes the connection, this side has ended it."""

    def __str__(self) -> str:
        if self.error is not None:
            return printable(str(self.error) or repr(self.error))
        if self.code != ErrorCode.NO_ERROR:
            return f"it ended with {code_name(self.code)}"
        return "the peer closed it" if self.by_peer else "this side closed it"


class StreamReset(trio.BrokenResourceError):
    """The stream was reset: both directions are over and unread data is lost.

    `code` is the error code, an ErrorCode if it has a name (in HTTP/2, an `http.ErrorCode`). `by_peer`: whether the
    peer sent the RST, and not this side. `stream_id`: the stream's id. `retryable`: whether the peer cannot have acted
    on the stream, so that the same work may be tried again on another stream.
    """

    def __init__(self, stream_id: int, code: int, *, by_peer: bool, retryable: bool) -> None:
        super().__init__(stream_id, code)
        self.stream_id = stream_id
        self.code = named(code)
        self.by_peer = by_peer
        self.retryable = retryable

    def __str__(self) -> str:
        who = "the peer reset it" if self.by_peer else "reset for an error of the peer"
        again = "; safe to retry" if self.retryable else ""
        return f"stream {self.stream_id}: {who} with {code_name(self.code)}{again}"


class SessionClosed(trio.BrokenResourceError):
    """The session has ended; `end` says how (None for SessionGoingAway), and `end.error` is this exception's cause.

    `retryable`: whether nothing was sent, so that the same work may be tried on another session.
    """

    def __init__(self, end: SessionEnd | None, message: str = "", *, retryable: bool = False) -> None:
        super().__init__(message or f"the session has ended: {end}")
        self.end = end
        self.retryable = retryable
        self.__cause__ = end.error if end is not None else None


class SessionGoingAway(SessionClosed):
    """No new stream can be opened: the peer sent GOAWAY, this side is closing, or the ids are used up.

    It is always retryable, on another session: nothing was sent.
    """

    def __init__(self, message: str) -> None:
        super().__init__(None, message, retryable=True)


def only_lost(error: BaseException) -> bool:
    """Whether an exception, or each exception in a group, says only that the other side is gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(only_lost, error.exceptions))
    return isinstance(error, trio.BrokenResourceError | ConnectionError | ssl.SSLError)


def without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an exception or group without trio.Cancelled; None if nothing is. A group of one becomes that
    one."""
    if isinstance(error, trio.Cancelled):
        return None
    if isinstance(error, BaseExceptionGroup):
        _, rest = error.split(trio.Cancelled)
        return without_cancelled(rest.exceptions[0]) if rest is not None and len(rest.exceptions) == 1 else rest
    return error


def raise_first(*errors: BaseException | None) -> None:
    """Raise the first error that is not None, of what has ended a session: for its caller, without the ExceptionGroups
    of its nurseries."""
    for error in errors:
        if error is not None:
            raise error
