"""Tokens: what a user shows to be let in."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import secrets
import warnings
from typing import TYPE_CHECKING, Final

from .._errors import Failure, describe
from ._files import if_missing, makes_token

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VARIABLE", "is_hash", "is_token", "new_token", "read_token", "token_hash"]

VARIABLE: Final = "MUXPY_TOKEN"
"""A command line can be read by every user of the machine, so no option takes the token itself."""
MAX_TOKEN: Final = 4096
"""Characters; one that this program makes has 49."""

_PREFIX: Final = "muxpy_"
"""Makes a token that leaked into a repository or a log recognisable."""
_TOKEN: Final = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


def new_token() -> str:
    """A random one, of 32 bytes."""
    return _PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token.

    One round of SHA-256 is enough: a slow hash is for passwords, which can be guessed, and 256 random bits cannot. A
    slow one would let anybody who connects keep the listening end busy.
    """
    return "sha256:" + hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def is_hash(text: str) -> bool:
    """Whether it is what token_hash makes."""
    return _HASH.fullmatch(text) is not None


def is_token(text: str) -> bool:
    """Whether it is what new_token makes."""
    return _TOKEN.fullmatch(text) is not None


def read_token(file: Path | None, ask: str | None = None) -> str | None:
    """The token from MUXPY_TOKEN, otherwise from the file, otherwise from the terminal, if it is to `ask` for that
    of the server of that name; None if there is none.

    Blocks while somebody types. Raises Failure, which never quotes what was read.
    """
    if os.environ.get(VARIABLE):
        return _check(os.environ[VARIABLE], VARIABLE)
    if file is not None:
        return _check(_read(file), str(file))
    if ask is not None:
        return _check(_ask(ask), "what was typed")
    return None


def _check(text: str, source: str) -> str:
    token = text.strip()
    if not token:
        raise Failure(f"there is no token in {source}", 2)
    if is_hash(token):
        raise Failure(f"{source} has the hash of a token; the connecting end needs the token itself", 2)
    if len(token) > MAX_TOKEN or not token.isprintable() or " " in token:
        raise Failure(f"{source} does not look like a token: that is one word, as `muxpy token new` prints it", 2)
    return token


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            return file.read(MAX_TOKEN + 2)  # a wrong file may be huge, or endless like /dev/zero
    except OSError as error:
        hint = if_missing(error, path, makes_token)
        raise Failure(f"cannot read the token from {path}: {describe(error)}{hint}", 2) from error


def _ask(address: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it would go on, and show what is typed
            return getpass.getpass(f"Token for {address}: ")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise Failure(f"cannot ask for the token without a terminal: put it into {VARIABLE} or a file", 2) from None
