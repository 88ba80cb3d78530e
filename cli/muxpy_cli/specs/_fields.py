"""The parts that specs are made of: fields between colons, ports and paths. Hosts are in `_hosts`."""

from __future__ import annotations

import os
import re
from typing import Final

from ._model import UnixPath

__all__ = [
    "MAX_PATH",
    "SpecError",
    "check_endings",
    "is_path",
    "port",
    "split",
    "unix_path",
    "wrong_count",
]

MAX_PATH: Final = 107
"""Bytes of a Unix socket's path: Linux's sun_path has 108, with the zero byte at the end (unix(7))."""

# A field with a slash is a path, whatever else it contains. Brackets hold an IPv6 address, whose colons do not
# separate fields.
_FIELD = re.compile(r"[^:]*/[^:]*|\[[^\[\]]*\]|[^:\[\]]*")


class SpecError(ValueError):
    """Says what is wrong with a spec, and what a right one looks like."""


# What stands behind a port where the protocol does; a path that looks like it can begin with ./
_ENDING = re.compile(r"(\d+)/([A-Za-z][A-Za-z0-9]*)")


def split(text: str, example: str) -> list[str]:
    """The fields between the colons. SpecError if brackets do not fit, if it is a URL, or if it names a user."""
    if "://" in text:
        scheme = text.partition("://")[0].rpartition(":")[2]
        raise SpecError(f"it is a URL: leave {scheme}:// out, and all that follows the port; {example}")
    fields = _between_colons(text, example)
    if any("@" in field and not is_path(field) for field in fields):
        raise SpecError(f"an address has no user name or password: leave out what stands before the @; {example}")
    return fields


def _between_colons(text: str, example: str) -> list[str]:
    fields = []
    position = 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None  # it matches the empty string
        fields.append(match[0])
        position = match.end()
        if position == len(text):
            return fields
        if text[position] != ":":
            raise SpecError(f"the brackets do not fit; {example}")
        position += 1


def check_endings(fields: list[str], example: str) -> None:
    """Raises SpecError if a field is a port with a protocol behind it, and not a path, as which it would be taken."""
    for field in fields:
        if match := _ENDING.fullmatch(field):
            raise SpecError(
                f"/{match[2]} behind the port {match[1]} is wrong: there are /udp and /tcp, at the end of all (a path"
                f" begins with ./); {example}"
            )


def _hint(field: str) -> str:
    """What to say to the name of a Unix socket that is not taken for a path."""
    return f" (is it a Unix socket? a path needs a slash: ./{field})" if field.endswith((".sock", ".socket")) else ""


def wrong_count(form: str, fields: list[str], example: str) -> SpecError:
    """What to say to more or fewer fields than the form has."""
    if len(fields) <= form.count(":") + 1:
        return SpecError(f"it takes {form}{next(filter(None, map(_hint, fields)), '')}; {example}")
    looks_like_ipv6 = len(fields) >= 8 or "" in fields[1:-1]
    problem = "an IPv6 address needs brackets" if looks_like_ipv6 else f"too many fields, it takes {form}"
    return SpecError(f"{problem}; {example}")


def port(text: str, example: str, least: int = 1) -> int:
    """A port number from `least` to 65535."""
    if not text:
        raise SpecError(f"the port is missing; {example}")
    if not (text.isascii() and text.isdigit()):
        raise SpecError(f"the port must be a number, not {text!r}{_hint(text)}; {example}")
    number = int(text) if len(text) < 9 else 99999  # not a number as long as the command line
    if not least <= number <= 65535:
        raise SpecError(f"the port must lie between {least} and 65535, it is {text}; {example}")
    return number


def is_path(field: str) -> bool:
    """Whether the field means a Unix socket: no host and no port has a slash."""
    return "/" in field


def unix_path(text: str, example: str) -> UnixPath:
    """A Unix socket's path; a relative one stays so, for it may lie at the other end."""
    # This is without line feeds and zero bytes, and without what cannot be sent to the other end as UTF-8.
    if not text.isprintable():
        raise SpecError(f"the path {text!r} has characters that cannot be shown; {example}")
    if text.endswith("/"):
        raise SpecError(f"the path {text} names a directory, not a socket in it; {example}")
    if (size := len(os.fsencode(text))) > MAX_PATH:
        raise SpecError(
            f"the path has {size} bytes, and a Unix socket's path at most {MAX_PATH} on Linux: "
            f"take a shorter one; {example}"
        )
    return UnixPath(text)
