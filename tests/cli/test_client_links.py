"""The connecting end's sessions and forwards, without a listening end: what is chosen, and what state is told."""

from __future__ import annotations

import itertools
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing

import muxpy
from muxpy_cli._errors import Unreachable
from muxpy_cli._options import ConnectOptions
from muxpy_cli.client import _links
from muxpy_cli.client._links import Links, NoSession
from muxpy_cli.client._local import LocalForward
from muxpy_cli.client._remote import RemoteForward
from muxpy_cli.client._retrying import FIRST_DELAY, MAX_DELAY
from muxpy_cli.specs import Address, parse_local, parse_remote
from muxpy_cli.view import Console
from muxpy_cli.wire import Purpose, Refused, pack, receive_message
from tests.helpers.tasks import LIMIT

from .program import Server, receive_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OPTIONS = ConnectOptions(address=Address("localhost", 1), sessions=2)


class FakeSession:
    """A session that has so many streams, and opens them or is going away."""

    def __init__(self, streams: int, *, going_away: bool = False) -> None:
        self.streams = streams
        self.going_away = going_away
        self.id = 3  # of the stream that it opens, which is itself

    def statistics(self) -> SimpleNamespace:
        return SimpleNamespace(streams_open=self.streams)

    async def open_stream(self, **_: object) -> FakeSession:
        await trio.lowlevel.checkpoint()
        if self.going_away:
            raise muxpy.SessionGoingAway("the peer is going away")
        return self


def links_with(*sessions: object, options: ConnectOptions = OPTIONS) -> Links:
    async def serve(_: muxpy.Session) -> None:
        """Nothing is opened from the other end."""

    links = Links(options, cast("Any", None), Console(), serve)
    for link, session in zip(links.links, sessions, strict=False):
        link.up(cast("Any", session))
    return links


@pytest.mark.parametrize("method", ["open_stream", "open_stream_some_time"])
async def test_a_session_that_is_going_away_does_not_hold_up_what_another_can_carry(
    method: str, autojump_clock: trio.testing.MockClock
) -> None:
    leaving, other = FakeSession(1, going_away=True), FakeSession(5)
    links = links_with(leaving, other)
    for _ in range(2):
        assert await getattr(links, method)(Purpose.CONNECT) is cast("Any", other)
    assert trio.current_time() == autojump_clock.current_time()
    assert [link.session for link in links.live] == [cast("Any", other)]
    links.links[0].up(cast("Any", FakeSession(0)))
    assert len(links.live) == 2


