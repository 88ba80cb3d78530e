"""Text that others have written, and what of it may be shown."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_TEXT", "excerpt", "name_problem", "printable"]

MAX_TEXT: Final = 400
"""Characters of one text: names and reasons come from the other end, which must not fill a disk or a screen."""


def printable(text: str) -> str:
    """On one line, and with control characters and the like escaped, as `\\x1b`: a terminal obeys what it is sent."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def excerpt(text: str) -> str:
    """Printable, and cut to MAX_TEXT."""
    text = printable(text[: MAX_TEXT + 1])
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def name_problem(whose: str, name: str, most: int) -> str | None:
    """What is wrong with it as the name of something, which goes into logs and metrics; None if nothing is.

    Spaces and signs inside are fine: the common name of a certificate is a user's name, too, and often has them.
    """
    if name and len(name) <= most and name == name.strip() and name.isprintable():
        return None
    return f"{whose} name is 1 to {most} printable characters, without spaces around it"
