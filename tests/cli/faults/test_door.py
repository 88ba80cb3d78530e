"""What comes to the listening end before anybody has been let in."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from muxpy_cli.server._waiting import LINE_EACH
from muxpy_cli.wire import MAX_MESSAGE, Purpose, pack, receive_message
from tests.helpers.tasks import LIMIT

from ..program import Server, echo, run
from .ends import admitted, connected, started, tell, tunnel
from .strangers import CLIENT_HELLO, crowd, many_descriptors, session_from, thrown

if TYPE_CHECKING:
    from pathlib import Path


async def test_strangers_at_the_same_address_keep_nobody_out() -> None:
    """More of them than may wait in line, and a client among them: once it has spoken, none of them is before it."""
    with trio.fail_after(LIMIT), many_descriptors():
        async with started("listen", "0") as listening:
            port = await listening.port("listening on")
            with crowd() as strangers:
                for _ in range(LINE_EACH + 100):
                    with suppress(OSError):  # on a busy machine, one may be shown out before it knows that it was in
                        strangers.append(await trio.open_tcp_stream("127.0.0.1", port))
                async with admitted(port):
                    await listening.said("was not let in: it had to make room")
                    assert listening.text.count("was not let in") == 1  # a line, and not one each


TOO_LATE = "did not say within"
NOT_MUXADO = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * 100_000,
    "tls": CLIENT_HELLO + bytes(1000),
    "random": os.urandom(200_000),
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n" * 1000,
}


async def test_what_is_no_greeting_ends_only_its_own_connection() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, tunnel("-L", f"0:localhost:{target.port}") as ends:
            client = await connected(ends.ports[0])
            for data in NOT_MUXADO.values():
                await thrown(ends.port, data)
            for purpose, data in (
                (Purpose.HELLO, b"\xff\xff"),
                (Purpose.HELLO, (MAX_MESSAGE + 1).to_bytes(2, "big") + b"{"),
                (Purpose.HELLO, b"\x00\x00"),
                (Purpose.HELLO, b"\x00\x02[]"),
                (Purpose.HELLO, b"\x00\x04\xff\xfe\xfd\xfc"),
                (Purpose.HELLO, pack({"token": 7})),
                (Purpose.HELLO, pack({"token": "x" * 201})),
                (Purpose.HELLO, pack({"slot": -1})),
                (Purpose.HELLO, pack({"process": ["x"]})),
                (Purpose.CONNECT, pack({"host": "localhost", "port": target.port})),
                (Purpose.LISTEN, pack({"host": "localhost", "port": 0, "forward": 0})),
                (77, b""),
            ):
                await _refused_greeting(ends.port, purpose, data)
            assert "internal error" not in ends.listening.text
            assert "handler failed" not in ends.listening.text
            client.socket.close()
            assert len((await ends.listening.snapshot())["sessions"]) == 1
            assert TOO_LATE not in ends.listening.text  # each ended for what it said


async def _refused_greeting(port: int, purpose: int, data: bytes) -> None:
    async with muxpy.open_tcp_session("127.0.0.1", port) as session:
        stream = await session.open_stream(stream_type=purpose)
        if data:
            await stream.send_all(data)
        else:
            await stream.send_eof()
        await session.wait()


async def test_streams_before_the_answer_end_the_session_and_do_nothing() -> None:
    reached: list[int] = []

    async def target(stream: trio.SocketStream) -> None:
        reached.append(1)

    with trio.fail_after(LIMIT):
        async with Server(target) as server, started("listen", "0") as listening:
            port = await listening.port("listening on")
            async with muxpy.open_tcp_session("127.0.0.1", port) as session:
                greeting = await session.open_stream(stream_type=Purpose.HELLO)
                await greeting.send_all(b"\0")  # it has begun
                early = await session.open_stream(stream_type=Purpose.CONNECT)
                with suppress(trio.BrokenResourceError):  # the SYN has ended it already
                    await early.send_all(pack({"host": "127.0.0.1", "port": server.port}))
                await session.wait()
                with pytest.raises(trio.BrokenResourceError):
                    await greeting.send_all(pack({})[1:])
            await listening.said("was not let in")
            assert not reached


async def test_a_second_greeting_changes_nothing() -> None:
    with trio.fail_after(LIMIT):
        async with (
            Server(echo) as target,
            started("listen", "0") as listening,
            admitted(await listening.port("listening on")) as session,
        ):
            _, answer = await tell(session, Purpose.HELLO, {"token": "other", "client": "other"})
            assert answer["error"] == "unknown"
            stream, answer = await tell(session, Purpose.CONNECT, {"host": "localhost", "port": target.port})
            assert answer == {}
            await stream.send_all(b"still here")
            assert await stream.receive_some() == b"still here"


STRANGE = ["\ud800", "\udcff", "\x00", "muxpy_\u202e", ""]


async def test_a_token_of_strange_characters_is_a_wrong_token(tmp_path: Path) -> None:
    async def try_one(address: str, port: int, token: str) -> None:
        async with session_from(address, port) as session:
            _, answer = await tell(session, Purpose.HELLO, {"token": token})
            assert answer == {"error": "forbidden", "reason": "the token is not known here"}

    with trio.fail_after(LIMIT):
        assert (await run("token", "new", "alice", "--file", str(tmp_path / "tokens")))[0] == 0
        async with started("listen", "0", "--tokens", str(tmp_path / "tokens")) as listening:
            port = await listening.port("listening on")
            async with trio.open_nursery() as nursery:
                for number, token in enumerate(STRANGE, 1):
                    nursery.start_soon(try_one, f"127.0.0.{number}", port, token)
            assert (await listening.snapshot())["totals"]["auth_failures"] == len(STRANGE)
            assert "handler failed" not in listening.text


async def test_floods_of_connections_and_forwards_stop_at_the_limits() -> None:
    limits = "--max-streams", "3", "--max-forwards", "2"
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0", *limits) as listening:
            port = await listening.port("listening on")
            async with admitted(port) as session:
                place = {"host": "127.0.0.1", "port": target.port}
                streams = [await session.open_stream(stream_type=Purpose.CONNECT) for _ in range(500)]
                for stream in streams:
                    await stream.send_all(pack(place))
                answers = [(await receive_message(stream))[0] for stream in streams]
                assert answers.count({}) == 3
                many = "as many connections are open as max-streams = 3 at the listening end allows"
                assert [one for one in answers if one] == [
                    {"error": "limit", "reason": f"{many}; raise it there, or close some"}
                ] * 497
                for stream in streams:
                    stream.reset()
                await listening.until(lambda found: not found["sessions"][0]["streams"])
                assert (await tell(session, Purpose.CONNECT, place))[1] == {}  # the places are free again

                bound = [
                    await tell(session, Purpose.LISTEN, {"host": "localhost", "port": 0, "forward": number})
                    for number in range(20)
                ]
                assert ["port" in answer for _, answer in bound] == [True] * 2 + [False] * 18
                assert "max-forwards = 2" in bound[-1][1]["reason"]
                await bound[0][0].aclose()
                await listening.until(lambda found: len(found["forwards"]) == 1)
                _, answer = await tell(session, Purpose.LISTEN, {"host": "localhost", "port": 0, "forward": 1})
                assert "port" in answer
            assert listening.descriptors < 60


async def test_wrong_tls_versions_and_plain_text_do_not_harm_a_tls_end(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        assert (await run("keygen", str(tmp_path)))[0] == 0
        tls = "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")
        async with started("listen", "0", *tls) as secure:
            port = await secure.port("listening on")
            for data in (NOT_MUXADO["http"], NOT_MUXADO["random"], pack({})):
                await thrown(port, data.ljust(100_000, b"\0"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            async with muxpy.open_tcp_session("localhost", port, ssl_context=context) as session:
                assert session.tls is not None
                assert session.tls.version() == "TLSv1.2"
                assert "program" in (await tell(session, Purpose.HELLO, {}))[1]
                session.kill()
            assert "internal error" not in secure.text
            assert TOO_LATE not in secure.text
