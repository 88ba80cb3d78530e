"""What goes wrong, as one line for a person."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

import trio

__all__ = [
    "NOT_ALLOWED",
    "Failure",
    "Interrupted",
    "Unreachable",
    "counted",
    "cut_text",
    "describe",
    "draining_text",
    "innermost",
    "is_exhausted",
    "the_cause",
    "unexpected",
]

NOT_ALLOWED: Final = 3
"""The exit code if somebody may not do what was asked, or cannot be trusted."""

_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""What the system has too little of: it may have more soon."""

_MORE_FILES: Final = " (ulimit -n, or LimitNOFILE= of a unit, allows more)"
"""The limit that is left is the hard one: the soft one is raised as far as it goes."""

_NO_TLS: Final = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
"""OpenSSL's reasons if what it reads is something else."""


class Failure(Exception):
    """The program cannot go on; the message is the line that the user gets."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Unreachable(Failure):
    """It may work later: nobody answers now."""


class Interrupted(Exception):
    """A signal ended what was under way: a second one while the first was being obeyed, or one that cuts."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number  # as a shell reports a process that a signal ended


def draining_text(count: int, seconds: float) -> str:
    """What is said when connections are still open at the end, and for how long they may be."""
    what = "an open connection" if count == 1 else f"{count:,} open connections"
    return f"finishing {what}, for up to {seconds:,.10g} s (Ctrl-C again ends immediately)"


def cut_text(count: int, drain: float) -> str:
    """What is said when some of them have not ended by themselves."""
    what = "a connection that was" if count == 1 else f"{count:,} connections that were"
    return f"cut {what} still open after {drain:g} s (--drain gives them more)"


def counted(error: object, times: int) -> str:
    """What happened several times, in one line."""
    return str(error) if times == 1 else f"{error} ({times:,} times)"


def describe(error: BaseException) -> str:
    """The error in a few words, without class names, error numbers or source positions."""
    error = innermost(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if reason.isupper():  # OpenSSL's name for it
            reason = reason.lower().replace("_", " ") + (" (it does not speak TLS)" if reason in _NO_TLS else "")
        return f"TLS failed: {reason}"
    if isinstance(error, UnicodeError):
        return "no valid host name"
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, (trio.TooSlowError, TimeoutError)):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)
        hint = _MORE_FILES if error.errno == errno.EMFILE else ""
        return text[0].lower() + text[1:] + hint
    return str(error) or type(error).__name__


def unexpected(error: BaseException) -> str:
    """What to say of an exception that was not foreseen: what the system lacks in its own words, and anything else as a
    mistake of this program."""
    error = the_cause(error)
    return describe(error) if is_exhausted(error) else f"internal error: {error!r}"


def is_exhausted(error: BaseException) -> bool:
    """Whether the system had too little of something, such as file descriptors or memory."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


def innermost(error: BaseException) -> BaseException:
    """Trio wraps the errors of a failed connection: one, or a group of them, is the cause of an OSError."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error, (OSError, trio.BrokenResourceError)) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def the_cause(error: BaseException) -> BaseException:
    """Of all that nurseries collected, the one that says most: our own words first, then what is not a consequence."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [the_cause(leaf) for leaf in error.exceptions]
    for kind in (Interrupted, Failure):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return next((leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), leaves[0])
