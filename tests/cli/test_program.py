"""The program as its user meets it: one line for each error, exit codes, signals, TLS."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.helpers.processes import started
from tests.helpers.tasks import LIMIT, read_all

from .program import ADDRESS, COMMAND, ENVIRONMENT, Server, closed_port, echo, free_port, reset, run, running, tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import InProcess


async def fails(*arguments: str, code: int = 1) -> str:
    """Run what must fail; the one line that says why."""
    with trio.fail_after(LIMIT):
        got, output, errors = await run(*arguments)
    # A busy machine may have it say meanwhile what it waits for.
    lines = [line for line in output.splitlines() if not re.search("waiting for its|still (looking|trying)", line)]
    assert (got, lines) == (code, []), errors
    assert errors.startswith("muxpy: ")
    assert errors.count("\n") == 1, errors
    return errors


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["listen", "99999"], "between 0 and 65535"),
        (["listen", "0", "--tls-key", sys.executable], "--tls-key needs --tls-cert"),
        (["connect", "localhost", "-L", "0:localhost:1"], "it takes HOST:PORT; for example"),
        (["connect", "localhost:1", "-L", "8080"], "-L 8080: it takes [bind:]port:host:hostport; for example"),
        (["connect", "localhost:1"], "nothing to forward"),
        (["connect", "localhost:1", "-L", "0:a:1", "--tls", "--insecure"], "--insecure means without TLS"),
        (["connect", "localhost:1", "-L", "0:a:1", "--insecure", "--fingerprint", "sha256:" + 64 * "0"], "without TLS"),
        (["connect", "localhost:1", "-L", "0:a:1", "-W", "a:1"], "no forwards beside it"),
        (["connect", "localhost:1", "-L", "7:a:1", "-D", "7"], "is given twice"),
        (["connect", "localhost:1", "-L", "0:a:1", "-q", "-v"], "contradict"),
        (["listen"], "where to listen?"),
        (["listen", "0", "--client-ca", sys.executable], "--client-ca needs --tls-cert"),
        (
            ["connect", "localhost:1", "-L", "0:a:1", "--tls", "--tls-name", ""],
            "--tls-name : the host is missing; for example",
        ),
        (["demo", "--size", "much"], "not a size"),
        (["demo", "--size", "9" * 330], "too large"),
        (["demo", "--time-limit", "nan"], "must be a number"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line(in_process: InProcess, arguments: list[str], complaint: str) -> None:
    assert complaint in refused(in_process, *arguments)


def refused(in_process: InProcess, *arguments: str) -> str:
    """Run what must fail before anything is done; the one line that says why."""
    code, output, errors = in_process(shlex.join(arguments))
    assert (code, output) == (2, "")
    assert errors.startswith("muxpy: ")
    assert errors.count("\n") == 1, errors
    return errors


def test_help_and_version(in_process: InProcess) -> None:
    for command in ("", "listen ", "connect ", "demo "):
        code, output, errors = in_process(command + "--help")
        assert (code, errors) == (0, "")
        assert output.startswith("Usage: muxpy")
    code, output, _ = in_process("--version")
    assert code == 0
    assert output.startswith("muxpy ")


async def test_the_program_itself_fails_with_a_line() -> None:
    assert "nonsense" in await fails("nonsense", code=2)


async def test_a_refused_connection_is_one_line() -> None:
    with closed_port() as port:
        complaint = await fails("connect", f"localhost:{port}", "-L", "0:localhost:1", "--max-retries", "0")
    assert (
        complaint
        == f"muxpy: cannot connect to localhost:{port}: connection refused (is `muxpy listen` running there?)\n"
    )


async def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        complaint = f"muxpy: cannot listen on 127.0.0.1:{port}: address already in use\n"
        assert await fails("listen", str(port)) == complaint
        assert await fails("connect", "localhost:1", "-L", f"{port}:localhost:1") == complaint
        with trio.fail_after(LIMIT):
            async with running("listen", "0") as listening:
                address = f"127.0.0.1:{await listening.port('listening on')}"
                code, _, errors = await run("connect", address, "-R", f"{port}:localhost:1")
        assert code == 1
        assert "address already in use" in errors
        assert errors.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.0.2.1"])
def test_listening_off_loopback_wants_tls(in_process: InProcess, host: str) -> None:
    assert "--tls-cert" in refused(in_process, "listen", f"{host}:0")


def test_listening_off_loopback_wants_to_know_who_comes(in_process: InProcess, certificates: Path) -> None:
    tls = ("--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem"))
    assert "--tokens" in refused(in_process, "listen", "0.0.0.0:0", *tls)


async def test_listening_off_loopback_is_possible_if_one_insists() -> None:
    with trio.fail_after(LIMIT):
        async with running("listen", "0.0.0.0:0", "--insecure") as listening:
            assert "listening on 0.0.0.0:" in await listening.line("without TLS")


def test_connecting_off_loopback_wants_tls(in_process: InProcess) -> None:
    assert "give --tls" in refused(in_process, "connect", "192.0.2.1:4242", "-L", "0:localhost:1")


async def test_a_listener_that_is_no_muxpy() -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await read_all(stream)  # closed with something unread, it would be reset

    async with Server(greet) as server:
        complaint = await fails("connect", f"localhost:{server.port}", "-L", "0:localhost:1")
    assert "does not answer as a muxpy" in complaint
    assert "--tls?" not in complaint


async def test_a_listener_that_closes_might_want_tls() -> None:
    async with Server(trio.aclose_forcefully) as server:
        # Without a retry: if it closes so early that the system resets the connection, it may only be crowded.
        complaint = await fails("connect", f"localhost:{server.port}", "-L", "0:localhost:1", "--max-retries", "0")
    assert "--tls?" in complaint


async def test_a_listener_that_drops_the_first_connections_is_tried_again() -> None:
    dropped: list[trio.SocketStream] = []

    async def drop(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        dropped.append(stream)
        reset(stream)

    with trio.fail_after(LIMIT):
        async with Server(drop) as server, running("connect", f"localhost:{server.port}", "-L", "0:x:1") as connecting:
            line = await connecting.line("trying again in")
            assert "has closed the connection without an answer (does it want --tls?)" in line
            while len(dropped) < 2:  # noqa: ASYNC110 - it comes from another process
                await trio.sleep(0.02)


async def test_the_end_of_the_session_is_told_and_a_new_one_tried() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:localhost:1", options=("--max-retries", "1")) as ends:
            ends.listening.process.kill()
            line = await ends.connecting.line("the session with localhost:")
            assert "trying again in" in line
            errors = await ends.connecting.errors()
            assert await ends.connecting.process.wait() == 1
    assert "(tried 2 times)" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_both_ends_in_order(number: signal.Signals) -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:localhost:1", "-R", "0:localhost:1") as ends:
            assert await ends.connecting.end(number) == 0
            assert (await ends.listening.line("has ended")).endswith("has ended")  # without an error
            assert await ends.listening.end(number) == 0
            assert await ends.connecting.errors() == await ends.listening.errors() == ""


async def test_a_drained_listening_end_is_told_apart_from_a_lost_one() -> None:
    with trio.fail_after(LIMIT):
        async with tunnel("-L", "0:localhost:1") as ends:
            assert await ends.listening.end() == 0
            assert "new connections go over a new one" in await ends.connecting.line("is ending the session")
            assert "listen` running there?); trying again" in await ends.connecting.line("cannot connect")


async def test_a_second_signal_ends_immediately() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as server, tunnel("-L", f"0:localhost:{server.port}") as ends:
            client = await ends.client()
            await client.send_all(b"x")
            await client.receive_some()
            ends.connecting.send(signal.SIGINT)
            await ends.connecting.line("finishing")
            assert await ends.connecting.end(signal.SIGINT) == 130
            await client.aclose()


# ---- TLS ----


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with ca.pem, and cert.pem and key.pem for example.org."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("example.org")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    (tmp_path / "key.pem").chmod(0o600)
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(tmp_path / "cert.pem"), append=True)
    return tmp_path


async def test_tls(certificates: Path) -> None:
    with trio.fail_after(LIMIT):
        tls = ("--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem"))
        async with running("listen", "0", *tls) as listening, Server(echo) as server:
            address = f"127.0.0.1:{await listening.port('with TLS')}"
            forward = ("connect", address, "-L", f"0:localhost:{server.port}")
            authority = ("--tls-ca", str(certificates / "ca.pem"))

            complaint = await fails(*forward, "--tls", code=3)
            assert "certificate does not verify: unable to get local issuer certificate" in complaint
            complaint = await fails(*forward, "--tls", *authority, code=3)
            assert "certificate does not verify: IP address mismatch" in complaint
            assert "--tls?" in await fails(*forward)

            async with running(*forward, "--tls", *authority, "--tls-name", "example.org") as connecting:
                port = await connecting.port("forwarding")
                client = await trio.open_tcp_stream("127.0.0.1", port)
                await client.send_all(b"secret")
                assert await client.receive_some() == b"secret"
                await client.aclose()
                assert await connecting.end() == 0


async def test_tls_with_one_that_has_none() -> None:
    with trio.fail_after(LIMIT):
        async with running("listen", "0") as listening:
            port = await listening.port("listening on")
            assert "TLS failed: this looks like plain muxado, not TLS" in await fails(
                "connect", f"localhost:{port}", "-L", "0:localhost:1", "--tls"
            )


def test_a_file_that_is_no_certificate(in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    assert "cannot use" in refused(in_process, "listen", "0", "--tls-cert", str(tmp_path / "cert.pem"))
    assert "cannot use" in refused(
        in_process, "connect", "localhost:1", "-L", "0:localhost:1", "--tls", "--tls-ca", str(tmp_path / "cert.pem")
    )


def test_a_private_key_that_cannot_be_used(in_process: InProcess, certificates: Path, tmp_path: Path) -> None:
    certificate = str(certificates / "cert.pem")
    trustme.CA().issue_cert("example.org").private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    key = load_pem_private_key((certificates / "key.pem").read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "encrypted.pem").write_bytes(encrypted)

    assert "no private key in it: give --tls-key" in refused(in_process, "listen", "0", "--tls-cert", certificate)
    for file, complaint in (
        ("other.pem", "the key does not belong to the certificate"),
        ("encrypted.pem", "the private key is encrypted"),
        ("cert.pem", "no private key in "),
    ):
        options = ("--tls-cert", certificate, "--tls-key", str(tmp_path / file))
        assert complaint in refused(in_process, "listen", "0", *options)


# ---- output and files ----


async def test_help_that_cannot_be_written_is_one_line() -> None:
    with trio.fail_after(LIMIT):
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            done = await trio.run_process(
                [*COMMAND, "--help"], stdout=full, capture_stderr=True, check=False, env=ENVIRONMENT
            )
        finally:
            os.close(full)
    assert (done.returncode, done.stderr) == (1, b"muxpy: cannot write the output: no space left on device\n")


async def test_output_that_nobody_reads_stops_nothing() -> None:
    reader, writer = os.pipe()
    port = free_port()
    try:
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while os.write(writer, bytes(4096)):
                pass
        os.set_blocking(writer, True)
        with trio.fail_after(LIMIT):
            options = {"stdout": writer, "stderr": subprocess.DEVNULL, "env": ENVIRONMENT}
            async with started([*COMMAND, "listen", str(port)], **options) as process, Server(echo) as server:
                await connected(port)
                async with running("connect", f"localhost:{port}", "-L", f"0:localhost:{server.port}") as connecting:
                    client = await trio.open_tcp_stream("127.0.0.1", await connecting.port("forwarding"))
                    await client.send_all(b"x")
                    assert await client.receive_some() == b"x"
                    await client.aclose()
                    assert await connecting.end() == 0
                process.terminate()
                assert await process.wait() == 0
    finally:
        os.close(reader)
        os.close(writer)


async def connected(port: int) -> None:
    """Wait until something listens there."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


