"""Log lines as JSON."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ..specs import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["json_line"]

MAX_ITEMS: Final = 100
"""Of a list in a field."""
_MAX_DIGITS: Final = 2**63
"""Integers beyond that become text: many readers of JSON would round them."""


def json_line(at: float, level: str, text: str, fields: Mapping[str, object]) -> str:
    """One object with a line end: time (ISO 8601, UTC), level, event, message, then the other fields, which cannot
    replace these. `event` is the name of what happened, from the fields, and "log" without one. Valid JSON in ASCII,
    whatever the texts contain."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = _plain(fields.get("event", "log"))
    line: dict[str, object] = {"time": time, "level": level, "event": event, "message": _plain(text)}
    for name, value in fields.items():
        line.setdefault(name, _plain(value))
    return json.dumps(line) + "\n"


def _plain(value: object) -> object:
    """The value as JSON has it: what it has no form for becomes text, and infinity and not-a-number become null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _MAX_DIGITS:
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:MAX_ITEMS]]
    # A lone surrogate has an escape in JSON, but many readers refuse it.
    return str(value)[:MAX_TEXT].encode("utf-8", "replace").decode()
