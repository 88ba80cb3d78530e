"""What docs/protocol.md says of the Go package, where it would be easy to say it wrong."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from muxpy.frame.muxado import DATA, MAX_STREAM_TYPE, MIN_EXTENSION_TYPE, RST, WND_INC, encode_syn
from tests.helpers.raw_peer import RawPeer, data
from tests.helpers.tasks import bounded
from tests.interop.gopeer import PROGRAM, GoPeer, go_package

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def test_there_are_as_many_extension_types_as_it_says() -> None:
    assert MAX_STREAM_TYPE - MIN_EXTENSION_TYPE + 1 == 257
    assert "leaves 257 types" in PAGE


@pytest.mark.live_peer
def test_each_function_of_go_has_a_line() -> None:
    PROGRAM.require()
    table = PAGE.partition("## From Go's API to this one")[2]
    names = set(re.findall(r"`([^`]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    words = {word for name in names for word in re.findall(r"\w+", name)}
    package = go_package()
    functions = re.findall(
        r"^func (?:\(\w+ \*Listener\) )?([A-Z]\w+)",
        "".join((package / name).read_text() for name in ("client.go", "server.go")),
        re.MULTILINE,
    )
    methods = re.findall(r"^\t([A-Z]\w+)\(", (package / "interface.go").read_text(), re.MULTILINE)
    assert len(functions) == 10
    assert len(methods) == 23
    assert {*functions, *methods} <= words


# ---- by the bytes ----


async def until_data(raw: RawPeer) -> None:
    """Go gives window after each read."""
    frame = await raw.receive()
    while frame is not None and frame.kind == WND_INC:
        frame = await raw.receive()
    assert frame is not None
    assert frame.kind == DATA


async def connected(peer: GoPeer) -> RawPeer:
    return RawPeer(await trio.open_tcp_stream(peer.host, peer.port))


@pytest.mark.live_peer
@pytest.mark.usefixtures("go_program")
@bounded()
async def test_after_its_goaway_go_takes_no_notice_of_the_ids_that_it_refuses() -> None:
    async with GoPeer.listen("-no-heartbeat") as peer:
        raw = await connected(peer)
        async with raw.stream:
            await raw.send(encode_syn(3))
            await peer.call("accept")
            await peer.call("goaway", code=0, debug=b"")
            await raw.stream.receive_some(16)  # its GOAWAY, of which the length is wrong
            await raw.send(encode_syn(2))  # its own parity: a session error at any other time
            assert (await raw.expect(RST, 2)).code == 6
            await raw.send(encode_syn(5), data(5, b"sent at once"))
            with suppress(trio.BrokenResourceError):  # TCP may reset it: what came was not read to its end
                await raw.rest()
        assert (await peer.call("wait"))["code"] == 1


@pytest.mark.live_peer
@pytest.mark.usefixtures("go_program")
@bounded()
async def test_go_reads_nothing_more_when_a_hundred_streams_wait_to_be_accepted() -> None:
    ids = list(range(3, 3 + 2 * 102, 2))
    async with GoPeer.listen("-no-heartbeat") as peer:
        raw = await connected(peer)
        async with raw.stream:
            await raw.send(*map(encode_syn, ids[:101]), data(ids[0], b"?"))
            first = (await peer.call("accept"))["stream"]
            assert first == ids[0]  # makes room for the last one
            assert (await peer.call("read", stream=first, max=1))["data"] == b"?"
            await raw.send(encode_syn(ids[101]), data(first, b"!"))
            answered = False

            async def read() -> None:
                nonlocal answered
                assert (await peer.call("read", stream=first, max=1))["data"] == b"!"
                answered = True

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                # Nothing tells from outside that it is stuck: its answers to two more commands come before.
                await peer.call("write", stream=first, data=b"a")
                await until_data(raw)
                await peer.call("write", stream=first, data=b"b")
                await until_data(raw)
                assert not answered
                assert (await peer.call("accept"))["stream"] == ids[1]
            assert answered


@pytest.mark.live_peer
@pytest.mark.usefixtures("go_program")
@bounded()
async def test_a_kill_of_go_says_nothing() -> None:
    async with GoPeer.listen("-no-heartbeat") as peer:
        raw = await connected(peer)
        async with raw.stream:
            await peer.call("kill")
            assert await raw.receive() is None
        assert (await peer.call("wait"))["code"] == 2