async def test_an_interrupt_while_it_is_being_loaded_is_quiet() -> None:
    script = (
        "import sys, muxpy_cli\n"
        "class Interrupted:\n"
        "    def find_spec(self, *_):\n"
        "        raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "muxpy_cli.main()"
    )
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            [COMMAND[0], "-c", script], capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT
        )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


async def test_what_is_bound_before_the_first_session_is_announced() -> None:
    server = free_port()
    with trio.fail_after(LIMIT):
        async with running("connect", f"localhost:{server}", "-L", "0:localhost:1", "-D", "0") as connecting:
            line = await connecting.line("is bound")
            assert line.endswith(" is bound, and connections to it wait 5 s for a session")
            match = ADDRESS.search(line)
            assert match is not None
            await connecting.line("is bound")
            async with running("listen", str(server)):
                assert await connecting.port("forwarding") == int(match[2])
                line = await connecting.line("forwarding")
                assert line.endswith(f" -> localhost:{server} -> what its rules allow (socks)")
                assert await connecting.end() == 0


# ---- what is missing without the extra ----


@pytest.mark.parametrize("missing", ["click", "rich", "h11", "prometheus_client"])
async def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import muxpy_cli; muxpy_cli.main()"
    with trio.fail_after(LIMIT):
        done = await trio.run_process(
            [COMMAND[0], "-c", script], capture_stdout=True, capture_stderr=True, check=False, env=ENVIRONMENT
        )
    assert done.returncode == 1
    hint = "install the extra `cli`; in a clone of muxpy: pip install '.[cli]'"
    assert done.stderr.decode() == f"muxpy: the program needs {missing}: {hint}\n"


