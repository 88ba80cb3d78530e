"""Numbers with units: sizes, rates and durations."""

from __future__ import annotations

import re
from typing import Final

from ._fields import SpecError

__all__ = ["parse_duration", "parse_rate", "parse_size"]

MAX_SIZE: Final = 2**50
"""Bytes: beyond every memory and every link, and exact as a float."""
MAX_DURATION: Final = 366 * 86400.0
"""Seconds in a long year: nothing here waits longer, and the clock's arithmetic stays exact."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmg])(?:i?b)?|b)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


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
