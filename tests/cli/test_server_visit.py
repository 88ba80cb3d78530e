"""A visit to the listening end, frame by frame: what a stranger is given, and what changes with the login."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy_cli._options import ListenOptions, Output
from muxpy_cli.access import User, token_hash
from muxpy_cli.net import bind_streams
from muxpy_cli.server import Server, _waiting
from muxpy_cli.server._turned_away import DELAY
from muxpy_cli.specs import Address
from muxpy_cli.view import Console
from muxpy_cli.wire import Message, Purpose, pack
from tests.frame import wire
from tests.helpers.raw_peer import RawPeer
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = Address("127.0.0.1", 0)
HEARTBEAT = b"beat"


class House:
    """A listening end in this process."""

    def __init__(self, *users: User) -> None:
        self.console = Console(Output(verbosity=-1))
        self.server = Server(ListenOptions(address=LOOPBACK, users=users), self.console)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        bound = await bind_streams(LOOPBACK)
        self.port = bound.port
        self.server.listen_on(bound)
        async with trio.open_nursery() as nursery:
            started = trio.Event()
            nursery.start_soon(self.server.run, started.set)
            await started.wait()
            with trio.fail_after(LIMIT):
                yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[RawPeer]:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            yield RawPeer(stream)

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.console.events]


def hello(stream_id: int, **message: object) -> bytes:
    return wire.syn(stream_id, stream_type=Purpose.HELLO) + wire.data(stream_id, pack(Message(message)))


async def answer(peer: RawPeer, stream_id: int) -> bytes:
    """The first DATA of that stream; frames of others are passed over."""
    while True:
        frame = await peer.receive()
        assert frame is not None, "it has hung up"
        if (frame.name, frame.stream_id) == ("DATA", stream_id):
            return frame.body


async def the_end(peer: RawPeer) -> list[str]:
    """Read to the end; the names of the frames."""
    names = []
    try:
        while (frame := await peer.receive()) is not None:
            names.append(frame.name)
    except trio.BrokenResourceError:
        pass
    return names


async def test_a_heartbeat_before_the_login_is_answered_after_it() -> None:
    """Go's client opens that stream first, and takes a reset of it for the end of the session."""
    house = House()
    async with house.open(), house.peer() as peer:
        await peer.send(wire.syn(3, stream_type=wire.EXTENSION), wire.data(3, HEARTBEAT))
        await peer.send(hello(5))
        first = await peer.receive()
        assert first is not None
        names = [(first.name, first.stream_id)]
        while ("DATA", 3) not in names:
            frame = await peer.receive()
            assert frame is not None
            names.append((frame.name, frame.stream_id))
        assert ("RST", 3) not in names
        assert (await house.server.snapshot()).totals.sessions == 1


async def test_a_stranger_who_sends_much_is_cut_off() -> None:
    house = House()
    async with house.open(), house.peer() as peer:
        await peer.send(wire.syn(3, stream_type=Purpose.HELLO), wire.data(3, b"\x10\x00" + bytes(4000)))
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - at which of them, is up to the system
            while True:
                await peer.send(wire.syn(5, stream_type=wire.EXTENSION), wire.data(5, bytes(16_000)))
                await trio.sleep(0.01)
        assert "before it was let in" in house.lines[-1]


async def test_all_sessions_of_a_user_are_one_party_and_strangers_another(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[muxpy.SessionGroup | None] = []
    admit = muxpy.Session.admit

    def noted(session: muxpy.Session, group: muxpy.SessionGroup | None = None) -> None:
        groups.append(group)
        admit(session, group)

    monkeypatch.setattr(muxpy.Session, "admit", noted)
    house = House(*(User(name=name, token=token_hash(name)) for name in ("alice", "bob")))
    async with house.open(), house.peer() as one, house.peer() as two, house.peer() as three:
        for peer, name in ((one, "alice"), (two, "alice"), (three, "bob")):
            await peer.send(hello(3, token=name))
            assert name.encode() in await answer(peer, 3)
    assert len(groups) == 3
    assert None not in groups
    assert groups[0] is groups[1]
    assert groups[0] is not groups[2]


async def test_a_wrong_token_is_answered_late_and_gives_its_place_back_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_waiting, "PLACES_EACH", 1)
    monkeypatch.setattr(_waiting, "PATIENCE", LIMIT)
    house, answers = House(User(name="alice", token=token_hash("right"))), list[str]()

    async def ask(token: str, expected: bytes) -> None:
        async with house.peer() as peer:
            await peer.send(hello(3, token=token))
            assert expected in await answer(peer, 3)
            answers.append(token)
            assert token == "right" or await the_end(peer) == []  # the stream has ended with the answer

    async with house.open(), trio.open_nursery() as nursery:
        begun = trio.current_time()
        nursery.start_soon(ask, "wrong", b"forbidden")
        while not (await house.server.snapshot()).totals.auth_failures:  # noqa: ASYNC110 - a figure has no event
            await trio.sleep(0.01)
        assert "the token is not known here" in house.lines[-1]
        nursery.start_soon(ask, "right", b"alice")
    assert answers == ["right", "wrong"]
    assert trio.current_time() - begun >= DELAY


async def test_what_speaks_something_else_is_told_so_and_does_not_stay() -> None:
    house = House()
    async with house.open(), house.peer() as peer:
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await the_end(peer) == ["GOAWAY"]  # without waiting for this end to close
        assert house.lines[-1].endswith("illegal frame type 0")
        assert "HTTP" in house.lines[-1]
