"""Which flows of UDP go first, what is told of those that were lost, and where answers come from."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from muxpy_cli.entrances import FLOWS, Places
from muxpy_cli.entrances._udp import MAX_REASONS, Losses
from muxpy_cli.net import UdpSocket, bind_datagrams
from muxpy_cli.net import _udp as udp
from muxpy_cli.specs import Address
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from muxpy_cli.relay import Exchange

QUESTION, ANSWER = False, True


async def flow(places: Places, *datagrams: bool) -> Exchange:
    """A flow in which these have passed, the last one a second before the next flow's."""
    exchange = places.occupy()
    assert exchange is not None
    for outwards in datagrams:
        exchange.note(outwards=outwards)
    await trio.sleep(1)
    return exchange


def ended(*flows: Exchange) -> list[bool]:
    return [one.scope.cancel_called for one in flows]


async def test_the_longest_idle_of_those_that_are_no_conversation_makes_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    places = Places(lambda: 5)  # four, and one that is ending
    talk = await flow(places, QUESTION, ANSWER, QUESTION)
    answered = await flow(places, QUESTION, ANSWER, ANSWER)
    silent = await flow(places, QUESTION)
    answered.note(outwards=ANSWER)  # not the longest idle any more
    await trio.sleep(1)
    later = await flow(places, QUESTION, QUESTION)
    assert ended(talk, answered, silent, later) == [False] * 4
    newest = await flow(places, QUESTION, ANSWER, QUESTION)
    assert ended(talk, answered, silent, later) == [False, False, True, False]
    assert places.occupy() is None  # until it has ended at the other end, too
    places.leave(silent)
    another = await flow(places, QUESTION, ANSWER, QUESTION)
    assert ended(talk, answered, later, newest) == [False, True, False, False]
    places.leave(answered)
    await flow(places, QUESTION, ANSWER, QUESTION)
    assert ended(talk, later, newest, another) == [False, True, False, False]


async def test_conversations_make_room_when_there_is_nothing_else(autojump_clock: trio.testing.MockClock) -> None:
    places = Places(lambda: 3)
    first = await flow(places, QUESTION, ANSWER, QUESTION)
    second = await flow(places, QUESTION, ANSWER, QUESTION)
    first.note(outwards=ANSWER)
    await trio.sleep(1)
    assert places.occupy() is not None
    assert ended(first, second) == [False, True]


async def test_however_many_come_there_are_no_more_than_that_at_a_time() -> None:
    places = Places()
    flows = [places.occupy() for _ in range(5 * FLOWS)]
    assert sum(one is not None for one in flows) == FLOWS
    for one in flows:
        if one is not None:
            places.leave(one)
    assert sum(places.occupy() is not None for _ in range(5 * FLOWS)) == FLOWS


async def test_a_limit_of_few_leaves_room_for_one() -> None:
    places = Places(lambda: 0)
    assert [places.occupy() is not None for _ in range(5)] == [True, True, False, False, False]
    assert places.full == "all 2 places for UDP flows are taken"


async def test_what_is_lost_is_told_once_a_minute_with_its_number(autojump_clock: trio.testing.MockClock) -> None:
    told: list[tuple[float, str, int]] = []
    losses = Losses(lambda error, times: told.append((trio.current_time() - begun, str(error), times)))
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(losses.run)
        await trio.sleep(1)
        losses.add(OSError("no session"))
        await trio.sleep(1)
        for _ in range(1000):
            losses.add(OSError("no session"))
            losses.add(OSError("full"))
        await trio.sleep(200)
        losses.add(OSError("no session"))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3 * MAX_REASONS):
            losses.add(OSError(f"reason {number}"))
        await trio.sleep(100)
        assert told[:4] == [(1, "no session", 1), (61, "no session", 1000), (61, "full", 1000), (202, "no session", 1)]
        assert len(told[4:]) == MAX_REASONS
        assert sum(times for _, _, times in told[4:]) == 3 * MAX_REASONS
        del told[:]
        losses.add(OSError("the last"))
        nursery.cancel_scope.cancel()
    assert [text for _, text, _ in told] == ["the last"]


async def answers(bound: UdpSocket, count: int) -> None:
    for _ in range(count):
        datagram, sender = await bound.receive(100)
        await bound.send(datagram.upper(), sender)


@pytest.mark.parametrize(
    ("where", "asked"),
    [("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.9.8.7"]), ("::", ["::1"]), ("127.0.0.2", ["127.0.0.2"])],
)
async def test_an_answer_comes_from_the_address_that_was_asked(where: str, asked: list[str]) -> None:
    bound = await bind_datagrams(Address(where, 0))
    serving = UdpSocket(bound.sockets[0])
    port = bound.port
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answers, serving, len(asked))
            for host in asked:
                with trio.socket.socket(
                    socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
                ) as client:
                    await client.connect((host, port))  # takes nothing from other addresses
                    await client.send(host.encode() + b" asked")
                    assert await client.recv(100) == host.encode().upper() + b" ASKED"
    serving.close()


async def test_where_the_system_does_not_tell_it_answers_as_well_as_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_IP_PKTINFO", None)
    bound = await bind_datagrams(Address("0.0.0.0", 0))
    serving = UdpSocket(bound.sockets[0])
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answers, serving, 1)
            with trio.socket.socket(type=socket.SOCK_DGRAM) as client:
                await client.sendto(b"x", ("127.0.0.1", bound.port))
                assert (await client.recvfrom(100)) == (b"X", ("127.0.0.1", bound.port))
    serving.close()


def test_nothing_is_sent_from_a_multicast_address_and_link_local_ones_keep_their_interface() -> None:
    def asked(address: str) -> object:
        packed = socket.inet_pton(socket.AF_INET6, address) + (7).to_bytes(4, "little")
        return udp._answer_from([(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)])

    assert asked("ff02::1") == ()
    for address, interface in (("fe80::1", 7), ("2001:db8::1", 0)):
        data = socket.inet_pton(socket.AF_INET6, address) + interface.to_bytes(4, "little")
        assert asked(address) == ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data),)
