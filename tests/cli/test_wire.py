"""The messages at the start of each stream: read from bytes cut anywhere, never trusted."""

from __future__ import annotations

import pytest
import trio.testing

from muxpy_cli.specs import Address, UnixPath
from muxpy_cli.wire import (
    MAX_MESSAGE,
    Message,
    Refused,
    WireError,
    check_answer,
    pack,
    pack_endpoint,
    receive_message,
    unpack_endpoint,
    unpack_text,
)
from tests.helpers.tasks import LIMIT


async def receive(data: bytes, cut: int) -> tuple[Message, bytes]:
    sender, receiver = trio.testing.memory_stream_one_way_pair()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for start in range(0, len(data), cut):
                await sender.send_all(data[start : start + cut])
                await trio.testing.wait_all_tasks_blocked()
            await sender.aclose()

        nursery.start_soon(send)
        try:
            return await receive_message(receiver)
        finally:
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cut", [1, 2, 3, 1000])
async def test_a_message_arrives_however_it_is_cut(cut: int) -> None:
    with trio.fail_after(LIMIT):
        message, early = await receive(pack({"host": "localhost", "port": 80}), cut)
    assert unpack_endpoint(message) == Address("localhost", 80)
    assert early == b""


async def test_what_comes_behind_a_message_is_kept() -> None:
    with trio.fail_after(LIMIT):
        message, early = await receive(pack({}) + b"GET / HTTP/1.1", cut=1000)
    assert message == {}
    assert early == b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        (MAX_MESSAGE + 1).to_bytes(2, "big"),  # refused by its length alone: no body follows
        b"\0",
        b"\0\5{}",
        b"\0\2[]",
        b"\0\3\xff\xfe\xfd",
        MAX_MESSAGE.to_bytes(2, "big") + b"[" * MAX_MESSAGE,
    ],
)
async def test_a_malformed_message_is_refused(data: bytes) -> None:
    with trio.fail_after(LIMIT), pytest.RaisesGroup(WireError):
        await receive(data, cut=1000)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"host": "a"},
        {"port": 1},
        {"host": 1, "port": 1},
        {"host": "", "port": 1},
        {"host": "a\n", "port": 1},
        {"host": "a" * 256, "port": 1},
        {"host": "a", "port": "1"},
        {"host": "a", "port": True},
        {"host": "a", "port": -1},
        {"host": "a", "port": 65536},
        {"unix": ""},
        {"unix": 1},
        {"unix": "/a\0b"},
        {"unix": "/" + 107 * "a"},
    ],
)
def test_a_wrong_address_is_refused(message: Message) -> None:
    with pytest.raises(WireError):
        unpack_endpoint(message)


@pytest.mark.parametrize("endpoint", [Address("localhost", 80), Address("::1", 0), UnixPath("/run/a.sock")])
def test_an_endpoint_comes_through(endpoint: Address | UnixPath) -> None:
    assert unpack_endpoint(pack_endpoint(endpoint)) == endpoint
    assert ("net" in pack_endpoint(endpoint, datagrams=True)) == isinstance(endpoint, Address)


def test_a_text_is_bounded() -> None:
    assert unpack_text({}, "token", most=3) is None
    assert unpack_text({"token": "abc"}, "token", most=3) == "abc"
    for value in ("abcd", 1, ["a"]):
        with pytest.raises(WireError):
            unpack_text({"token": value}, "token", most=3)


def test_an_answer_is_an_error_or_not() -> None:
    assert check_answer({"port": 1}) == {"port": 1}
    with pytest.raises(Refused, match="nobody there") as caught:
        check_answer({"error": "refused", "reason": "nobody there"})
    assert caught.value.error == "refused"
    with pytest.raises(Refused) as caught:
        check_answer({"error": ["odd"], "reason": 7})
    assert caught.value.error == "failed"
