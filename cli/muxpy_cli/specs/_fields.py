"""The parts that specs are made of: fields between colons, hosts, ports and paths."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Final

from ._model import ALL_INTERFACES, UnixPath

__all__ = [
    "MAX_PATH",
    "SpecError",
    "bind_host",
    "check_endings",
    "check_host",
    "host",
    "ipv6",
    "is_path",
    "port",
    "split",
    "unix_path",
    "wrong_count",
]

MAX_HOST: Final = 255
"""The longest name that DNS has."""
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
    """The fields between the colons. SpecError if brackets do not fit, or if it is a URL."""
    if "://" in text:
        raise SpecError(f"{text!r} is a URL, not an address; {example}")
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


def bind_host(text: str, example: str) -> str:
    """A host to bind; it may be ALL_INTERFACES."""
    if not text:
        # OpenSSH takes this for all interfaces. Who exposes a port should have meant it.
        raise SpecError(f"the address before the colon is missing (* means all); {example}")
    return text if text == ALL_INTERFACES else host(text, example)


def host(text: str, example: str) -> str:
    """A host to connect to, without brackets."""
    if text.startswith("["):
        address = ipv6(text[1:-1])
        if address is None:
            raise SpecError(f"{text} is not an IPv6 address; {example}")
        return address
    if problem := check_host(text):
        raise SpecError(f"{problem}; {example}")
    if text == ALL_INTERFACES:
        raise SpecError(f"{text} is an address to bind, not one to connect to; {example}")
    return text


def ipv6(text: str) -> str | None:
    """An IPv6 address as it is shown; None if it is none. Its zone, after a %, may be anything that a name may be."""
    try:
        address = str(ipaddress.IPv6Address(text))
    except ValueError:
        return None
    return address if check_host(address) is None else None


def check_host(text: str) -> str | None:
    """What is wrong with it as a host name or address; None if nothing is."""
    if not text:
        return "the host is missing"
    if len(text) > MAX_HOST:
        return f"the host is longer than {MAX_HOST} characters"
    if not text.isprintable() or " " in text or "/" in text:
        return f"{text!r} is no host name"
    return None


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
