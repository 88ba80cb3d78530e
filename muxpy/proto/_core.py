"""The seam: what the shell asks of a protocol's core.

A core is sans I/O: it is fed received bytes and answers with what they changed, has a method for each thing that the
application does, and keeps what is to be written in its `Sending`. There is one for each protocol, and
`muxpy._open` chooses. Each protocol has a receive loop of its own, since that loop is the protocol; streams, windows,
the scheduler and the limits are the same for all (this package). The way back is `Handle`.

Everything here is called once for a read, for a batch, or for what an application does, and never for a frame.
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
"""Names and values, of a head or of trailers."""


class Opening(NamedTuple):
    """What a stream is opened with: numbers in one protocol, fields in another."""

    priority: int = 0
    stream_type: int = 0
    head: Fields = ()


class Core(Protocol):
    """One side of a connection."""

    # ---- what the shell may ask; read-only ----

    @property
    def client(self) -> bool:
        """Which of the two sides this is."""

    @property
    def sending(self) -> Sending:
        """What waits to be written."""

    @property
    def streams(self) -> Mapping[int, StreamState]:
        """Streams that live, by id."""

    @property
    def open_streams(self) -> int:
        """How many of them are of use to the application: not extensions', not those that it has closed."""

    @property
    def counters(self) -> Counters:
        """What has passed."""

    @property
    def budget(self) -> Budget:
        """What windows may still grow by, and the round trip."""

    @property
    def error(self) -> ProtocolError | None:
        """The rule that was broken; nothing more is received then."""

    @property
    def remote_goaway(self) -> RemoteGoAway | None:
        """The peer's GOAWAY."""

    @property
    def goaway_sent(self) -> bool:
        """Whether the peer was told finally to open no more streams."""

    @property
    def can_open(self) -> bool:
        """Whether this side may open streams, now or later; some protocols let only one side."""

    @property
    def may_open(self) -> bool:
        """Whether it may open one now; if not yet, look again when `Changes.may_open` says so or a stream has ended."""

    @property
    def used_up(self) -> bool:
        """Whether this side has no stream id left."""

    def is_local(self, stream_id: int) -> bool:
        """Whether this side opens streams of this id."""

    # ---- what the peer does ----

    def receive(self, data: Buffer, most: float) -> Changes:
        """Take received bytes, and stop when acting on them comes to `most` units of work: what is left is
        `Changes.rest`. Sets `error` if they break the connection."""

    def receive_eof(self) -> bool:
        """The transport ended. Whether it ended in order: on a frame boundary and after the peer's GOAWAY."""

    def fail(self, error: ProtocolError) -> None:
        """End the connection with a GOAWAY that says why. Only the first error counts."""

    # ---- the connection ----

    def admit(self) -> None:
        """The peer has shown who it is: what `wants_login` holds it to is lifted."""

    def allow_streams(self, most: int) -> None:
        """The peer may have so many streams open from now on, and as many may wait to be accepted."""

    def refuse_streams(self, refuse: bool) -> None:
        """Whether the peer's new streams are refused, as long as nobody takes any. Those of extensions are not."""

    def share_resets(self, resets: TokenBucket, provoked: TokenBucket) -> None:
        """Count the peer's resets, and those that it provokes, together with those of other connections."""

    def go_away(self, code: int, debug: bytes = b"", *, final: bool = True) -> bool:
        """Tell the peer to open no more streams. False if that was said before.

        Unless it is `final`, streams that the peer opens before it has read this are taken: another one, which is,
        may follow.
        """

    def sample_rtt(self, rtt: float) -> None:
        """Take a round trip that was measured, in seconds."""

    # ---- one stream ----

    def check_opening(self, opening: Opening) -> None:
        """Raise ValueError for what a stream cannot be opened with."""

    def open(self, opening: Opening, *, fin: bool = False) -> StreamState:
        """Open a stream; ask `may_open` first."""

    def accepted(self, stream: StreamState, *, hold: bool = False) -> None:
        """The application has taken a stream that the peer opened: its place in the backlog is free again.

        With `hold` it counts as open until `let_go`, even if it ends: resets must not free work that still runs.
        """

    def let_go(self, stream: StreamState) -> None:
        """The work for a stream that was held has ended."""

    def read(self, stream: StreamState, max_bytes: int | None) -> bytes:
        """Take unread bytes, and give the peer window for them when enough has come together."""

    def read_directly(self, stream: StreamState, direct: bool) -> None:
        """Whether new data of the stream is offered to be passed on, in `Changes.direct`, before it is kept."""

    def pass_on(self, stream: StreamState, count: int) -> None:
        """Of a stream in `Changes.direct`, the first `count` bytes that arrived have been passed on; keep the others.

        To be called before anything else is received: until then, `Incoming.arriving` are views of what was.
        """

    def finish(self, stream: StreamState, trailers: Sequence[tuple[bytes, bytes]] = ()) -> bool:
        """End our direction; nothing may be submitted and unsent. False if it had ended already."""

    def close(self, stream: StreamState) -> None:
        """End our direction and read no more. A stream whose last send was cut short is reset instead: an ordinary end
        would make it look whole."""

    def reset(self, stream: StreamState, code: int) -> None:
        """End both directions immediately, and drop what is unread. A stream that has ended sends nothing."""
