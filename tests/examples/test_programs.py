"""The examples as people run them, and what those with HTTP have to stand."""

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
from examples import echo, http_over_mux, http_server, http_stream, http_tunnel, rpc
from muxpy import http
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


def check_server(output: str) -> None:
    said = [line for line in output.splitlines() if line.startswith("client:")]
    assert said[0].startswith("client: / is 200, text/html, ")
    assert said[1:] == [
        "client: event: 0 uploads, 0 bytes",
        "client: uploaded 5 bytes",
        "client: event: 1 uploads, 5 bytes",
        "client: uploaded 1000000 bytes",
        "client: event: 2 uploads, 1000005 bytes",
    ]


def check_stream(output: str) -> None:
    said = [line for line in output.splitlines() if line.startswith("client:")]
    assert [line for line in said if "sent" in line] == [f"client: sent {number}" for number in range(1, 6)]
    assert [line for line in said if "sum" in line] == [f"client: the sum is {sum_}" for sum_ in (1, 3, 6, 10, 15)]
    assert said[-1] == "client: numbers: 5"


def check_tunnel(output: str) -> None:
    assert output == "client: hello through the tunnel\n"


def check_rpc(output: str) -> None:
    assert "divide(1, 4): 0.25" in output
    assert "divide(1, 0): there is no 1 / 0" in output
    assert "count(3): [1, 2, 3]" in output
    assert "caller: too slow" in output
    assert output.count("handler: count was cancelled") == 2


