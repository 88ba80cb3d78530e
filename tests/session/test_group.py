"""Sessions of a group take turns, and share a budget of resets; those of different groups do not know of each other."""

from __future__ import annotations

import os
import ssl
import weakref
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import muxpy
from muxpy.frame.muxado import encode_rst, encode_syn, encode_wnd_inc
from muxpy.session import _reader
from muxpy.session._group import turns_of
from muxpy.transport._turns import FEW_ENDINGS
from tests.helpers.load import until
from tests.helpers.pairs import client_context, server_context, tcp_pair
from tests.helpers.passes import counting_passes
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET = muxpy.SessionConfig(heartbeat_interval=None, linger_timeout=0.2)
FLOOD = encode_syn(3) + encode_wnd_inc(3, 1) * 5_000


async def sessions(
    stack: AsyncExitStack, groups: Sequence[muxpy.SessionGroup | None]
) -> tuple[list[muxpy.Session], list[trio.SocketStream]]:
    """A session of each group, and the other end of its connection."""
    made, peers = [], []
    for group in groups:
        near, far = await tcp_pair()
        peers.append(await stack.enter_async_context(far))
        opened = muxpy.open_session(near, client=False, config=QUIET, extensions=[], group=group)
        made.append(await stack.enter_async_context(opened))
    return made, peers


def frames(made: Sequence[muxpy.Session]) -> int:
    return sum(session.statistics().frames_received for session in made)


@pytest.mark.no_cover  # bulk
@bounded()
@pytest.mark.parametrize("grouped", [True, False])
async def test_one_session_of_a_group_receives_in_each_pass(grouped: bool) -> None:
    async with AsyncExitStack() as stack:
        group = muxpy.SessionGroup() if grouped else None
        made, peers = await sessions(stack, [group] * 8)
        with counting_passes(lambda: frames(made)) as passes:
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(peer.send_all, FLOOD)
                await until(lambda: frames(made) == 8 * 5_001)
        for session in made:
            session.kill()
    assert (passes.most_a_pass <= _reader.WORK_A_TURN) is grouped


@bounded()
@pytest.mark.parametrize(("count", "most"), [(1, _reader.PARTY_WORK), (8, _reader.SHARED_WORK)])
async def test_turns_of_a_group_are_shorter_and_those_of_a_crowd_still_more(count: int, most: int) -> None:
    async with AsyncExitStack() as stack:
        made, peers = await sessions(stack, [muxpy.SessionGroup()] * count)
        for peer in peers:
            await peer.send_all(FLOOD[: 12 * 4000])
        await until(lambda: frames(made) >= count)  # all have begun
        with counting_passes(lambda: frames(made)) as passes:
            await until(lambda: frames(made) >= count * 3000)
        for session in made:
            session.kill()
    assert passes.most_a_pass <= most


@bounded()
async def test_a_lone_session_and_one_of_another_group_need_not_wait() -> None:
    async with AsyncExitStack() as stack:
        made, peers = await sessions(stack, [muxpy.SessionGroup(), muxpy.SessionGroup()])
        crowd, crowd_peers = await sessions(stack, [muxpy.SessionGroup()] * 8)
        for peer in crowd_peers:
            await peer.send_all(FLOOD)
        for session, peer in zip(made, peers, strict=True):
            await peer.send_all(encode_syn(3))
            await session.accept_stream()
            assert frames(crowd) < 8 * 5_000  # long before those are done
        for session in (*made, *crowd):
            session.kill()


@bounded()
async def test_who_is_cancelled_while_waiting_for_a_turn_takes_none() -> None:
    group = turns_of(muxpy.SessionGroup())
    came: list[int] = []
    order: list[int] = []
    scopes = [trio.CancelScope() for _ in range(10)]

    async def take(number: int) -> None:
        with scopes[number]:
            came.append(number)
            await group.turn()
            order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(take, number)
        await until(lambda: len(came) == 10)
        scopes[came[-1]].cancel()  # its turn is passes away, since the others came before it
        await wait_all_tasks_blocked()
        assert order == came[:-1]
        assert not group.contended
    await group.turn()  # nobody else has it


@bounded()
async def test_a_group_that_nobody_has_any_more_is_freed() -> None:
    group = muxpy.SessionGroup()
    await turns_of(group).turn()
    living = weakref.ref(group), weakref.ref(turns_of(group))
    del group
    await wait_all_tasks_blocked()
    assert [one() for one in living] == [None, None]


