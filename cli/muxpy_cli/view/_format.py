"""Numbers for people."""

from __future__ import annotations

import time
from typing import Final

__all__ = [
    "format_count",
    "format_duration",
    "format_rate",
    "format_rtt",
    "format_size",
    "format_time",
]

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def format_size(count: float) -> str:
    """A number of bytes: 512 B, 1.5 KiB, 20 MiB. At most 8 characters below 10,000 TiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    tenths = round(count, 1)
    digits = 0 if unit == "B" or tenths >= 100 or tenths == int(tenths) else 1
    return f"{count:.{digits}f} {unit}"


def format_rate(rate: float | None) -> str:
    """Bytes a second, without "/s", which the column's title has; "-" if not known yet."""
    return "-" if rate is None else format_size(rate)


def format_count(count: int) -> str:
    """1,234"""
    return f"{count:,}"


def format_duration(seconds: float) -> str:
    """The two largest units: 45s, 3m12s, 2h05m, 3d04h. A negative one (a clock was set back) is 0s."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def format_rtt(seconds: float | None) -> str:
    """A round trip: 0.42 ms, 12.3 ms, 1.20 s; "-" if it was not measured."""
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.{2 if milliseconds < 10 else 1 if milliseconds < 100 else 0}f} ms"


def format_time(at: float) -> str:
    """The time of day here, of a Unix time."""
    return time.strftime("%H:%M:%S", time.localtime(at))
