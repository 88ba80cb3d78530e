"""How figures are written."""

from __future__ import annotations

from typing import Final

__all__ = ["show"]

_UNITS: Final[dict[str, tuple[float, str]]] = {
    "/s": (1, "/s"),
    "s": (1e3, "ms"),
    "us": (1e6, "µs"),
    "B": (1, "B"),
    "share": (100, "%"),
    "round trips": (1, "round trips"),
}


def show(value: float, unit: str) -> str:
    """A figure with its unit, to three digits or so."""
    if unit == "B/s":
        return f"{value / 1e9:.2f} GB/s" if value >= 1e9 else f"{value / 1e6:.{_digits(value / 1e6)}f} MB/s"
    if unit == "B" and abs(value) >= 1e6:
        return f"{value / 1e6:.{_digits(value / 1e6)}f} MB"
    scale, name = _UNITS[unit]
    value *= scale
    digits = 0 if unit in ("/s", "B", "round trips") else _digits(value)
    return f"{value:,.{digits}f} {name}" if value >= 0.01 or not value else f"{value:.2g} {name}"


def _digits(value: float) -> int:
    """Places after the point that make three digits."""
    return 0 if value >= 100 else 1 if value >= 10 else 2
