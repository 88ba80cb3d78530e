"""The kinds of values that the tables of a configuration are made of."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._errors import describe
from ..access import if_missing, is_hash, is_token
from ._schema import BROKEN, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._document import Document
    from ._positions import Where

__all__ = ["TokenHash", "boolean", "choice", "duration", "existing_file", "number", "rate", "some_path", "text"]

_TEXT: Final = (str,)
_TEXT_OR_NUMBER: Final = (str, int, float)


def text(parse: Callable[[str], Any], example: str) -> Value:
    """Text that a parser reads, which raises ValueError."""
    return Value(_TEXT, f'"{example}"', lambda raw, _: parse(raw))


def boolean() -> Value:
    """True or false."""
    return Value((bool,), "true", lambda raw, _: raw)


def number(least: int, most: int, example: int) -> Value:
    """A whole number in a range."""

    def convert(raw: int, _: Document) -> int:
        if not least <= raw <= most:
            raise ValueError(f"it must lie between {least} and {most}; for example {example}")
        return raw

    return Value((int,), str(example), convert)


def choice(*words: str) -> Value:
    """One of some words."""

    def convert(raw: str, _: Document) -> str:
        if raw not in words:
            raise ValueError(f"it must be one of {', '.join(words)}")
        return raw

    return Value(_TEXT, f'"{words[0]}"', convert)


def duration(parse: Callable[[str], float], example: str, *, above_zero: bool = False) -> Value:
    """A time, as text with a unit or as a number of seconds."""

    def convert(raw: str | float, _: Document) -> float:
        seconds = parse(_written(raw))
        if above_zero and seconds == 0:
            raise ValueError(f'it must be longer than that (for "never", leave it out); for example "{example}"')
        return seconds

    return Value(_TEXT_OR_NUMBER, f'"{example}"', convert)


def rate(parse: Callable[[str], int], example: str) -> Value:
    """Bytes a second, as text with a unit or as a whole number: what is behind a point would be lost without a word."""
    return Value((str, int), f'"{example}"', lambda raw, _: parse(_written(raw)))


def some_path(example: str) -> Value:
    """A path that need not exist."""
    return Value(_TEXT, f'"{example}"', _path)


def existing_file(example: str, made_by: Callable[[Path], str]) -> Value:
    """A file that can be read. If it is not there, `made_by` says what makes it."""
    return Value(_TEXT, f'"{example}"', lambda raw, document: _file(raw, document, made_by))


class TokenHash:
    """The hash of a user's token. Messages do not repeat what is there instead: it may be a secret in the wrong
    place."""

    example: Final = '"sha256:..."'

    def read(self, document: Document, where: Where, raw: Any) -> Any:  # noqa: ANN401
        """The text; its table has the user's name."""
        if isinstance(raw, str) and is_hash(raw):
            return raw
        if isinstance(raw, str) and is_token(raw):
            what = "this is a token itself, which nobody must read here: now make a new one"
        else:
            what = 'it must be "sha256:" and 64 hex digits in lower case, the hash of a token: make one'
        document.wrong(where, f"{what} with `muxpy token new {shlex.quote(str(where[-2]))} --replace`")
        return BROKEN


def _written(raw: str | float) -> str:
    if isinstance(raw, int) and abs(raw) >= 10**18:  # Python does not write out the largest ones
        raise ValueError("that is far too much")
    return str(raw)


def _path(raw: str, document: Document) -> Path:
    """From the configuration's folder, if it is relative; a leading ~ is a home folder."""
    if not raw or "\0" in raw:
        raise ValueError("that is no path")
    try:
        return document.path.parent / Path(raw).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home folder; give the whole path") from None


def _file(raw: str, document: Document, made_by: Callable[[Path], str]) -> Path:
    path = _path(raw, document)
    place = "" if str(path) == raw else f" (looked for at {path})"
    try:
        path.stat()
    except OSError as error:
        hint = if_missing(error, path, made_by)
        raise ValueError(f"cannot read it: {describe(error)}{place}{hint}") from None
    if path.is_dir():
        raise ValueError(f"that is a folder, and it must be a file{place}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"cannot read it: permission denied{place}")
    return path
