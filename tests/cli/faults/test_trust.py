"""Who is believed, and who is told what: certificates, fingerprints, tokens."""

from __future__ import annotations

import hashlib
import json
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from muxpy_cli.server._turned_away import DELAY, HELD
from muxpy_cli.server._waiting import PLACES_EACH
from muxpy_cli.wire import Purpose
from tests.helpers.tasks import LIMIT

from ..program import COMMAND, ENVIRONMENT, Server, echo, free_port, run
from .ends import connected, started, tell, tunnel
from .strangers import session_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from .ends import End

SECRET = "muxpy_" + "S3cret-" * 6 + "x"


class Papers:
    """Certificates in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = trustme.CA()
        self.write("ca.pem", self.ca.cert_pem)
        self.write("other-ca.pem", trustme.CA().cert_pem)
        self.good = self.issue("good")
        self.fingerprint = "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.good_text)).hexdigest()
        self.expired = self.issue("expired", not_after=datetime.now(UTC) - timedelta(days=1))
        self.client = self.issue("client", identity="alice.example")

    def write(self, name: str, *blobs: trustme.Blob) -> str:
        path = self._folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def issue(self, name: str, identity: str = "localhost", not_after: datetime | None = None) -> str:
        """The path of a file with a certificate and its key."""
        before = datetime.now(UTC) - timedelta(days=9) if not_after else None
        made = self.ca.issue_cert(identity, not_after=not_after, not_before=before)
        if name == "good":
            self.good_text = made.cert_chain_pems[0].bytes().decode()
        return self.write(f"{name}.pem", *made.cert_chain_pems, made.private_key_pem)

    def file(self, name: str) -> str:
        return str(self._folder / name)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """One set for all tests here: making keys takes a while."""
    return Papers(tmp_path_factory.mktemp("papers"))


@asynccontextmanager
async def eavesdropper(cert: str, heard: bytearray, client_ca: str | None = None) -> AsyncIterator[int]:
    """A TLS server that keeps all that it is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)

    async def listen(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError, ssl.SSLError):
            async for data in secure:
                heard.extend(data)
        await trio.aclose_forcefully(secure)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, listen, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def connect_once(port: int, *options: str, token: str | None = SECRET) -> tuple[int, str]:
    """`muxpy connect` with a token; the exit code and all output."""
    async with started("connect", f"localhost:{port}", "-vv", *options, "-L", "0:localhost:1", token=token) as end:
        return await end.code(), end.text


