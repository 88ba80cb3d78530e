"""What a forwarded connection costs both ends, counted and never timed."""

from __future__ import annotations

import gc
import socket
import sys
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from muxpy_cli._garbage import YOUNG, Garbage
from muxpy_cli._options import ConnectOptions, ListenOptions, Output
from muxpy_cli.access import Forbidden, Rules, _patterns, parse_target_rule
from muxpy_cli.client import Client
from muxpy_cli.client._local import LocalForward
from muxpy_cli.server import Server
from muxpy_cli.server._door import Greeting
from muxpy_cli.server._usage import UserPolicy
from muxpy_cli.specs import Address, Direction, Forward, Kind
from muxpy_cli.view import Console
from muxpy_cli.wire import Openings, Purpose, pack, pack_endpoint, split_message, unpack_endpoint
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import LIMIT

from .program import Server as Target
from .program import echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import FrameType

    import muxpy

MANY = 10


class Calls:
    """Counts the functions that are called in a block, by their names."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401
        if event == "call":
            self.of[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            self.of[argument.__qualname__] += 1

    def __enter__(self) -> Counter[str]:
        sys.setprofile(self._called)
        return self.of

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


@asynccontextmanager
async def forwarded(target: Address, verbosity: int = 0) -> AsyncIterator[LocalForward]:
    """Both ends of a -L in this process."""
    console = Console(Output(verbosity=verbosity))
    forward = Forward(direction=Direction.LOCAL, kind=Kind.TCP, bind=Address("127.0.0.1", 0), target=target)
    with trio.fail_after(LIMIT):
        async with session_pair("unix") as (client, session), trio.open_nursery() as nursery:
            server = Server(ListenOptions(address=Address("127.0.0.1", 0)), console)
            greeting = Greeting(None, "a client", "a run", 0, cast("Any", None))
            peer = server.admit(session, greeting, "somebody", nursery)
            nursery.start_soon(session.serve_streams, partial(server.streams.handle, peer))

            async def open_stream(purpose: Purpose) -> muxpy.Stream:
                return await client.open_stream(stream_type=purpose)

            def open_now(purpose: Purpose) -> muxpy.Stream:
                return client.open_stream_nowait(stream_type=purpose)

            links = SimpleNamespace(open_stream=open_stream, open_now=open_now)
            local = LocalForward(forward, cast("Any", links), console)
            await local.bind()
            nursery.start_soon(local.serve, nursery)
            yield local
            nursery.cancel_scope.cancel()


async def connections(port: int, count: int) -> None:
    """Use it so many times, one connection after the other."""
    for _ in range(count):
        client = await trio.open_tcp_stream("127.0.0.1", port)
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        await client.send_eof()
        assert await client.receive_some() == b""
        client.socket.close()
    await wait_all_tasks_blocked()


async def calls_of(verbosity: int = 0) -> Counter[str]:
    """What MANY connections call, at both ends and in this test."""
    async with Target(echo) as target, forwarded(Address("127.0.0.1", target.port), verbosity) as local:
        port = int(local.bound.rpartition(":")[2])
        await connections(port, 1)  # what is cached is there from now on
        with Calls() as calls:
            await connections(port, MANY)
        return calls


class Steps(trio.abc.Instrument):
    """Counts the steps of the tasks that carry connections, by their names."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[".".join(task.name.split(".")[-2:])] += 1

    def __enter__(self) -> Counter[str]:
        trio.lowlevel.add_instrument(self)
        return self.of

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)


async def test_a_connection_takes_few_steps_of_tasks() -> None:
    """Two of its own where it goes to its target. Where it comes from, one task sees to all that have ended."""
    async with Target(echo) as target, forwarded(Address("127.0.0.1", target.port)) as local:
        port = int(local.bound.rpartition(":")[2])
        await connections(port, 1)
        with Steps() as steps:
            await connections(port, MANY)
    assert not [name for name in steps if name.endswith("._handle")]
    assert steps["Carriage.run"] == MANY
    assert steps["Handlers._run"] == 2 * MANY


async def test_openings_and_answers_that_are_always_the_same_are_not_parsed() -> None:
    calls = await calls_of()
    assert not calls["loads"]
    assert not calls["unpack_endpoint"]


async def test_rules_are_not_asked_again_for_the_same_target() -> None:
    calls = await calls_of()
    assert not calls["check_target"]
    assert not calls["socket.getpeername"]


async def test_no_text_is_made_that_nobody_reads() -> None:
    calls = await calls_of()
    assert not calls["Address.__str__"]
    assert not calls["peer_of"]
    shown = await calls_of(verbosity=1)
    assert shown["Address.__str__"]
    assert shown["peer_of"] == MANY


