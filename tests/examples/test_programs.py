"""The examples as people run them, and what HTTP over a session has to stand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import muxpy
from examples import echo, http_over_mux, rpc
from tests.cli.program import closed_port, free_port
from tests.helpers.tasks import LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "default::ResourceWarning",  # to stderr, which must stay empty
}

NAMES = ("Ada", "Bea", "Cyd", "Dan", "Eve")


def check_echo(output: str) -> None:
    for name in NAMES:
        assert f"came back: {name} says hello; {name} says and; {name} says good; {name} says bye;" in output


def check_http(output: str) -> None:
    assert "public: GET /status -> 200 {'system': " in output
    assert "public: GET /nothing-here -> 404 {'error': 'no page /nothing-here'}" in output
    assert "public: POST /firmware -> 200 {'path': '/firmware', 'received': 1000000}" in output


def check_rpc(output: str) -> None:
    assert "divide(1, 4): 0.25" in output
    assert "divide(1, 0): ZeroDivisionError: division by zero" in output
    assert "count(3): [1, 2, 3]" in output
    assert "caller: too slow" in output
    assert output.count("handler: count was cancelled") == 3


PROGRAMS = pytest.mark.parametrize(
    ("name", "check"), [("echo", check_echo), ("http_over_mux", check_http), ("rpc", check_rpc)]
)
TWO_PARTS = pytest.mark.parametrize(
    ("name", "parts", "check"),
    [("echo", ("serve", "client"), check_echo), ("http_over_mux", ("public", "device"), check_http)],
)


def command(name: str, *args: str) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / f"{name}.py"), *args]


async def run(name: str, *args: str, expect: int = 0) -> str:
    """Run an example to its end and return what it printed."""
    done = await trio.run_process(
        command(name, *args), env=ENVIRONMENT, capture_stdout=True, capture_stderr=True, check=False
    )
    assert done.returncode == expect, done.stderr.decode()
    if expect == 0:
        assert done.stderr == b""
    return bytes(done.stdout).decode()


@PROGRAMS
async def test_it_runs_by_itself(name: str, check: Callable[[str], None]) -> None:
    with trio.fail_after(LIMIT):
        check(await run(name))


@pytest.mark.parametrize(
    ("demo", "check"), [(echo.demo, check_echo), (http_over_mux.demo, check_http), (rpc.main, check_rpc)]
)
async def test_it_runs_when_imported(
    demo: Callable[[], Awaitable[None]], check: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(LIMIT):
        await demo()
    check(capsys.readouterr().out)


@TWO_PARTS
async def test_its_two_parts_run_apart(name: str, parts: tuple[str, str], check: Callable[[str], None]) -> None:
    server, client = parts
    with trio.fail_after(LIMIT):
        port = str(free_port())
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, command(name, server, port), env=ENVIRONMENT, check=False)
            process = await nursery.start(partial(start, stdout=subprocess.PIPE))
            heard = bytearray()
            nursery.start_soon(collect, process.stdout, heard)
            while b"listening" not in heard:
                assert process.returncode is None, "ended by itself"
                await trio.sleep(0.01)

            printed = await run(name, client, port)
            # Ctrl-C, unless the tests run where it is ignored, as in the background of a shell script.
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            process.send_signal(signal.SIGTERM if ignored else signal.SIGINT)
        check(printed + heard.decode())
        if not ignored:
            assert heard.endswith(b"stopped\n")
            assert process.returncode == 0


async def collect(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk


@pytest.mark.parametrize("name", ["echo", "http_over_mux"])
async def test_a_wrong_word_shows_how_to_run_it(name: str) -> None:
    with trio.fail_after(LIMIT):
        assert await run(name, "sing", expect=1) == ""


@pytest.mark.parametrize(("name", "part"), [("echo", "client"), ("http_over_mux", "device")])
async def test_without_a_server_it_ends_with_one_line(name: str, part: str) -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        first = {"echo": "serve", "http_over_mux": "public"}[name]
        expected = f"all attempts to connect to 127.0.0.1:{port} failed: run it with `{first}` first\n"
        assert await complaint(name, part, str(port)) == expected


@pytest.mark.parametrize(("name", "part"), [("echo", "serve"), ("http_over_mux", "public")])
async def test_with_the_port_taken_it_ends_with_one_line(name: str, part: str) -> None:
    with trio.fail_after(LIMIT), socket.create_server(("127.0.0.1", 0)) as taken:
        line = await complaint(name, part, str(taken.getsockname()[1]))
    assert line == "cannot listen: Address already in use; another PORT may be free\n"


@pytest.mark.parametrize("name", ["echo", "http_over_mux"])
@pytest.mark.parametrize("port", ["x", "0", "70000"])
async def test_a_port_that_is_none_is_one_line(name: str, port: str) -> None:
    with trio.fail_after(LIMIT):
        line = await complaint(name, "serve", port)
    assert line == f"{port} is no port: that is a number from 1 to 65535\n"


async def complaint(name: str, *args: str) -> str:
    """What an example that fails says on standard error."""
    done = await trio.run_process(
        command(name, *args), env=ENVIRONMENT, capture_stdout=True, capture_stderr=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b""), done.stderr.decode()
    return done.stderr.decode()


# ---- HTTP over a session ----


async def visit(visitor: Callable[[muxpy.Session], Awaitable[None]]) -> None:
    """Let `visitor` talk to a device that has dialled in."""
    failure: BaseException | None = None

    async def catch(session: muxpy.Session) -> None:
        nonlocal failure
        try:
            await visitor(session)
        except BaseException as error:
            failure = error
            raise

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            serve = partial(muxpy.serve_tcp_sessions, catch, 0, host=http_over_mux.HOST)
            [listener] = await nursery.start(serve)
            await http_over_mux.device(listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def test_http_many_requests_at_once() -> None:
    async def visitor(session: muxpy.Session) -> None:
        answers: list[tuple[int, object]] = []

        async def post(size: int) -> None:
            answers.append(await http_over_mux.fetch(session, "POST", f"/{size}", bytes(size)))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(post, number * 1000)
        assert sorted(answers, key=str) == sorted(
            [(200, {"path": f"/{number * 1000}", "received": number * 1000}) for number in range(50)], key=str
        )

    await visit(visitor)


async def test_http_two_requests_on_one_stream() -> None:
    async def visitor(session: muxpy.Session) -> None:
        async with await session.dial() as stream:
            for _ in range(2):
                await stream.send_all(b"GET /status HTTP/1.1\r\nHost: device\r\n\r\n")
                answer = b""
                while not answer.endswith(b"}"):
                    answer += await stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    await visit(visitor)


async def begin_to_post(stream: muxpy.Stream) -> None:
    """Send a request but not its body; the device has it when it says so."""
    head = b"POST /half HTTP/1.1\r\nHost: device\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    await stream.send_all(head)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n")


async def test_http_a_request_that_is_given_up_leaves_the_device_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = trio.Event()

    def say(*words: object) -> None:
        if "a request was given up" in str(words[0]):
            given_up.set()

    monkeypatch.setattr(http_over_mux, "print", say, raising=False)

    async def visitor(session: muxpy.Session) -> None:
        stream = await session.dial()
        await begin_to_post(stream)
        stream.reset()
        assert (await http_over_mux.fetch(session, "GET", "/status"))[0] == 200
        await given_up.wait()  # its thread may be slower than the whole of the other request

    await visit(visitor)
    assert given_up.is_set()


async def test_http_the_public_side_may_vanish_in_the_middle_of_a_request() -> None:
    async def visitor(session: muxpy.Session) -> None:
        stream = await session.dial()
        await begin_to_post(stream)
        session.kill()

    await visit(visitor)
