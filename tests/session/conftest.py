"""Fixtures of the session's tests."""

from typing import Any

import pytest
import trio

import muxpy


@pytest.fixture(params=["poller", "copying", "callback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All ways that a splice can work."""
    name: str = request.param
    if name == "copying":
        monkeypatch.setattr("muxpy.session._stream.has_poller", False)
    if name == "callback":
        monkeypatch.setattr(muxpy.Stream, "splice", splice_with_callback)
    return name


async def splice_with_callback(stream: muxpy.Stream, socket: trio.SocketStream, **options: Any) -> None:  # noqa: ANN401
    """`Stream.splice`, made of `Stream.start_splice`."""
    await trio.lowlevel.checkpoint_if_cancelled()
    ends: list[BaseException | None] = []
    over = trio.Event()

    def on_end(error: BaseException | None) -> None:
        ends.append(error)
        over.set()

    stream.start_splice(socket, on_end=on_end, **options)
    try:
        await over.wait()
    except trio.Cancelled:
        stream.reset()
        raise
    finally:
        assert len(ends) == 1
    if ends[0] is not None:
        raise ends[0]