async def test_trio_does_not_look_for_tasks_that_wait_for_a_socket_which_no_task_waits_for() -> None:
    calls = await calls_of()
    # The client of this test, and its target, which each close one socket by Trio's means.
    assert calls["_SocketType.close"] == 2 * MANY


async def test_a_socket_that_is_only_spliced_is_none_of_trios() -> None:
    """Two objects and four system calls at each end. What is accepted inherits its options from where it was bound."""
    calls = await calls_of()
    assert calls["SocketStream.__init__"] == 2 * MANY  # of this test
    listening = 1  # puts the connection's end in order
    with socket.socket() as one:
        paced = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).startswith(b"bbr")
    connecting = 8 + paced  # which the target's socket is not to be, where that is how the system has it
    assert calls["socket.setsockopt"] == (listening + connecting + 2 * 2) * MANY


async def test_a_connection_does_not_pay_for_short_words() -> None:
    """Neither for `suppress` nor for asking whether something is of a class of Trio, which are abstract."""
    calls = await calls_of()
    # All of them of this test, and of its target.
    assert calls["suppress.__init__"] == 7 * MANY
    assert calls["ABCMeta.__instancecheck__"] == 5 * MANY
    assert not calls["_check_not_ourselves.<locals>.<genexpr>"]


async def test_an_ended_socket_that_nothing_is_left_for_is_only_removed_from_epoll() -> None:
    calls = await calls_of()
    assert calls["Poller.add"] == 2 * MANY
    # The client ends first: the connecting end stops reading it, and waits for the target's end.
    assert calls["Poller.change"] == MANY
    assert calls["Poller.remove"] == 2 * MANY


async def test_carrying_a_connection_takes_few_calls() -> None:
    calls = await calls_of()
    carrying = sum(count for name, count in calls.items() if name.startswith(("Splice.", "Watch.", "Poller.")))
    assert carrying <= 97 * MANY  # at both ends together


# ---- parts ----


def test_an_opening_that_is_said_again_means_the_same() -> None:
    openings = Openings()
    first, second = (pack(pack_endpoint(Address(name, 80))) for name in ("one.example", "two.example"))
    for data in (first, first, second, second, first):
        split = split_message(data + b"rest", openings.parse)
        assert split == split_message(data + b"rest")
        assert split is not None
        assert openings.endpoint(split[0]) == unpack_endpoint(split[0])


def test_an_opening_that_was_overtaken_by_another_keeps_its_meaning() -> None:
    openings = Openings()
    earlier = openings.parse(b'{"host":"one.example","port":80}')
    later = openings.parse(b'{"host":"two.example","port":80}')
    assert openings.endpoint(earlier) == Address("one.example", 80)
    assert openings.endpoint(later) == Address("two.example", 80)


ASKED = Address("192.0.2.1", 80)
FOUND = ("192.0.2.1",)


def rules(*texts: str) -> Rules:
    return Rules(targets=tuple(map(parse_target_rule, texts)))


def test_new_rules_are_asked_for_the_same_target() -> None:
    policy = UserPolicy("alice", rules("192.0.2.1:80"))
    assert policy.addresses(ASKED, FOUND) == policy.addresses(ASKED, FOUND) == ["192.0.2.1"]
    policy.rules = rules("192.0.2.1:81")
    with pytest.raises(Forbidden):
        policy.addresses(ASKED, FOUND)


def test_another_port_of_the_same_host_is_asked_for() -> None:
    policy = UserPolicy("alice", rules("192.0.2.1:80"))
    policy.addresses(ASKED, FOUND)
    with pytest.raises(Forbidden):
        policy.addresses(Address("192.0.2.1", 81), FOUND)


def test_what_a_lookup_found_is_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine may have got the address meanwhile."""
    policy, name = UserPolicy("alice", rules("db.example:80")), Address("db.example", 80)
    monkeypatch.setattr(_patterns, "is_own", lambda _: False)
    assert policy.addresses(name, ["192.0.2.1"]) == ["192.0.2.1"]
    monkeypatch.setattr(_patterns, "is_own", lambda _: True)
    with pytest.raises(Forbidden):
        policy.addresses(name, ["192.0.2.1"])


def test_connections_that_come_and_go_cause_no_collection() -> None:
    def collections() -> int:
        return sum(generation["collections"] for generation in gc.get_stats())

    async def come_and_go() -> None:
        with Garbage():
            before = collections()
            for _ in range(20):
                [[] for _ in range(YOUNG - 500)]
            assert collections() - before <= 1

    trio.run(come_and_go)


async def test_a_connecting_end_leaves_what_it_has_imported_out_of_collections() -> None:
    counts: list[int] = []

    def started() -> None:
        counts.append(gc.get_freeze_count())
        raise KeyError

    client = Client(ConnectOptions(address=Address("127.0.0.1", 1)), cast("Any", None), Console())
    try:
        await client.run(started)
    except* KeyError:
        pass
    assert counts[0] > 1000
