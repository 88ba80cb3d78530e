"""What header blocks are: put together of frames, decoded, and requests, responses or trailers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from muxpy._codes import ProtocolError
from muxpy.frame.http2 import END_HEADERS, END_STREAM, Block, HpackDecoder, Http2Code, NeverIndexed, parse_headers
from muxpy.proto._limits import START

from ._heads import PRIORITIES, Malformed, RequestHead, ResponseHead, check_trailers, parse_request, parse_response
from ._news import USELESS, on_itself
from ._stream import HttpStream
from ._table import Past

if TYPE_CHECKING:
    from muxpy.proto._core import Fields

    from ._common import Common
    from ._news import News
    from ._settings import Settings

__all__ = ["Messages"]

BYTES_A_UNIT: Final = 32
"""Bytes of a header block that are a unit of work (`proto._limits`) beyond the frame's own: one may hold thousands of
fields."""

MOST_INTERIM: Final = 16
"""Interim responses (1xx) on one stream that nobody has taken yet."""

TOO_LARGE: Final = ((b":status", b"431"),)
"""Request Header Fields Too Large (RFC 6585, 5)."""


class OpenBlock:
    """A header block whose last frame has not come yet. Nothing else may come before that."""

    __slots__ = ("flags", "frames", "itself", "parts", "since", "size", "stream_id")

    def __init__(self, stream_id: int, flags: int, part: bytes, since: float, *, itself: bool) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.parts = [part]
        self.size = len(part)
        self.frames = 0
        self.since = since
        self.itself = itself


def _marked(fields: Fields, sensitive: frozenset[int]) -> Fields:
    """Fields whose values say themselves that they are never indexed, wherever they are passed on to; but for pseudo
    ones, which are not passed on as fields."""
    return tuple(
        (name, NeverIndexed(value)) if place in sensitive and name[:1] != b":" else (name, value)
        for place, (name, value) in enumerate(fields)
    )


class Messages:
    """The header blocks of one connection."""

    __slots__ = ("_common", "_connect", "_hpack", "_news", "_settings", "_table", "block", "urgencies")

    def __init__(self, common: Common, settings: Settings, news: News) -> None:
        config = common.config
        self._common = common
        self._settings = settings
        self._news = news
        self._table = common.table
        self._hpack = HpackDecoder(max_fields_bytes=config.max_header_bytes, max_fields=config.max_header_fields)
        self._connect = config.extended_connect
        self.block: OpenBlock | None = None
        """The block that has begun and not ended."""
        self.urgencies: dict[int, int] = {}
        """Of streams that have not been opened yet (PRIORITY_UPDATE)."""

    # ---- frames to blocks ----

    def on_headers(self, stream_id: int, flags: int, body: bytes) -> None:
        """HEADERS."""
        if not stream_id:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "HEADERS for stream 0")
        part, priority = parse_headers(flags, body)
        itself = priority is not None and priority[0] == stream_id
        if flags & END_HEADERS:
            self._on_block(stream_id, flags, part, itself)
        else:
            self.block = OpenBlock(stream_id, flags, part, self._common.clock(), itself=itself)

    def on_continuation(self, stream_id: int, flags: int, body: bytes) -> None:
        """CONTINUATION, which is known to be in order if a block is open."""
        block = self.block
        if block is None:
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, "CONTINUATION without a header block before it")
        config = self._common.config
        block.parts.append(body)
        block.size += len(body)
        block.frames += 1
        # Bytes and frames are bounded, whatever the fields in them may come to (CVE-2023-45288).
        if block.frames > config.max_continuations or block.size > config.max_header_bytes:
            raise ProtocolError(Http2Code.ENHANCE_YOUR_CALM, "a header block is too large, or comes in too many frames")
        if flags & END_HEADERS:
            self.block = None
            self._on_block(stream_id, block.flags, b"".join(block.parts), block.itself)

    def rest(self) -> None:
        """Nothing goes on: let go of the blocks that are kept because they come again, and of the last streams."""
        self._hpack.forget()
        self._news.rest()

    def overdue(self, now: float) -> ProtocolError | None:
        """The error of a peer that has begun a header block and takes too long to end it."""
        block, limit = self.block, self._common.config.header_timeout
        if block is None or limit is None or now - block.since < limit:
            return None
        return ProtocolError(Http2Code.ENHANCE_YOUR_CALM, f"a header block was not whole within {limit:g} s")

    # ---- blocks to messages ----

    def _on_block(self, stream_id: int, flags: int, part: bytes, itself: bool) -> None:
        block = self._hpack.decode(part)  # first, whatever comes of it: the peer's encoder counts on that
        self._news.changes.work += len(part) // BYTES_A_UNIT
        if block.sensitive:
            block.fields = _marked(block.fields, block.sensitive)  # such a block is never one that comes again
        end = bool(flags & END_STREAM)
        table = self._table
        stream = table.live.get(stream_id)
        if itself:
            if stream is None and stream_id > table.last_remote and not self._settings.client:
                table.note_remote(stream_id)  # it is not idle any more, so it may be reset
            self._news.end_stream(stream_id, on_itself(stream_id))
        elif stream is None:
            if stream_id > table.last_remote and not self._settings.client:
                self._on_request(stream_id, block, end)
            else:
                self._head_for_forgotten(stream_id)
        elif stream.phase.peer_done:
            self._news.reset(stream, Http2Code.STREAM_CLOSED)
        elif stream.tunnel and not stream.phase.reads:  # the application has closed it
            self._news.reset(stream, Http2Code.CANCEL)
        elif block.too_large:
            self._news.reset(stream, Http2Code.ENHANCE_YOUR_CALM)
        else:
            try:
                if self._settings.client and stream.answer is None:
                    self._on_response(stream, block, end)
                else:
                    self._on_trailers(stream, block, end)
            except Malformed:
                self._news.reset(stream, Http2Code.PROTOCOL_ERROR)

    def _on_request(self, stream_id: int, block: Block, end: bool) -> None:
        common = self._common
        table = self._table
        table.note_remote(stream_id)
        if common.goaway_sent or common.refusing or table.full(common.config.accept_backlog):
            self._turn_away(stream_id)
            return
        if block.too_large:
            self._answer_431(stream_id, end)
            return
        request = block.checked
        if not isinstance(request, RequestHead):
            try:
                request = block.checked = parse_request(block.fields)
            except Malformed:
                self._news.refuse(stream_id, Http2Code.PROTOCOL_ERROR)
                return
        if (request.protocol and not self._connect) or (end and request.content_length):
            self._news.refuse(stream_id, Http2Code.PROTOCOL_ERROR)
            return
        urgency = request.urgency
        if self.urgencies:
            urgency = self.urgencies.pop(stream_id, urgency)
        stream = HttpStream(stream_id, request, self._settings.window, PRIORITIES[urgency], ended=end)
        if not end:
            stream.expected = request.content_length
        table.add_remote(stream)
        common.counters.accepted += 1
        self._news.changes.opened.append(stream)
        self._news.changes.streams = True
        self._news.changes.work += START

    def _turn_away(self, stream_id: int) -> None:
        """Refuse a stream that may be tried again. It costs no token: it starts no work."""
        self._common.counters.refused += 1
        self._common.refuse(stream_id, Http2Code.REFUSED_STREAM)

    def _answer_431(self, stream_id: int, end: bool) -> None:
        """The head of a request is too large: say so in the terms of HTTP, and read no more of it."""
        self._news.provoked.spend()
        self._common.put_head(stream_id, TOO_LARGE, end=True, counts=True)
        if not end:
            self._common.refuse(stream_id, Http2Code.NO_ERROR)

    def _on_response(self, stream: HttpStream, block: Block, end: bool) -> None:
        head = block.checked
        if not isinstance(head, ResponseHead):
            head = block.checked = parse_response(block.fields)
        if head.status < 200:
            if end:
                raise Malformed("an interim response ends the stream")
            self._news.resets.spend(USELESS)
            waiting = stream.interim = stream.interim or []
            if len(waiting) >= MOST_INTERIM:
                self._news.reset(stream, Http2Code.ENHANCE_YOUR_CALM)
                return
            waiting.append(head)
        else:
            stream.answer = head
            method = stream.request.method
            if method == b"CONNECT":
                stream.tunnel = 200 <= head.status < 300  # otherwise it is a message that says why not
            if not stream.tunnel:
                bodiless = method == b"HEAD" or head.status in (204, 304)  # whatever content-length says of others
                stream.expected = 0 if bodiless else head.content_length
        self._news.arrived_on(stream)
        if end:
            self._news.ended(stream)

    def _on_trailers(self, stream: HttpStream, block: Block, end: bool) -> None:
        if not end:
            raise Malformed("fields after the body that do not end it")
        if stream.tunnel:
            raise Malformed("a tunnel has no trailers")
        if block.checked is not block.fields:
            check_trailers(block.fields)
            block.checked = block.fields
        stream.trailers = block.fields
        self._news.ended(stream)

    def _head_for_forgotten(self, stream_id: int) -> None:
        table = self._table
        past = table.past(stream_id)
        if past is Past.IDLE or past is Past.SKIPPED:
            # An even id, or one below the last: nobody may open that.
            raise ProtocolError(Http2Code.PROTOCOL_ERROR, f"stream id {stream_id} is not the peer's to open")
        if past is Past.ENDED:
            raise ProtocolError(Http2Code.STREAM_CLOSED, f"HEADERS for stream {stream_id}, which has ended")
        if past is Past.RESET_THERE:
            self._news.refuse(stream_id, Http2Code.STREAM_CLOSED)
