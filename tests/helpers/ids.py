"""Names of parametrized tests that can be typed after `-k` as they are."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePath
from typing import Final

__all__ = ["TYPABLE", "word"]

TYPABLE: Final = re.compile(r"[A-Za-z0-9_.+-]+")
"""What a shell and pytest's own expressions leave alone."""

LONGEST: Final = 48
"""Characters of a value that a name shows."""


def word(value: object) -> str | None:
    """What stands for a value in the name of a test; None for what pytest names well, or knows no name for."""
    match value:
        case str():
            text = value if len(value) <= LONGEST else f"{value[: LONGEST - 12]}_{value[-12:]}"
            text = text.replace("*", "any")
            return re.sub(r"[^A-Za-z0-9_.-]+", "_", text) if re.search("[A-Za-z0-9]", text) else _spelled(text)
        case bytes():
            return word(value.decode() if value.isascii() and value[:3].isalpha() else value[:8].hex())
        case int():
            return str(value) if value.bit_length() < 128 else "huge"
        case re.Pattern():
            return word(value.pattern)
        case PurePath() | Exception():
            return word(str(value))
        case dict():
            return word([*value.items()])
        case list() | tuple():
            words = [word(each) or str(each) for each in value]
            return word("_".join(words)) if all(map(TYPABLE.fullmatch, words)) else None
        case _:
            return None


def _spelled(text: str) -> str:
    """Punctuation by the names of its characters."""
    names = "_".join(unicodedata.name(each, f"{ord(each):x}") for each in text)
    return re.sub(r"[^A-Z0-9a-f]+", "_", names) or "empty"