# ---- a terminal that is closed ----


@pytest.mark.parametrize("end", [["listen", "0"], ["connect", "localhost:1", "-L", "0:localhost:1"]])
@pytest.mark.parametrize("nohup", [False, True])
async def test_a_closed_terminal_ends_it(end: list[str], nohup: bool) -> None:
    leader, terminal = os.openpty()
    hangups = "--ignore-signal=HUP" if nohup else "--default-signal=HUP"  # not as these tests were started themselves
    with trio.fail_after(LIMIT):
        command = ["env", hangups, *COMMAND, *end]
        quiet = {"stderr": subprocess.DEVNULL, "env": ENVIRONMENT, "start_new_session": True}
        async with started(command, stdin=terminal, stdout=terminal, **quiet) as process:
            os.close(terminal)
            text = b""
            while b"127.0.0.1" not in text and b"trying again" not in text:  # however it comes in pieces
                text += await trio.to_thread.run_sync(os.read, leader, 4096, abandon_on_cancel=True)
            os.close(leader)
            process.send_signal(signal.SIGHUP)  # as the system does where it is the controlling terminal
            if nohup:  # it was started as nohup(1) does it, to go on
                with trio.move_on_after(0.5):
                    raise AssertionError(await process.wait())
                process.terminate()
            assert await process.wait() == 0
