"""The settings of both sides (RFC 9113, 6.5): what each has said, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy._config import INITIAL_WINDOW
from muxpy.frame.http2 import (
    DEFAULT_MAX_FRAME_SIZE,
    MAX_WINDOW,
    PREFACE,
    SETTINGS_ACK,
    Http2Code,
    Setting,
    encode_settings,
    encode_window_update,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muxpy.proto._changes import Changes

    from ._common import Common

__all__ = ["DEFAULT_WINDOW", "Settings", "first_settings"]

DEFAULT_WINDOW: Final = 65_535
"""Of the connection and of each stream, as long as nothing else was said (RFC 9113, 6.9.2)."""

LARGEST_FRAME_SIZE: Final = 2**24 - 1

MOST_ENTRIES: Final = 100
"""Settings in one frame. There are eight; the rest would only take time."""

STREAMS_UNTIL_TOLD: Final = 1
"""Streams that a client opens before the server's settings have come. The rest waits for one round trip, or a server
that takes fewer than were opened would refuse some, and not every request can be sent again."""


def first_settings(*, client: bool, max_streams: int, head_bytes: int, connect: bool) -> dict[int, int]:
    """What this side says of itself at the beginning."""
    said: dict[int, int] = {
        Setting.INITIAL_WINDOW_SIZE: INITIAL_WINDOW,
        Setting.MAX_HEADER_LIST_SIZE: head_bytes,
    }
    if client:
        said[Setting.ENABLE_PUSH] = 0
    else:
        said[Setting.MAX_CONCURRENT_STREAMS] = max_streams
        said[Setting.NO_RFC7540_PRIORITIES] = 1
        if connect:
            said[Setting.ENABLE_CONNECT_PROTOCOL] = 1
    return said


class Settings:
    """What the peer has said of itself, and what it has acknowledged of ours."""

    __slots__ = (
        "_begun",
        "_common",
        "_unacknowledged",
        "client",
        "heard",
        "max_streams",
        "takes_connect",
        "takes_push",
        "window",
    )

    def __init__(self, common: Common, *, client: bool) -> None:
        self.client = client
        self.heard = False
        """Whether the peer's first settings have come."""
        self.max_streams = STREAMS_UNTIL_TOLD if client else 0
        """Streams that this side may have open."""
        self.takes_push = not client
        self.takes_connect = False
        """Whether the peer takes extended CONNECT (RFC 8441)."""
        self.window = DEFAULT_WINDOW
        """What each stream may send at first."""
        self._common = common
        self._begun = False
        self._unacknowledged = 0  # frames of ours

    def begin(self) -> None:
        """Say what each connection begins with, if that was not done yet: nothing else may come before it."""
        if self._begun:
            return
        self._begun = True
        config, outbox = self._common.config, self._common.sending.outbox
        if self.client:
            outbox.put(PREFACE, counts=False)
        self.say(
            first_settings(
                client=self.client,
                max_streams=config.max_streams,
                head_bytes=config.max_header_bytes,
                connect=config.extended_connect,
            )
        )
        # What all streams together may send never limits the peer: what is unread is bounded by the streams' windows.
        outbox.put(encode_window_update(0, MAX_WINDOW - DEFAULT_WINDOW), counts=False)

    def say(self, settings: dict[int, int]) -> None:
        """Tell the peer of this side's settings."""
        self._unacknowledged += 1
        self._common.sending.outbox.put(encode_settings(settings))

    def acknowledged(self) -> None:
        """The peer has acknowledged settings of ours."""
        if not self._unacknowledged:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "settings were acknowledged that were never sent")
        self._unacknowledged -= 1

    def take(self, entries: Sequence[tuple[int, int]], changes: Changes) -> None:
        """Act on the peer's settings, in their order, and acknowledge them."""
        if len(entries) > MOST_ENTRIES:
            raise ProtocolError(Http2Code.ENHANCE_YOUR_CALM, f"more than {MOST_ENTRIES} settings in one frame")
        changes.work += len(entries)
        could = self.max_streams
        if not self.heard:
            self.heard = True
            self.max_streams = MAX_WINDOW  # without a number there is no limit
        windows = [value for kind, value in entries if kind == Setting.INITIAL_WINDOW_SIZE]
        for kind, value in entries:
            self._take_one(kind, value)
        if windows:
            self._shift_windows(windows, changes)
        changes.may_open_again |= self.max_streams > could
        self._common.sending.outbox.put(SETTINGS_ACK)

    def _shift_windows(self, windows: list[int], changes: Changes) -> None:
        """The send windows of all streams change with the initial one. Only the last value of a frame counts, and the
        highest must not make any window too large: so a frame costs one look at each stream, whatever is in it."""
        live = self._common.table.live.values()
        changes.work += len(live)
        before, self.window = self.window, windows[-1]
        growth = max(windows) - before
        if growth > 0 and any(stream.send_window + growth > MAX_WINDOW for stream in live):
            raise ProtocolError(Http2Code.FLOW_CONTROL_ERROR, f"a stream's window would become more than {MAX_WINDOW}")
        if self.window != before:
            for stream in live:
                if self._common.sending.open_window(stream, self.window - before):
                    changes.writable.append(stream)

    def _take_one(self, kind: int, value: int) -> None:
        match kind:
            case Setting.HEADER_TABLE_SIZE:
                self._common.encoder.set_max_table_size(value)
            case Setting.ENABLE_PUSH:
                if value > 1 or (value and self.client):
                    raise _wrong("ENABLE_PUSH", value)
                self.takes_push = bool(value)
            case Setting.MAX_CONCURRENT_STREAMS:
                self.max_streams = value
            case Setting.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise _wrong("INITIAL_WINDOW_SIZE", value, Http2Code.FLOW_CONTROL_ERROR)
            case Setting.MAX_FRAME_SIZE:
                if not DEFAULT_MAX_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
                    raise _wrong("MAX_FRAME_SIZE", value)
            case Setting.ENABLE_CONNECT_PROTOCOL:
                if value > 1 or (self.takes_connect and not value):  # RFC 8441, 3
                    raise _wrong("ENABLE_CONNECT_PROTOCOL", value)
                self.takes_connect = bool(value)
            case Setting.NO_RFC7540_PRIORITIES:
                if value > 1:  # RFC 9218, 2.1
                    raise _wrong("NO_RFC7540_PRIORITIES", value)


def _wrong(name: str, value: int, code: Http2Code = Http2Code.PROTOCOL_ERROR) -> ProtocolError:
    return ProtocolError(code, f"SETTINGS_{name} must not be {value}")