async def test_without_another_session_a_connection_waits_for_as_long_as_it_may(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun = trio.current_time()
    with pytest.raises(NoSession):
        await links_with(FakeSession(1, going_away=True)).open_stream(Purpose.CONNECT)
    assert trio.current_time() - begun == OPTIONS.connect_wait


async def test_a_connection_that_waits_is_told_that_no_session_will_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    links = links_with()
    for link in links.links:
        link.over.set()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(NoSession, match="this end is ending"):
                await links.open_stream(Purpose.CONNECT)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        await links.drain()
    assert trio.current_time() == begun


@pytest.mark.parametrize("closed", [False, True])
async def test_a_remote_forward_without_a_session_ends_with_its_client(
    closed: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Also one that has yet to begin when it is closed, and so never sees that it was cancelled."""
    links = links_with()
    for link in links.links:
        link.over.set()
    remote = RemoteForward(parse_remote("1:localhost:2"), links, Console(), "somewhere")
    async with trio.open_nursery() as nursery:
        if closed:
            remote.close()
            await links.drain()
        nursery.start_soon(remote.run)
        await trio.testing.wait_all_tasks_blocked()
        await links.drain()


async def test_the_first_new_attempt_comes_within_a_second_and_all_are_spread(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 400
    attempts: dict[int, list[float]] = defaultdict(list)

    @asynccontextmanager
    async def refused(*_: object, slot: int, **__: object) -> AsyncIterator[muxpy.Session]:
        attempts[slot].append(trio.current_time())
        raise Unreachable("crowded")
        yield

    monkeypatch.setattr(_links, "log_in", refused)
    links = links_with(options=replace(OPTIONS, sessions=count))
    async with trio.open_nursery() as nursery:
        for link in links.links:
            nursery.start_soon(links.run, link)
        await trio.sleep(8)
        nursery.cancel_scope.cancel()
    firsts = [times[1] - times[0] for times in attempts.values()]
    assert len(firsts) == count
    assert max(firsts) <= 1
    for quarter in range(4):  # each has a quarter of them, give or take five times the deviation
        assert sum(quarter <= 4 * wait < quarter + 1 for wait in firsts) > 50
    for times in attempts.values():
        waits = [after - before for before, after in itertools.pairwise(times)]
        assert all(2 ** (number - 1) <= wait <= 2**number for number, wait in enumerate(waits[1:], 1))


@asynccontextmanager
async def session_pair() -> AsyncIterator[tuple[muxpy.Session, muxpy.Session]]:
    near, far = trio.testing.memory_stream_pair()
    async with (
        muxpy.open_session(near, client=True) as client,
        muxpy.open_session(far, client=False) as server,
    ):
        yield client, server
        client.kill()


async def test_a_forward_that_the_other_end_has_ended_is_not_told_as_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        links = links_with(client, options=ConnectOptions(address=OPTIONS.address))
        remote = RemoteForward(parse_remote("0:localhost:80"), links, Console(), "there")
        nursery.start_soon(remote.run)
        waits: list[float] = []
        for _ in range(2):
            control = await server.accept_stream()
            await receive_message(control)
            await control.send_all(pack({"port": 4000}))
            await remote.first_time.wait()
            while not remote.bound:  # noqa: ASYNC110 - it is when the answer has come
                await trio.sleep(0.001)
            await control.send_all(pack(Refused("forbidden", "not any more").message()))
            while remote.bound:  # noqa: ASYNC110
                await trio.sleep(0.001)
            assert (remote.describe().state, remote.describe().error is None) == ("failed", False)
            begun = trio.current_time()
            again = await server.accept_stream()
            waits.append(trio.current_time() - begun)
            again.reset()
        assert max(waits) <= FIRST_DELAY  # it was bound meanwhile: the next failure is a first one
        nursery.cancel_scope.cancel()


async def test_a_place_that_stays_refused_is_asked_for_with_backoff_and_jitter(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with session_pair() as (client, server), trio.open_nursery() as nursery:
        links = links_with(client, options=ConnectOptions(address=OPTIONS.address))
        remote = RemoteForward(parse_remote("0:localhost:80"), links, Console(), "there")
        nursery.start_soon(remote.run)
        control = await server.accept_stream()
        await receive_message(control)
        await control.send_all(pack({"port": 4000}))
        await remote.first_time.wait()
        refusal = pack(Refused("in use", "somebody else has it").message())
        waits: list[float] = []
        for _ in range(7):
            await control.send_all(refusal)
            begun = trio.current_time()
            control = await server.accept_stream()
            waits.append(trio.current_time() - begun)
            await receive_message(control)
        longest = [FIRST_DELAY, 2, 4, 8, 16, MAX_DELAY, MAX_DELAY]
        assert all(wait <= most + 0.01 for wait, most in zip(waits, longest, strict=True))
        assert all(wait >= most / 2 for wait, most in zip(waits[1:], longest[1:], strict=True))
        assert waits != [round(wait) for wait in waits]
        nursery.cancel_scope.cancel()


async def test_a_remote_forward_that_is_closed_before_it_runs_is_not_waited_for() -> None:
    remote = RemoteForward(parse_remote("0:localhost:80"), links_with(FakeSession(0)), Console(), "there")
    remote.close()
    await remote.run()
    assert remote.first_time.is_set()


class OneClient:
    """A stream with a SOCKS client at its end, who goes away before the answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request

    async def receive_some(self, _: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        data, self._request = self._request, b""
        return data

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if data[:3] == b"\x05\x00\x00":
            raise trio.BrokenResourceError("the client has gone")


async def test_the_target_of_a_reverse_proxy_whose_client_has_gone_is_reset() -> None:
    ends: list[str] = []
    done = trio.Event()

    async def target(stream: trio.SocketStream) -> None:
        try:
            ends.append(repr(await receive_all(stream)))
        except trio.BrokenResourceError:
            ends.append("reset")
        done.set()

    with trio.fail_after(LIMIT):
        async with Server(target) as server:
            remote = RemoteForward(parse_remote("0"), links_with(), Console(), "there")
            request = b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\1" + server.port.to_bytes(2, "big")
            with pytest.raises(trio.BrokenResourceError):
                await remote._serve_proxy(cast("Any", OneClient(request)), b"")
            await done.wait()
    assert ends == ["reset"]


async def test_what_nobody_has_thought_of_ends_one_connection_and_not_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(FakeSession):
        def open_stream_nowait(self, **_: object) -> FakeSession:
            raise OSError(28, "No space left on device")

    with trio.fail_after(LIMIT):
        local = LocalForward(parse_local("0:localhost:80"), links_with(Broken(0)), Console())
        await local.bind()
        async with trio.open_nursery() as relays:
            relays.start_soon(local.serve, relays)
            port = int(local.bound.rpartition(":")[2])
            for _ in range(2):
                with pytest.raises((trio.BrokenResourceError, OSError)):  # perhaps while it connects
                    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                        await receive_all(client)
            local.close()
    assert capsys.readouterr().out.count("internal error: OSError(28") == 2


async def test_a_datagram_without_a_session_is_lost_for_that_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(LIMIT):
        links = links_with(options=replace(OPTIONS, connect_wait=0.01))
        local = LocalForward(parse_local("0:localhost:80/udp"), links, Console())
        await local.bind()
        async with trio.open_nursery() as relays:
            relays.start_soon(local.serve, relays)
            port = int(local.bound.removesuffix("/udp").rpartition(":")[2])
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as client:
                await client.sendto(b"anybody?", ("127.0.0.1", port))
            while not local.account.failed:  # noqa: ASYNC110 - a figure has no event
                await trio.sleep(0.01)
            local.close()
    output = capsys.readouterr().out
    assert output.endswith("connection to localhost:80: no session with localhost:1 within 0.01 seconds\n")
    assert "internal error" not in output
