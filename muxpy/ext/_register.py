"""Which extension has which stream type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy.frame.muxado import MAX_STREAM_TYPE, MIN_EXTENSION_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muxpy.session import Extension

__all__ = ["MIN_EXTENSION_TYPE", "by_stream_type"]


def by_stream_type(extensions: Iterable[Extension]) -> dict[int, Extension]:
    """The extensions by stream type. Raises ValueError for a type outside the range, or one that two of them have."""
    found: dict[int, Extension] = {}
    for extension in extensions:
        kind = extension.stream_type
        if not MIN_EXTENSION_TYPE <= kind <= MAX_STREAM_TYPE:
            bounds = f"between {MIN_EXTENSION_TYPE:#x} and {MAX_STREAM_TYPE:#x}"
            raise ValueError(f"an extension's stream_type must lie {bounds}, not {kind:#x}")
        if kind in found:
            raise ValueError(f"two extensions have the stream_type {kind:#x}")
        found[kind] = extension
    return found
