"""What a round has seen, and what was wrong with it."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from dataclasses import dataclass, field

import trio

import muxpy

__all__ = ["DOCUMENTED", "LogWatch", "Tally", "name_of"]

DOCUMENTED = (trio.BrokenResourceError,)
"""What an operation on a stream may raise because of the link."""
ENDS = (trio.BrokenResourceError, OSError, muxpy.ProtocolError)
"""What a session may have ended with because of the link."""


@dataclass
class Tally:
    """One round."""

    opened: int = 0
    checked: int = 0  # bytes that were compared
    moves: int = 0  # goes up with everything that streams achieve
    clean: set[tuple[str, int]] = field(default_factory=set)  # (side that read, number of the stream)
    failed: set[tuple[str, int]] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    ends: dict[str, str] = field(default_factory=dict)  # side -> how its session ended, in words
    broken: set[str] = field(default_factory=set)  # sides whose session ended with an error, or never began
    lies: list[str] = field(default_factory=list)  # wrong bytes, and ends that were none
    violations: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)  # plays that went on when the time was up

    def clean_end(self, side: str, number: int) -> None:
        """A reader got exactly what it was to get, and the end."""
        self.clean.add((side, number))
        self.moves += 1

    def error(self, error: BaseException, side: str, number: int) -> None:
        """An operation on a stream failed."""
        self.failed.add((side, number))
        self.errors[name_of(error)] += 1
        self.moves += 1
        if not str(error):
            self.violations.append(f"{side} {number}: an error without words: {error!r}")

    def lie(self, side: str, number: int, what: str) -> None:
        """What a reader got is not what was sent."""
        self.lies.append(f"{side} {number}: {what}")
        self.failed.add((side, number))

    def session_end(self, side: str, end: muxpy.SessionEnd) -> None:
        """A session has ended; there must be words for it."""
        self.ends[side] = str(end)
        if end.error is None and end.remote_code:
            self.violations.append(f"{side}: the peer ended it with an error, and its end does not say so: {end!r}")
        if end.error is not None:
            self.broken.add(side)
            self.errors[f"session: {name_of(end.error)}"] += 1
            if not isinstance(end.error, ENDS):
                self.violations.append(f"{side}: the session ended with {end.error!r}")
        if " " not in str(end):
            self.violations.append(f"{side}: the session's end has no words: {end!r}")

    def no_session(self, side: str, error: BaseException) -> None:
        """TLS could not be agreed on."""
        self.ends[side] = str(error)
        self.broken.add(side)
        self.errors[f"handshake: {name_of(error)}"] += 1


def name_of(error: BaseException) -> str:
    """A short name for the table."""
    if isinstance(error, muxpy.StreamReset):
        return f"StreamReset {'by the peer' if error.by_peer else 'here'}"
    if isinstance(error, muxpy.ProtocolError):
        return f"ProtocolError {error.code.name}"
    if isinstance(error, ssl.SSLError):
        return f"{type(error).__name__}"
    return type(error).__name__


class LogWatch(logging.Handler):
    """Errors that the library logs are bugs, or handlers that raised what they should not."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.ERROR)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        self._tally.violations.append(f"logged: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")

    def __enter__(self) -> None:
        logging.getLogger("muxpy").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("muxpy").removeHandler(self)