PROGRAMS = pytest.mark.parametrize(
    ("name", "check"),
    [
        ("echo", check_echo),
        ("http_over_mux", check_http),
        ("http_server", check_server),
        ("http_stream", check_stream),
        ("http_tunnel", check_tunnel),
        ("rpc", check_rpc),
    ],
)
TWO_PARTS = pytest.mark.parametrize(
    ("name", "parts", "check"),
    [
        ("echo", ("serve", "client"), check_echo),
        ("http_over_mux", ("public", "device"), check_http),
        ("http_server", ("serve", "client"), check_server),
        ("http_stream", ("serve", "client"), check_stream),
    ],
)
SERVERS = {"echo": "serve", "http_over_mux": "public", "http_server": "serve", "http_stream": "serve"}
"""The part that listens."""
CLIENTS = {"echo": "client", "http_over_mux": "device", "http_server": "client", "http_stream": "client"}


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
    ("demo", "check"),
    [
        (echo.demo, check_echo),
        (http_over_mux.demo, check_http),
        (http_server.demo, check_server),
        (http_stream.demo, check_stream),
        (http_tunnel.demo, check_tunnel),
        (rpc.main, check_rpc),
    ],
    ids=["echo", "http_over_mux", "http_server", "http_stream", "http_tunnel", "rpc"],
)
async def test_it_runs_when_imported(
    demo: Callable[[], Awaitable[None]], check: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(LIMIT):
        await demo()
    check(capsys.readouterr().out)


class Part:
    """A part of an example that runs until Ctrl-C, and what it has printed."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.heard = bytearray()

    async def says(self, words: bytes) -> None:
        """Until it has printed that."""
        while words not in self.heard:
            assert self.process.returncode is None, "ended by itself"
            await trio.sleep(0.01)

    def interrupt(self) -> None:
        """Ctrl-C, unless the tests run where it is ignored, as in the background of a shell script."""
        self.process.send_signal(signal.SIGTERM if self.deaf() else signal.SIGINT)

    @staticmethod
    def deaf() -> bool:
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    def check_stopped(self) -> None:
        if not self.deaf():
            assert self.heard.endswith(b"stopped\n")
            assert self.process.returncode == 0


async def start(nursery: trio.Nursery, name: str, *args: str) -> Part:
    """Run a part of an example, and wait until it listens."""
    run_it = partial(trio.run_process, command(name, *args), env=ENVIRONMENT, check=False, stdout=subprocess.PIPE)
    part = Part(await nursery.start(run_it))
    assert part.process.stdout is not None
    nursery.start_soon(collect, part.process.stdout, part.heard)
    await part.says(b"listening")
    return part


@TWO_PARTS
async def test_its_two_parts_run_apart(name: str, parts: tuple[str, str], check: Callable[[str], None]) -> None:
    server, client = parts
    with trio.fail_after(LIMIT):
        port = str(free_port())
        async with trio.open_nursery() as nursery:
            part = await start(nursery, name, server, port)
            printed = await run(name, client, port)
            part.interrupt()
        check(printed + part.heard.decode())
        part.check_stopped()


async def collect(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk


@pytest.mark.parametrize("name", [*SERVERS, "http_tunnel"])
async def test_a_wrong_word_shows_how_to_run_it(name: str) -> None:
    with trio.fail_after(LIMIT):
        assert await run(name, "sing", expect=1) == ""


@pytest.mark.parametrize("name", SERVERS)
async def test_without_a_server_it_ends_with_one_line(name: str) -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        expected = f"all attempts to connect to 127.0.0.1:{port} failed: run it with `{SERVERS[name]}` first\n"
        assert await complaint(name, CLIENTS[name], str(port)) == expected


@pytest.mark.parametrize("name", SERVERS)
async def test_with_the_port_taken_it_ends_with_one_line(name: str) -> None:
    with trio.fail_after(LIMIT), socket.create_server(("127.0.0.1", 0)) as taken:
        line = await complaint(name, SERVERS[name], str(taken.getsockname()[1]))
    assert line == "cannot listen: Address already in use; another PORT may be free\n"


async def test_a_server_of_something_else_is_one_line() -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await stream.receive_some()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(partial(trio.serve_tcp, speak, 0, host="127.0.0.1"))
            line = await complaint("http_server", "client", str(listener.socket.getsockname()[1]))
            nursery.cancel_scope.cancel()
    assert "this looks like SSH, not HTTP/2" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", SERVERS)
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


# ---- HTTP/2 ----


async def test_ctrl_c_lets_the_server_answer_what_has_begun() -> None:
    with trio.fail_after(LIMIT):
        port = str(free_port())
        async with trio.open_nursery() as nursery:
            part = await start(nursery, "http_server", "serve", port)
            async with http.connect(f"http://127.0.0.1:{port}") as client:
                events = await client.request("GET", "/events")
                upload = await client.open("POST", "/upload")
                await upload.send_all(b"abc")
                part.interrupt()
                assert await events.read() == b"data: 0 uploads, 0 bytes\n\n"  # the server ends these itself
                await client.session.wait_going_away()
                await upload.send_all(b"de", end=True)
                assert await (await upload.started()).read() == b"5 bytes\n"
        part.check_stopped()


async def test_a_second_ctrl_c_ends_the_server_immediately() -> None:
    with trio.fail_after(LIMIT):
        port = str(free_port())
        async with trio.open_nursery() as nursery:
            part = await start(nursery, "http_server", "serve", port)
            async with http.connect(f"http://127.0.0.1:{port}") as client:
                await client.open("POST", "/upload")
                part.interrupt()
                await part.says(b"stopping")
                part.interrupt()
                await client.session.wait()
        part.check_stopped()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/upload", 405), ("POST", "/", 405), ("HEAD", "/?a=b", 200)],
    ids=["nowhere", "no-upload", "no-page-to-post-to", "head"],
)
async def test_other_requests_are_answered_too(method: str, path: str, status: int) -> None:
    with trio.fail_after(LIMIT):
        async with http_server.server(0) as (_, port), http.connect(f"http://127.0.0.1:{port}") as client:
            assert (await client.request(method, path)).status == status


@pytest.mark.parametrize("body", [b"1\ntwo\n", b"1" * 200], ids=["no-number", "no-end"])
async def test_lines_that_are_no_numbers_reset_the_stream(body: bytes) -> None:
    with trio.fail_after(LIMIT):
        async with http_stream.server(0) as port, http.connect(f"http://127.0.0.1:{port}") as client:
            response = await client.request("POST", "/", body=body)
            with pytest.raises(muxpy.StreamReset):
                await response.read()


async def test_the_two_parts_of_the_tunnel_run_apart() -> None:
    with trio.fail_after(LIMIT):
        port, local = str(free_port()), free_port()
        async with trio.open_nursery() as nursery, trio.open_nursery() as targets:
            [target] = await targets.start(partial(trio.serve_tcp, http_tunnel.echo, 0, host="127.0.0.1"))
            to = f"127.0.0.1:{target.socket.getsockname()[1]}"
            proxy = await start(nursery, "http_tunnel", "proxy", port)
            forward = await start(nursery, "http_tunnel", "forward", str(local), to, port)
            async with await trio.open_tcp_stream("127.0.0.1", local) as connection:
                await connection.send_all(b"hello")
                await connection.send_eof()
                assert b"".join([data async for data in connection]) == b"hello"
            forward.interrupt()
            proxy.interrupt()
            targets.cancel_scope.cancel()
        forward.check_stopped()
        proxy.check_stopped()


async def test_the_proxy_says_whom_it_does_not_connect_to(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(LIMIT), closed_port() as nobody:
        for target, why in [
            ("example.org:80", "403 to CONNECT: only loopback may be reached"),
            ("127.0.0.1:x", "400 to CONNECT: no port"),
            (f"127.0.0.1:{nobody}", f"502 to CONNECT: all attempts to connect to 127.0.0.1:{nobody} failed"),
        ]:
            async with (
                http_tunnel.proxy(0) as port,
                http_tunnel.forward(0, target, port) as (_, local),
                await trio.open_tcp_stream("127.0.0.1", local) as connection,
            ):
                assert await connection.receive_some() == b""
            assert capsys.readouterr().out == f"forward: the server has answered {why}\n"


async def test_a_target_that_breaks_is_a_reset_at_the_other_end(capsys: pytest.CaptureFixture[str]) -> None:
    async def break_off(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, http_tunnel.RESET)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            [target] = await nursery.start(partial(trio.serve_tcp, break_off, 0, host="127.0.0.1"))
            to = f"127.0.0.1:{target.socket.getsockname()[1]}"
            async with (
                http_tunnel.proxy(0) as port,
                http_tunnel.forward(0, to, port) as (_, local),
                await trio.open_tcp_stream("127.0.0.1", local) as connection,
            ):
                with pytest.raises(trio.BrokenResourceError):
                    await connection.receive_some()
            nursery.cancel_scope.cancel()
    assert "forward: a connection broke: " in capsys.readouterr().out


async def test_a_forward_whose_proxy_ends_ends_too() -> None:
    with trio.fail_after(LIMIT):
        port = str(free_port())
        async with trio.open_nursery() as nursery:
            proxy = await start(nursery, "http_tunnel", "proxy", port)
            forward = await start(nursery, "http_tunnel", "forward", str(free_port()), "127.0.0.1:1", port)
            proxy.interrupt()
        assert forward.process.returncode == 1


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("proxy", "x"), "x is no port: that is a number from 1 to 65535"),
        (("forward", "0", "localhost:80"), "0 is no port: that is a number from 1 to 65535"),
        (("forward", "8080", "localhost"), "localhost is no target: that is a host and a port, as in 127.0.0.1:8000"),
        (("forward", "8080", "localhost:x"), "x is no port: that is a number from 1 to 65535"),
    ],
    ids=["proxy-port", "local-port", "target", "target-port"],
)
async def test_mistakes_in_the_words_of_the_tunnel_are_one_line(args: tuple[str, ...], line: str) -> None:
    with trio.fail_after(LIMIT):
        assert await complaint("http_tunnel", *args) == f"{line}\n"


async def test_what_the_tunnel_cannot_begin_is_one_line() -> None:
    with trio.fail_after(LIMIT), closed_port() as port:
        expected = f"all attempts to connect to 127.0.0.1:{port} failed: run it with `proxy` first\n"
        assert await complaint("http_tunnel", "forward", str(free_port()), "127.0.0.1:1", str(port)) == expected
    with trio.fail_after(LIMIT), socket.create_server(("127.0.0.1", 0)) as taken:
        expected = "cannot listen: Address already in use; another port may be free\n"
        assert await complaint("http_tunnel", "proxy", str(taken.getsockname()[1])) == expected
