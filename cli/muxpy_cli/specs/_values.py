"""Single values: counts, sizes, rates, durations, and fingerprints of certificates."""

from __future__ import annotations

import base64
import re
from typing import Final

from ._fields import SpecError

__all__ = ["MAX_COUNT", "MAX_SESSIONS", "parse_duration", "parse_fingerprint", "parse_rate", "parse_size"]

MAX_COUNT: Final = 1_000_000
"""Of limits and retries: beyond all that a process can hold, and a typing error rather than a wish."""
MAX_SESSIONS: Final = 64
"""Of one connecting end; each is a TCP connection of its own, and more than a few gain nothing."""
MAX_SIZE: Final = 2**50
"""Bytes: beyond every memory and every link, and exact as a float."""
MAX_DURATION: Final = 366 * 86400.0
"""Seconds in a long year: nothing here waits longer, and the clock's arithmetic stays exact."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmg])(?:i?b)?|b)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

PIN_EXAMPLE: Final = "for example sha256: and 64 hexadecimal digits, with or without colons"
# As muxpy and browsers write it, as `openssl x509 -fingerprint -sha256` does, and as OpenSSH does.
_PREFIX = re.compile(r"sha-?256(?:\s+fingerprint)?\s*[:=]\s*", re.IGNORECASE)
_HEX = re.compile(r"(?:[0-9a-f]{2}:?)+", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43}=?")


def parse_size(text: str) -> int:
    """Bytes, with K, M or G for powers of 1024: `256MiB`, `64k`, `1000`."""
    return _bytes(text.strip(), "size", "for example 256MiB, 64K or 1000")


def parse_rate(text: str) -> int:
    """Bytes a second, at least 1, as a size with or without `/s`: `10MiB`, `64k/s`."""
    example = "for example 10MiB/s, 64K or 1000"
    size = _bytes(re.sub(r"\s*/\s*s(ec)?$", "", text.strip()), "rate", example)
    if size == 0:
        raise SpecError(f"a rate of 0 would let nothing through; {example}")
    return size


def parse_duration(text: str) -> float:
    """Seconds, with ms, s, m, h or d as the unit: `90`, `1.5s`, `5m`, `2h`, `1d`. It may be 0."""
    example = "for example 90, 1.5s, 5m, 2h or 1d"
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"not a duration; {example}")
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if seconds > MAX_DURATION:
        raise SpecError(f"the duration is longer than a year; {example}")
    return seconds


def _bytes(text: str, what: str, example: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SpecError(f"not a {what}; {example}")
    power = " kmg".index((match[2] or " ").lower())
    size = float(match[1]) * 1024**power
    if size > MAX_SIZE:
        raise SpecError(f"the {what} is too large; {example}")
    return int(size)


def parse_fingerprint(text: str) -> bytes:
    """The 32 bytes of a SHA-256 fingerprint: hexadecimal, colons allowed, or base64 as OpenSSH writes it."""
    digest = _PREFIX.sub("", text.strip(), count=1)
    if _BASE64.fullmatch(digest):
        return base64.b64decode(digest.rstrip("=") + "=")
    if not _HEX.fullmatch(digest):
        raise SpecError(f"{text!r} is not a SHA-256 fingerprint; {PIN_EXAMPLE}")
    number = bytes.fromhex(digest.replace(":", ""))
    if len(number) != 32:
        hint = ", as SHA-1 has" if len(number) == 20 else ""
        size = f"{len(number)} byte" + ("s" if len(number) > 1 else "")
        raise SpecError(f"the fingerprint has {size}{hint}, and one of SHA-256 has 32; {PIN_EXAMPLE}")
    return number