@bounded()
async def test_a_group_has_one_budget_of_resets() -> None:
    config = muxpy.SessionConfig(reset_burst=10, reset_rate=0)
    group = muxpy.SessionGroup(config)
    async with AsyncExitStack() as stack:
        made, peers = await sessions(stack, [group, group, muxpy.SessionGroup(config)])
        for peer in peers:
            await peer.send_all(b"".join(encode_syn(n) + encode_rst(n, 7) for n in range(3, 15, 2)))
        await until(lambda: sum(one._engine.ending.end is not None for one in made) == 1)
        ended = next(one._engine.ending.end for one in made if one._engine.ending.end is not None)
        assert ended is not None
        assert "resets its own streams too fast" in str(ended.error)
        assert made[2]._engine.ending.end is None
        for session in made:
            session.kill()


@bounded()
async def test_resets_of_a_session_that_has_ended_still_count() -> None:
    group = muxpy.SessionGroup(muxpy.SessionConfig(reset_burst=10, reset_rate=0))
    resets = b"".join(encode_syn(n) + encode_rst(n, 7) for n in range(3, 19, 2))
    async with AsyncExitStack() as stack:
        [first], [peer] = await sessions(stack, [group])
        await peer.send_all(resets)
        await until(lambda: frames([first]) == 16)
        first.kill()
    async with AsyncExitStack() as stack:
        [second], [peer] = await sessions(stack, [group])
        await peer.send_all(resets)
        end = await second.wait()
        assert "resets its own streams too fast" in str(end.error)


class Handshakes(ssl.SSLObject):
    """Counts the steps of handshakes."""

    steps = 0

    def do_handshake(self) -> None:
        Handshakes.steps += 1
        super().do_handshake()


@bounded()
async def test_handshakes_take_turns() -> None:
    context = server_context.__wrapped__()
    context.sslobject_class = Handshakes
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await muxpy.serve_tcp_sessions(
                lambda session: session.wait(), 0, host="127.0.0.1", ssl_context=context, task_status=task_status
            )

        [listener] = await nursery.start(serve)
        hello = ssl.MemoryBIO()
        tls = client_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="127.0.0.1")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        first = hello.read()
        peers = [await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) for _ in range(10)]
        await until(lambda: Handshakes.steps == 10)  # each has found that nothing is there yet
        with counting_passes(lambda: Handshakes.steps) as passes:
            for peer in peers:  # in one step, so that all of them are there in the next pass
                os.write(peer.socket.fileno(), first)
            await until(lambda: Handshakes.steps == 20)
        assert passes.most_a_pass == 1
        for peer in peers:
            await peer.aclose()
        nursery.cancel_scope.cancel()


@bounded()
async def test_sessions_that_end_together_do_each_step_of_it_one_after_the_other() -> None:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        made, others, woken = [], [], []

        async def wait(stream: muxpy.Stream) -> None:
            with suppress(muxpy.SessionClosed):
                await stream.receive_some()
            woken.append(stream)

        for _ in range(20):
            near, far = memory_stream_pair()
            others.append(far)
            session = await stack.enter_async_context(
                muxpy.open_session(near, client=True, config=QUIET, extensions=[])
            )
            made.append(session)
            nursery.start_soon(wait, await session.open_stream())
        await wait_all_tasks_blocked()
        with (
            counting_passes(lambda: len(woken)) as streams,
            counting_passes(lambda: sum(session._engine.ending.closed for session in made)) as closed,
        ):
            for far in others:
                far.send_stream.close()
            for session in made:
                await session.wait()
        assert len(woken) == 20
        assert streams.most_a_pass <= FEW_ENDINGS + 1
        assert closed.most_a_pass <= FEW_ENDINGS + 1


@bounded()
async def test_sessions_whose_peers_do_not_answer_are_closed_one_after_the_other(
    autojump_clock: trio.abc.Clock,
) -> None:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        made = []
        for _ in range(20):
            near, _ = memory_stream_pair()
            opened = muxpy.open_session(near, client=True, config=QUIET, extensions=[])
            made.append(await stack.enter_async_context(opened))
        with counting_passes(lambda: sum(session._engine.ending.closed for session in made)) as closed:
            for session in made:
                nursery.start_soon(session.aclose)
            for session in made:
                await session.wait()
    assert closed.most_a_pass <= FEW_ENDINGS + 1
