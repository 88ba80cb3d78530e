"""What a trace and the log show of a session: each frame and how it ended, and never what the frames carry."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import GOAWAY, MAX_PAYLOAD, RST, encode_goaway, encode_rst, encode_syn, encode_wnd_inc
from tests.helpers.pairs import IN_MEMORY, session_pair, stream_pair, unix_pair
from tests.helpers.raw_peer import data, raw_session
from tests.helpers.tasks import assert_echo, bounded, read_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Seen = list[muxpy.TraceEvent]

SECRET = b"open sesame, the token of alice"


def traced(seen: Seen, **settings: Any) -> muxpy.SessionConfig:  # noqa: ANN401 - as the dataclass has them
    return muxpy.SessionConfig(trace=seen.append, heartbeat_interval=None, **settings)


def frames(seen: Seen, direction: str) -> list[dict[str, Any]]:
    """The frames, without when and of which session."""
    chosen = [event.as_dict() for event in seen if event.event == "frame" and event.direction == direction]
    for one in chosen:
        for name in ("time", "session", "event"):
            del one[name]
    return chosen


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


INCOMING = (
    (encode_syn(2, 5, 9, fin=True), {"type": "SYN", "stream": 2, "flags": ("FIN",), "priority": 5, "stream_type": 9}),
    (encode_syn(4), {"type": "SYN", "stream": 4, "priority": 0, "stream_type": 0}),
    (data(4, b"hello"), {"type": "DATA", "stream": 4, "length": 5}),
    (data(4, bytes(MAX_PAYLOAD)), {"type": "DATA", "stream": 4, "length": MAX_PAYLOAD}),
    (encode_wnd_inc(4, 70_000), {"type": "WND_INC", "stream": 4, "increment": 70_000}),
    (data(4, b"", fin=True), {"type": "DATA", "stream": 4, "flags": ("FIN",), "length": 0}),
    (encode_rst(2, 7), {"type": "RST", "stream": 2, "code": "CANCEL"}),
    (encode_rst(2, 99), {"type": "RST", "stream": 2, "code": "error 99"}),
    (
        encode_goaway(0, 1, b"f\xc3\xbcr \xff"),
        {"type": "GOAWAY", "stream": 0, "last_id": 0, "code": "PROTOCOL_ERROR", "text": "f\xfcr \\xff"},
    ),
)


@bounded()
@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_each_frame_that_comes_is_seen_once_however_reads_cut_it(
    step: int, autojump_clock: trio.testing.MockClock
) -> None:
    seen: Seen = []
    wire = b"".join(frame for frame, _ in INCOMING)
    async with raw_session(config=traced(seen), extensions=[]) as (session, peer):
        for start in range(0, len(wire), step):
            await peer.stream.send_all(wire[start : start + step])  # each is a read of its own
        while len(frames(seen, "received")) < len(INCOMING):
            await wait_all_tasks_blocked()
        session.kill()
    assert frames(seen, "received") == [{"direction": "received", **expected} for _, expected in INCOMING]


@bounded()
async def test_each_frame_that_goes_out_is_seen_once(autojump_clock: trio.testing.MockClock) -> None:
    seen: Seen = []
    async with raw_session(config=traced(seen), extensions=[]) as (session, peer):
        first = await session.open_stream(priority=3, stream_type=8)
        await first.send_all(b"small")
        await first.send_all(bytes(20_000))
        await first.send_eof()
        await session.open_stream(fin=True)
        await peer.send(encode_syn(2), *[data(2, bytes(MAX_PAYLOAD))] * 3)
        theirs = await session.accept_stream()
        while sum(frame.get("length", 0) for frame in frames(seen, "received")) < 3 * MAX_PAYLOAD:
            await wait_all_tasks_blocked()
        await theirs.receive_some(3 * MAX_PAYLOAD)
        await wait_all_tasks_blocked()
        theirs.reset()
        session.go_away(muxpy.ErrorCode.CANCEL, b"enough")
        await wait_all_tasks_blocked()
        session.kill()
        sent = await peer.rest()
    shown = frames(seen, "sent")
    assert [frame["type"] for frame in shown] == [frame.name for frame in sent]
    assert [frame["stream"] for frame in shown] == [frame.stream_id for frame in sent]
    assert [bool(frame.get("flags")) for frame in shown] == [
        frame.fin and frame.kind not in (RST, GOAWAY) for frame in sent
    ]
    assert [frame["length"] for frame in shown if "length" in frame] == [
        len(frame.body) for frame in sent if frame.name == "DATA"
    ]
    common = {"direction": "sent"}
    assert common | {"type": "SYN", "stream": 3, "priority": 3, "stream_type": 8} in shown
    assert common | {"type": "SYN", "stream": 5, "flags": ("FIN",), "priority": 0, "stream_type": 0} in shown
    assert common | {"type": "DATA", "stream": 3, "length": 0, "flags": ("FIN",)} in shown
    assert common | {"type": "WND_INC", "stream": 2, "increment": 3 * MAX_PAYLOAD} in shown
    assert common | {"type": "RST", "stream": 2, "code": "CANCEL"} in shown
    assert common | {"type": "GOAWAY", "stream": 0, "last_id": 2, "code": "CANCEL", "text": "enough"} in shown


@bounded()
@pytest.mark.parametrize("kind", [*IN_MEMORY, "unix", "tcp", "tls"])
async def test_both_ends_see_the_same_frames_between_a_begin_and_an_end(kind: str) -> None:
    here: Seen = []
    there: Seen = []
    async with session_pair(kind, client_config=traced(here), server_config=traced(there)) as (client, server):
        await assert_echo(client, server, bytes(60_000))
        await client.aclose()
    for seen, role in ((here, "client"), (there, "server")):
        begin, *_, end = seen
        assert (begin.event, begin.role, begin.tls) == ("begin", role, "TLSv1.3" if kind == "tls" else None)
        who = "this side" if role == "client" else "the peer"
        assert (end.event, end.code, end.text) == ("end", "NO_ERROR", f"{who} closed it")
        assert {event.session for event in seen} == {begin.session}
        assert [event.time for event in seen] == sorted(event.time for event in seen)
        assert all(event.event == "frame" for event in seen[1:-1])
    if kind in ("tcp", "tls"):
        assert here[0].local == there[0].remote
        assert here[0].remote == there[0].local
        assert (here[0].remote or "").startswith("127.0.0.1:")

    def without(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in frame.items() if name != "direction"} for frame in found]

    assert without(frames(here, "sent")) == without(frames(there, "received"))
    # The last words of the server may find that nobody reads any more.
    received = without(frames(here, "received"))
    assert received == without(frames(there, "sent"))[: len(received)]
    assert sum(frame.get("length", 0) for frame in received) == 60_000


@bounded()
async def test_what_a_splice_carries_is_seen_too(way: str) -> None:
    seen: Seen = []
    async with session_pair("unix", server_config=traced(seen)) as (client, server):
        peer, stream = await stream_pair(client, server)
        outer, inner = unix_pair()
        async with outer, inner, trio.open_nursery() as nursery:
            nursery.start_soon(stream.splice, inner)
            await peer.send_all(bytes(50_000))
            await peer.send_eof()
            assert len(await read_all(outer)) == 50_000
            await outer.send_all(bytes(30_000))
            await outer.send_eof()
            assert len(await read_all(peer)) == 30_000
    for direction, size in (("received", 50_000), ("sent", 30_000)):
        shown = [frame for frame in frames(seen, direction) if (frame["type"], frame["stream"]) == ("DATA", stream.id)]
        assert sum(frame["length"] for frame in shown) == size
        assert [frame.get("flags") for frame in shown if frame.get("flags")] == [("FIN",)]


@bounded()
@pytest.mark.parametrize("kind", ["memory", "unix", "tls"])
async def test_what_frames_carry_is_in_no_trace_and_no_log(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "trace"
    with muxpy.TraceFile(path) as trace:
        config = muxpy.SessionConfig(trace=trace)
        async with session_pair(kind, client_config=config, server_config=config) as (client, server):
            await assert_echo(client, server, SECRET)
            await assert_echo(client, server, SECRET * 2_000)
            near, far = await stream_pair(client, server)
            await near.send_all(SECRET)
            near.reset()
            far.reset()
    shown = path.read_text() + caplog.text + "".join(repr(record.args) for record in caplog.records)
    assert "DATA" in path.read_text()
    assert re.search(r"sent DATA stream \d+ length=", caplog.text)
    for secret in (SECRET, SECRET[:8], SECRET[-8:]):
        assert not [form for form in (secret.decode(), secret.hex(), str(list(secret))[1:-1]) if form in shown]


@bounded()
async def test_the_begin_is_seen_before_anything_else_however_fast_one_is() -> None:
    for hurry in (True, False):
        seen: Seen = []
        async with raw_session(config=traced(seen), extensions=[]) as (session, _):
            if not hurry:
                await session.open_stream()
            session.kill()
        assert [event.event for event in (seen[0], seen[-1])] == ["begin", "end"]


# ---- the hook and the file ----


@bounded()
async def test_a_hook_that_fails_is_logged_once_and_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: Seen = []

    def fail(event: muxpy.TraceEvent) -> None:
        calls.append(event)
        if event.type == "DATA":
            raise RuntimeError("out of ink")

    config = muxpy.SessionConfig(trace=fail, heartbeat_interval=None)
    async with session_pair("memory", client_config=config) as (client, server):
        await assert_echo(client, server, bytes(50_000))
        await assert_echo(server, client)
    assert [event.type for event in calls][-1] == "DATA"
    assert sum(event.type == "DATA" for event in calls) == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "muxpy.trace"
    assert "the trace hook failed and is not called any more" in record.getMessage()


@bounded()
async def test_a_full_disk_ends_the_trace_and_no_session(caplog: pytest.LogCaptureFixture) -> None:
    with muxpy.TraceFile("/dev/full") as trace:
        config = muxpy.SessionConfig(trace=trace)
        for _ in range(2):
            async with session_pair("memory", client_config=config) as (client, server):
                for _ in range(20):
                    await assert_echo(client, server)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "/dev/full: the trace ends here: [Errno 28] No space left on device"


def test_a_file_is_its_owners_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with muxpy.TraceFile(path) as trace:
        trace(muxpy.TraceEvent(time=0.5, session=1, event="begin"))
    before = written(path)
    path.chmod(0o644)
    with muxpy.TraceFile(path) as trace:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        trace(muxpy.TraceEvent(time=1.5, session=7, event="end", text="\u00e9\n"))
        assert written(path) == [*before, {"time": 1.5, "session": 7, "event": "end", "text": "\u00e9\n"}]  # at once
    trace(muxpy.TraceEvent(time=2.5, session=7, event="begin"))  # it is closed: nothing happens
    assert len(written(path)) == 2
    with pytest.raises(FileNotFoundError):
        muxpy.TraceFile(tmp_path / "nowhere" / "trace")


def test_half_a_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b'{"time":1.5,"session":1,"event":"begin"}\n{"time":2.0,"sess')
    with muxpy.TraceFile(path) as trace:
        trace(muxpy.TraceEvent(time=3.0, session=1, event="begin"))
    assert path.read_bytes().splitlines()[2] == b'{"time":3.0,"session":1,"event":"begin"}'


def test_what_is_no_trace_is_not_written_to(tmp_path: Path) -> None:
    precious = tmp_path / "tokens.toml"
    precious.write_text("[[users]]")
    with pytest.raises(FileExistsError, match="is not a trace"):
        muxpy.TraceFile(precious)
    assert precious.read_text() == "[[users]]"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="a pipe would hold up the session"):
        muxpy.TraceFile(pipe)


@bounded()
async def test_one_file_serves_several_sessions(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with muxpy.TraceFile(path) as trace:
        config = muxpy.SessionConfig(trace=trace, heartbeat_interval=None)
        async with (
            session_pair("memory", client_config=config, server_config=config) as (one, two),
            session_pair("memory", client_config=config) as (three, four),
        ):
            await assert_echo(one, two)
            await assert_echo(three, four)
    events = written(path)
    numbers = {event["session"] for event in events}
    assert len(numbers) == 3
    for number in numbers:
        mine = [event["event"] for event in events if event["session"] == number]
        assert (mine[0], mine[-1], mine.count("begin"), mine.count("end")) == ("begin", "end", 1, 1)


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "trace"

    def write(number: int) -> None:
        for _ in range(500):
            trace(muxpy.TraceEvent(time=1.0, session=number, event="frame", text="x" * number))

    with muxpy.TraceFile(path) as trace:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted({len(event["text"]) for event in written(path)}) == [1, 2, 3, 4]
    assert len(written(path)) == 2_000


# ---- nobody looks ----


@bounded()
async def test_nothing_is_tapped_if_nobody_looks(caplog: pytest.LogCaptureFixture) -> None:
    async with session_pair("memory", client_config=traced([])) as (client, server):
        assert client._engine.reader._tap is not None
        assert server._engine.reader._tap is None
        caplog.set_level(logging.DEBUG, "muxpy.frames")
        await assert_echo(client, server)
        assert not [record for record in caplog.records if record.name == "muxpy.frames"]  # it was off at the begin


@bounded()
@pytest.mark.parametrize("kind", ["unix", "tls"])
async def test_a_trace_costs_no_system_call(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    costs = []
    hooks: tuple[Callable[[muxpy.TraceEvent], object] | None, ...] = (None, repr)
    for trace in hooks:
        config = muxpy.SessionConfig(trace=trace, heartbeat_interval=None)
        async with session_pair(kind, client_config=config) as (client, server):
            near, far = await stream_pair(client, server)
            for size in (10, 5_000, 60_000):
                await near.send_all(bytes(size))
                await wait_all_tasks_blocked()
                await far.receive_some(100_000)
                await wait_all_tasks_blocked()
            figures = client.statistics()
            costs.append((figures.reads, figures.writes, figures.bytes_sent))
            client.kill()
    assert costs[0] == costs[1]
