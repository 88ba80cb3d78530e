"""What a call takes from standard input: its arguments, or its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from .._errors import Failure
from ..get import FileData
from ..specs import excerpt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["FromInput", "check_arguments"]

MOST: Final = 4 << 20
"""Bytes of one value: no service takes more."""


class FromInput:
    """Standard input. All its methods raise Failure for what cannot be sent."""

    def __init__(self) -> None:
        self._data = FileData("-")

    async def arguments(self) -> str:
        """All of it."""
        text = b""
        async for piece in self._data:
            text += piece
            _check_size(text, "standard input")
        return _check_arguments(text, "standard input")

    async def lines(self) -> AsyncIterator[str]:
        """A value for each line, as soon as it is there. Blank lines are left out."""
        rest, number = b"", 1
        async for piece in self._data:
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                if line.strip():
                    yield _check_json(line, f"line {number} of standard input")
                number += 1
            _check_size(rest, f"line {number} of standard input")
        if rest.strip():
            yield _check_json(rest, f"line {number} of standard input")


def _check_size(data: bytes, what: str) -> None:
    if len(data) > MOST:
        raise Failure(f"{what} is longer than {MOST >> 20} MiB, the most that a service takes as one value", 2)


def _check_json(text: str | bytes, what: str) -> str:
    """Raises Failure if it is no JSON."""
    try:
        encoded = text if isinstance(text, bytes) else text.encode()
        msgspec.json.decode(encoded, type=msgspec.Raw)
        return encoded.decode()
    except UnicodeError:
        raise Failure(f"{what} is no UTF-8", 2) from None
    except RecursionError:
        raise Failure(f"{what} is nested too deeply", 2) from None
    except ValueError as error:
        why = str(error).removeprefix("JSON is malformed: ")
        raise Failure(f"{what} is no JSON: {why[:1].lower()}{why[1:]}", 2) from None


def check_arguments(text: str) -> str:
    """Arguments of the command line. Raises Failure for what no method takes."""
    return _check_arguments(text, excerpt(repr(text)))


def _check_arguments(text: str | bytes, what: str) -> str:
    checked = _check_json(text, what).strip()
    if checked[0] not in "{[":
        raise Failure(f"arguments are a JSON object, by name, or an array, not {excerpt(checked)}", 2)
    return checked
