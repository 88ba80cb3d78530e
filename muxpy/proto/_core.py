"""The seam: the interface between the shell and a protocol's core.

A core is sans I/O. The shell feeds it received bytes, and it answers with what they changed; it has a method for each
thing that the application does, and keeps the frames and data to be written in its `Sending`. There is one core for
each protocol, and who opens a session names it. Each protocol has a receive loop of its own, since that loop is the
protocol; streams, windows, the scheduler and the limits are the same for all (this package). A core calls back by
`Handle`.

Everything here is called once for each read, each batch, or each action of the application, and never for each frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ._stream import Handle, StreamState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muxpy._codes import ProtocolError
    from muxpy.frame import Buffer

    from ._changes import Changes, Counters, RemoteGoAway
    from ._limits import TokenBucket
    from ._sending import Sending
    from ._window import Budget

__all__ = ["Core", "Fields", "Handle", "Opening"]

Fields = tuple[tuple[bytes, bytes], ...]
"""Names and values, of a head or of trailers. muxado has neither; the core of `tests/seam` has both."""


class Opening(NamedTuple):
    """What a stream is opened with: in one protocol numbers, in another fields."""

    priority: int = 0
    stream_type: int = 0
    head: Fields = ()


class Core(Protocol):
    """One side of a connection."""

    # ---- what the shell may ask; read-only ----

    @property
    def client(self) -> bool:
        """Whether this side is the client."""

    @property
    def sending(self) -> Sending:
        """The sending side: what waits to be written."""

    @property
    def streams(self) -> Mapping[int, StreamState]:
        """Streams that live, by id."""

    @property
    def open_streams(self) -> int:
        """How many of them the application still uses: not those of extensions, nor those that it has closed."""

    @property
    def counters(self) -> Counters:
        """How many frames, bytes and streams have passed."""

    @property
    def budget(self) -> Budget:
        """How far receive windows may still grow, and the round trip."""

    @property
    def error(self) -> ProtocolError | None:
        """The rule that was broken, after which nothing more is received; None if none was."""

    @property
    def remote_goaway(self) -> RemoteGoAway | None:
        """The peer's GOAWAY; None if it has not come."""

    @property
    def goaway_sent(self) -> bool:
        """Whether the final GOAWAY was sent: from then on the peer's new streams are refused."""

    @property
    def can_open(self) -> bool:
        """Whether this side may open streams, now or later; in some protocols only one side may."""

    @property
    def may_open(self) -> bool:
        """Whether it may open one now; if not, `Changes.may_open_again` or the end of a stream may change that."""

    @property
    def used_up(self) -> bool:
        """Whether this side has no stream id left."""

    def is_local(self, stream_id: int) -> bool:
        """Whether this side opens streams of this id."""

    # ---- what the peer does ----

    def receive(self, data: Buffer, most: float) -> Changes:
        """Take received bytes, and stop when acting on them comes to `most` units of work; the bytes that are left are
        in `Changes.rest`. Sets `error` if the bytes break a rule."""

    def receive_lone(self, data: Buffer, now: float) -> StreamState | None:
        """`receive`, for data of one stream and nothing else: the stream, which has kept it. Returns None, and does
        nothing, if it is anything else, or if this core has no shorter way for it. `now`: when it was read."""

    def receive_eof(self) -> bool:
        """The transport ended. Returns whether it ended in order: on a frame boundary, and after the peer's GOAWAY."""

    def fail(self, error: ProtocolError) -> None:
        """End the connection, with a GOAWAY that says why. Only the first error counts."""

    # ---- the connection ----

    def admit(self) -> None:
        """The peer has authenticated itself: lift the limits of `wants_login`."""

    def allow_streams(self, most: int) -> None:
        """Let the peer have `most` streams open from now on, and let as many wait to be accepted."""

    def refuse_streams(self, refuse: bool) -> None:
        """Refuse the peer's new streams from now on, or take them again. Streams of extensions are never refused so."""

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        """Take tokens for the peer's resets, and for those that it provokes, from buckets shared with others."""

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer by GOAWAY to open no more streams. Returns False if that was said before.

        After one that is not `final`, streams that the peer opens before it has read this are still taken; a final one
        may follow.
        """

    def sample_rtt(self, rtt: float) -> None:
        """Note a round trip that was measured, in seconds."""

    def own_code(self, code: int) -> int:
        """The number that an error code has in this protocol. The shell, and what all protocols share, name codes by
        `ErrorCode`, which has muxado's numbers; those of other types are the protocol's own already."""

    # ---- one stream ----

    def check_opening(self, opening: Opening) -> None:
        """Raise ValueError for values that a stream cannot be opened with."""

    def open(self, opening: Opening, *, fin: bool = False) -> StreamState:
        """Open a stream; with `fin`, this side sends nothing on it. Ask `may_open` first."""

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        """The application has taken a stream that the peer opened: its place in the backlog is free again.

        With `hold` the stream counts as open until `let_go`, even if it ends: a reset must make no room while the work
        for the stream still runs (rapid reset).
        """

    def let_go(self, stream: StreamState) -> None:
        """The work for a stream that was held has ended: it does not count as open any more."""

    def read(self, stream: StreamState, max_bytes: int | None) -> bytes:
        """Return unread bytes, and give the peer window for them when enough has come together."""

    def read_directly(self, stream: StreamState, direct: bool) -> None:
        """Whether new data of the stream is to be offered in `Changes.direct`, to be passed on before it is kept."""

    def pass_on(self, stream: StreamState, count: int) -> None:
        """The shell has passed on the first `count` bytes that arrived for a stream in `Changes.direct`; keep the rest.

        To be called before anything else is received: `Incoming.arriving` holds views of the read buffer.
        """

    def finish(self, stream: StreamState, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        """End our direction (half-close); all submitted data must be in a batch. False if it had ended before.

        No frame is made for it if data was submitted with `end`, or if the stream's last small message still waits to
        be written: then that one ends the direction, unless there are trailers.
        """

    def close(self, stream: StreamState) -> None:
        """End our direction and read no more. A stream whose last send was cut short is reset instead: after an
        ordinary end, the peer would take the part for the whole."""

    def reset(self, stream: StreamState, code: int) -> None:
        """End both directions immediately, and drop unread data. For a stream that has ended, nothing is sent."""