def one_line(text: str) -> str:
    """The line that the program ends with; there is nothing else that has gone wrong."""
    lines = [line for line in text.splitlines() if line.startswith("muxpy: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    assert SECRET not in text
    return lines[0]


async def test_nobody_gets_a_token_before_it_is_clear_who_it_is(papers: Papers) -> None:
    heard = bytearray()
    wrong = "sha256:" + "ab" * 32
    cases = [
        (papers.expired, ("--tls-ca", papers.file("ca.pem")), "certificate has expired"),
        (papers.good, ("--tls-ca", papers.file("other-ca.pem")), "the certificate does not verify"),
        (papers.good, ("--tls",), "the certificate does not verify"),
        (
            papers.good,
            ("--tls-ca", papers.file("ca.pem"), "--tls-name", "other.example"),
            "certificate does not verify",
        ),
        (papers.good, ("--fingerprint", wrong), "fingerprint"),
    ]

    async def try_one(cert: str, options: tuple[str, ...], words: str) -> None:
        async with eavesdropper(cert, heard) as port:
            code, text = await connect_once(port, *options)
            assert code == 3, text
            assert words in one_line(text)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for case in cases:
                nursery.start_soon(try_one, *case)
        assert b"token" not in heard
        assert SECRET.encode() not in heard
        # The same ear does hear it from who trusts the certificate: the test would notice.
        trusting = "--fingerprint", papers.fingerprint, "-L", "0:x:1"
        async with (
            eavesdropper(papers.good, heard) as port,
            started("connect", f"localhost:{port}", *trusting, token=SECRET),
        ):
            while SECRET.encode() not in heard:  # noqa: ASYNC110 - it comes from another process
                await trio.sleep(0.02)


async def test_certificates_and_fingerprints_that_are_right_work(papers: Papers) -> None:
    cases = ("--tls-ca", papers.file("ca.pem")), ("--fingerprint", papers.fingerprint)
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, started("listen", "0", "--tls-cert", papers.good) as listening:
            port = await listening.port("listening on")
            for options in cases:
                forward = "-L", f"0:localhost:{target.port}"
                async with started("connect", f"localhost:{port}", *options, *forward) as connecting:
                    (await connected(await connecting.port("forwarding"))).socket.close()


async def test_client_certificates_are_asked_for_and_name_the_user(papers: Papers) -> None:
    listen = "--tls-cert", papers.good, "--client-ca", papers.file("ca.pem")
    trust = "--tls-ca", papers.file("ca.pem")
    other = trustme.CA().issue_cert("alice.example")
    stranger = papers.write("stranger.pem", *other.cert_chain_pems, other.private_key_pem)
    with trio.fail_after(LIMIT):
        async with started("listen", "0", *listen) as listening:
            port = await listening.port("listening on")
            code, text = await connect_once(port, *trust)
            assert code == 3, text
            assert "client certificate" in one_line(text)
            code, text = await connect_once(port, *trust, "--tls-cert", stranger)
            assert code == 3, text
            assert "--tls-cert" in one_line(text)
            async with started(
                "connect", f"localhost:{port}", *trust, "--tls-cert", papers.client, "-L", "0:x:1"
            ) as connecting:
                await connecting.said("forwarding")
                assert [one["user"] for one in (await listening.snapshot())["sessions"]] == ["alice.example"]


async def wrong_token(port: int, answers: list[float]) -> None:
    """Try one, and note how long the answer took."""
    begun = trio.current_time()
    async with session_from("127.0.0.1", port) as session:
        _, answer = await tell(session, Purpose.HELLO, {"token": "muxpy_guess"})
        assert answer["error"] == "forbidden"
        answers.append(trio.current_time() - begun)


async def scrape(address: str) -> str:
    """The metrics."""
    host, _, port = address.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        return b"".join([bytes(chunk) async for chunk in stream]).decode()


async def test_wrong_tokens_are_slowed_and_counted_and_shut_nobody_out(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.toml")
    with trio.fail_after(LIMIT):
        right = (await run("token", "new", "alice", "--file", file))[1].strip()
        metrics = f"127.0.0.1:{free_port()}"
        async with started("listen", "0", "--tokens", file, "--metrics", metrics) as listening:
            port = await listening.port("listening on")

            async def try_one(token: str | None, words: str) -> None:
                code, text = await connect_once(port, token=token)
                assert code == 3
                assert words in one_line(text)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(try_one, SECRET, "the token is not known here")
                nursery.start_soon(try_one, None, "MUXPY_TOKEN")

            answers: list[float] = []
            async with trio.open_nursery() as nursery:
                for _ in range(2 * PLACES_EACH):
                    nursery.start_soon(wrong_token, port, answers)
                failures = 2 + 2 * PLACES_EACH
                await listening.until(lambda found: found["totals"]["auth_failures"] == failures)
                # While most of their answers are held back, the right token is welcome at the same address.
                async with started("connect", f"localhost:{port}", "-L", "0:x:1", token=right) as connecting:
                    await connecting.said("forwarding")
            answers.sort()
            assert len([wait for wait in answers if wait >= DELAY]) >= HELD
            assert f"muxpy_auth_failures_total {failures}.0" in await scrape(metrics)
            done = await trio.run_process(
                [*COMMAND, "status", str(listening.control), "--json"], capture_stdout=True, env=ENVIRONMENT
            )
            assert json.loads(done.stdout)["totals"]["auth_failures"] == failures


async def test_tokens_are_nowhere_to_be_read(tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.toml")
    with trio.fail_after(LIMIT):
        right = (await run("token", "new", "alice", "--file", file))[1].strip()
        said: list[str] = []
        noise = "-vv", "--log-format", "json", "--metrics"
        async with Server(echo) as target:
            forwards = "-L", f"0:localhost:{target.port}", "-R", f"0:localhost:{target.port}"
            listen = "--tokens", file, *noise, f"127.0.0.1:{free_port()}"
            connect = *noise, f"127.0.0.1:{free_port()}"
            async with tunnel(*forwards, listen=listen, connect=connect, token=right) as ends:
                for port in ends.ports:
                    (await connected(port)).socket.close()
                async with session_from("127.0.0.1", ends.port) as session:
                    await tell(session, Purpose.HELLO, {"token": SECRET})
                for end in (ends.listening, ends.connecting):
                    said += await _everything(end)
                    await end.stop()
                    said.append(end.text)
        everything = "\n".join(said)
        for secret in (right, SECRET, hashlib.sha256(right.encode()).hexdigest()):
            assert secret not in everything
            assert secret[6:] not in everything
        assert "alice" in everything


async def _everything(end: End) -> list[str]:
    """What it says where one can ask."""
    status = await trio.run_process(
        [*COMMAND, "status", str(end.control)], capture_stdout=True, capture_stderr=True, env=ENVIRONMENT
    )
    metrics = await scrape(f"127.0.0.1:{await end.port('metrics on')}")
    with open(f"/proc/{end.process.pid}/cmdline") as file:  # noqa: ASYNC230 - no real file
        return [status.stdout.decode(), json.dumps(await end.snapshot()), metrics, file.read()]
