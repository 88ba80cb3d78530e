"""`muxpy get`: one URL over HTTP/2, from a server in this process."""

from __future__ import annotations

import hashlib
import random
import signal
import ssl
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from muxpy import http
from tests.helpers.tasks import bounded

from .program import COMMAND, ENVIRONMENT, run, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DATA = random.Random(5).randbytes(3_000_000)


async def answer(exchange: http.Exchange) -> None:
    match exchange.request.path.partition("?")[0]:
        case "/data":
            await exchange.respond(200, {"content-type": "application/octet-stream"}, DATA)
        case "/echo":
            await exchange.start(200, {"x-method": exchange.request.method})
            async for chunk in exchange:
                await exchange.send_all(chunk)
        case "/fields":
            fields = exchange.request.headers.raw
            await exchange.respond(200, (), b"".join(b"%b=%b\n" % field for field in fields))
        case "/half":
            await exchange.start(200, {"content-length": str(len(DATA))})
            await exchange.send_all(DATA[:1_000_000])
            exchange.reset()
        case "/hangs":
            await exchange.start(200)
            await exchange.send_all(b"begun")
            await exchange.wait_ended()
        case "/moved":
            await exchange.respond(301, {"location": "/data"})
        case "/path":
            await exchange.respond(200, (), exchange.request.path.encode())
        case _:
            await exchange.respond(404, {"x-why": "\x7f"}, b"nothing here\n")


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server; the beginning of its URLs."""
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
            await http.serve(answer, 0, host="127.0.0.1", ssl_context=context, task_status=task_status)

        [listener] = await nursery.start(serve)
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def fetched(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    done = await trio.run_process(
        [*COMMAND, "get", *arguments],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout, done.stderr.decode()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@bounded()
async def test_a_body_to_standard_output_and_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    async with serving() as url:
        assert await fetched(f"{url}/data") == (0, DATA, "")
        assert await fetched(f"{url}/data", "-o", str(file)) == (0, b"", "")
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(DATA).digest()
    assert names(tmp_path) == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) & stat.S_IRUSR


@pytest.mark.parametrize("source", ["text", "file", "standard-input"])
@bounded()
async def test_what_is_sent(source: str, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(DATA)
    given = {"text": "plain text", "file": f"@{file}", "standard-input": "@-"}[source]
    expected = b"plain text" if source == "text" else DATA
    async with serving() as url:
        code, out, errors = await fetched(f"{url}/echo", "-d", given, stdin=DATA)
        assert (code, out == expected, errors) == (0, True, "")
        head = (await fetched(f"{url}/echo", "-i", "-d", given, stdin=DATA))[1]
        assert head.startswith(b"HTTP/2 200\n")
        assert b"x-method: POST" in head.partition(b"\n\n")[0].splitlines()
        assert (await fetched(f"{url}/fields", "-X", "PUT", "-H", "X-One: a:b", "-H", "x-one:2", "-d", ""))[1] == (
            b"x-one=a:b\nx-one=2\ncontent-length=0\n"
        )


@bounded()
async def test_the_path_is_sent_as_it_is_written() -> None:
    async with serving() as url:
        assert (await fetched(f"{url}/path?a=b%20c&d=ü d#part"))[1] == b"/path?a=b%20c&d=%C3%BC%20d"


@bounded()
async def test_answers_that_are_no_success() -> None:
    async with serving() as url:
        code, out, errors = await fetched(f"{url}/no", "-i")
        assert (code, errors) == (1, "muxpy: the server has answered 404\n")
        assert b"x-why: \\x7f\n" in out
        assert out.endswith(b"\n\nnothing here\n")
        assert await fetched(f"{url}/moved") == (0, b"", "muxpy: the server has answered 301: it is at /data\n")


@bounded()
async def test_a_part_does_not_take_the_place_of_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"before")
    async with serving() as url:
        code, _, errors = await fetched(f"{url}/half", "-o", str(file))
        assert code == 1
        assert "reset it with CANCEL" in errors
        async with running("get", f"{url}/hangs", "-o", str(file)) as program:
            while len(names(tmp_path)) == 1:  # noqa: ASYNC110 - another process begins to write
                await trio.sleep(0.01)
            assert await program.end(signal.SIGINT) == 130
            assert await program.errors() == ""
    assert names(tmp_path) == [file.name]
    assert file.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("path", "options", "code", "words"),
    [
        ("/no", [], 1, "the server has answered 404; nothing was written"),
        ("/moved", [], 0, "it is at /data; nothing was written"),
        ("/data", ["-X", "HEAD"], 0, "without a body; nothing was written"),
    ],
    ids=["error", "moved", "head"],
)
@bounded()
async def test_what_is_no_content_does_not_take_the_place_of_a_file(
    path: str, options: list[str], code: int, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"before")
    async with serving() as url:
        done = await fetched(f"{url}{path}", "-o", str(file), *options)
    assert done[:2] == (code, b"")
    assert words in done[2]
    assert file.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("redirected", "why"),
    [(">&-", "standard output is closed"), (">/dev/full", "no space left on device")],
    ids=["closed", "full"],
)
@bounded()
async def test_standard_output_that_cannot_be_written_is_one_line(redirected: str, why: str) -> None:
    async with serving() as url:
        command = f"{' '.join(COMMAND)} get {url}/data {redirected}"
        done = await trio.run_process(["bash", "-c", command], capture_stderr=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.decode() == f"muxpy: cannot write the output: {why}\n"


@bounded()
async def test_trust(tmp_path: Path) -> None:
    ca, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "right.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "wrong.pem")
    async with serving(context) as url:
        assert await fetched(f"{url}/data", "--tls-ca", str(tmp_path / "right.pem")) == (0, DATA, "")
        code, out, errors = await fetched(f"{url}/data", "--tls-ca", str(tmp_path / "wrong.pem"))
    assert (code, out) == (3, b"")
    assert "does not verify" in errors
    assert "--tls-ca" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://host/"], "a URL is https://"),
        (["http://host:99999/"], "is no URL"),
        (["http://a:b@host/"], "authorization"),
        (["http://bücher.example/"], "xn--"),
        (["http://host/", "-H", "no-colon"], "NAME: VALUE"),
        (["http://host/", "--tls-ca", "README.md"], "https://"),
        (["http://host/", "-d", "@/no/such/file"], "no such file"),
        (["http://host/", "-d", "@/"], "directory"),
        (["http://host/", "--tls-ca", "/no/such"], "no such file"),
    ],
    ids=["scheme", "port", "user", "idn", "field", "ca-for-http", "no-data", "folder", "no-ca"],
)
@bounded()
async def test_mistakes_are_one_line(arguments: list[str], words: str) -> None:
    code, out, errors = await run("get", *arguments)
    assert (code, out) == (2, "")
    assert words in errors
    assert errors.startswith("muxpy: ")
    assert errors.count("\n") == 1


@bounded()
async def test_what_cannot_be_reached_or_sent(tmp_path: Path) -> None:
    async with serving() as url:
        code, _, errors = await run("get", url, "-H", "connection: close")
        assert (code, "'connection' has no meaning" in errors) == (2, True)
        code, _, errors = await run("get", f"{url}/data", "-o", str(tmp_path / "none" / "file"))
        assert (code, "cannot write" in errors) == (1, True)
        code, _, errors = await run("get", url.replace("http", "https"))
        assert (code, "does not speak TLS" in errors) == (1, True)
    code, _, errors = await run("get", url)
    assert code == 1
    assert errors == f"muxpy: {url}: connection refused\n"
