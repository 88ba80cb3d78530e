"""Standard streams that are closed, full, or of an encoding that lacks a name."""

from __future__ import annotations

import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
import trio

from tests.helpers.processes import started
from tests.helpers.tasks import LIMIT

from .program import COMMAND, ENVIRONMENT, Server, echo, free_port, running
from .trace_helpers import WHOLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLOSED: Final = "cannot write the output: standard output is closed"
FULL: Final = "cannot write the output: no space left on device"
BROKEN: Final = ((">&-", CLOSED), (">/dev/full", FULL))
SHOWING: Final = {
    "--version": "muxpy ",
    "--help": "Usage: muxpy",
    "token list": "alice",
    "check connect.toml": "connect.toml: ok",
    "keygen --force tls": "fingerprint: ",
    "completion bash": "complete",
    "trace t.jsonl": "session 1",
    "status --json socket": '"role": "listen"',
    "status socket": "listen 127.0.0.1",
    "demo --size 1KiB --requests 1": "All 1 KiB and 3 answers came through",
}
"""Commands, and a part of what they show on standard output."""

FILES: Final = {
    "tokens.toml": "[users.alice]\n",
    "connect.toml": '[connect]\nserver = "localhost:1"\n[forwards]\na = "-L 1:localhost:1"\n',
    "t.jsonl": WHOLE,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def in_shell(folder: Path, arguments: str, redirected: str, **variables: str) -> tuple[int, str, str]:
    """The program in a shell that redirects its standard streams: exit code, standard output, standard error."""
    done = await trio.run_process(
        ["sh", "-c", f'"$@" {redirected}', "sh", *COMMAND, *arguments.split()],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=folder,
        env={**ENVIRONMENT, **variables},
    )
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


@pytest.mark.parametrize("command", SHOWING)
async def test_what_cannot_be_shown_is_no_success(command: str, folder: Path) -> None:
    with trio.fail_after(LIMIT):
        async with AsyncExitStack() as stack:
            if command.startswith("status"):
                listening = await stack.enter_async_context(running("listen", "0", "--control", str(folder / "socket")))
                await listening.line("listening on")
            redirected, problem = BROKEN[list(SHOWING).index(command) % 2]  # one after the other
            code, _, errors = await in_shell(folder, command, redirected)
            assert (code, errors.splitlines()[-1]) == (1, f"muxpy: {problem}")
            assert "Traceback" not in errors
            # Nobody needs the words on standard error, and these commands read no standard input.
            code, output, _ = await in_shell(folder, command, "<&- 2>&-")
            assert code == 0
            assert SHOWING[command] in output


@pytest.mark.parametrize(("redirected", "problem"), [(">&-", CLOSED), (">/dev/full", FULL)])
async def test_there_is_no_user_whose_token_nobody_has(redirected: str, problem: str, folder: Path) -> None:
    with trio.fail_after(LIMIT):
        for arguments in ("token new bob", "token new alice --replace"):
            code, _, errors = await in_shell(folder, arguments, redirected)
            words = problem.replace("write the output", "show the token, so tokens.toml is left as it was")
            assert (code, errors.splitlines()[1:]) == (1, [f"muxpy: {words}"])
            assert contents(folder) == FILES


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


async def test_a_closed_standard_input_is_named(folder: Path) -> None:
    with trio.fail_after(LIMIT):
        code, _, errors = await in_shell(folder, "trace -", "<&-")
        assert (code, errors) == (1, "muxpy: cannot read standard input: it is closed\n")
        code, _, errors = await in_shell(folder, "connect localhost:1 -L 0:a:1 --ask-token", "<&-")
        assert (code, errors.count("\n")) == (2, 1)
        assert "cannot ask for the token without a terminal" in errors


@asynccontextmanager
async def without_streams(*arguments: str) -> AsyncIterator[trio.Process]:
    """The program with none of the three."""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, *arguments]
    async with started(command, env=ENVIRONMENT) as process:
        yield process
        process.terminate()
        assert await process.wait() == 0


async def test_both_ends_do_without_any_of_them() -> None:
    listen, forward = str(free_port()), free_port()
    with trio.fail_after(LIMIT):
        async with AsyncExitStack() as stack:
            target = await stack.enter_async_context(Server(echo))
            await stack.enter_async_context(without_streams("listen", listen))
            local = f"{forward}:localhost:{target.port}"
            await stack.enter_async_context(
                without_streams("connect", f"localhost:{listen}", "-L", local, "--connect-wait", str(LIMIT))
            )
            client = await connected(forward)
            await client.send_all(b"through")
            assert await client.receive_some() == b"through"
            await client.aclose()


async def connected(port: int) -> trio.SocketStream:
    while True:
        try:
            return await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)  # until it is bound


async def test_names_that_the_encoding_lacks_are_escaped(folder: Path) -> None:
    name = "\u6f22"
    (folder / "tokens.toml").write_text(f'[users."{name}"]\nallow = ["unix:/run/{name}"]\n', "utf-8")
    (folder / f"{name}.toml").write_text(FILES["connect.toml"])
    with trio.fail_after(LIMIT):
        code, output, errors = await in_shell(folder, "token list", "", PYTHONIOENCODING="latin-1")
        assert (code, errors) == (0, "")
        assert output == "\\u6f22 (by client certificate)\n    allow = unix:/run/\\u6f22\n"
        code, output, errors = await in_shell(folder, f"check {name}.toml", "", PYTHONIOENCODING="latin-1")
        assert (code, errors) == (0, "")
        assert output.startswith("\\u6f22.toml: ok (")


def test_this_page_knows_all_commands() -> None:
    """Whoever adds one says here what becomes of its output."""
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, check=True, env=ENVIRONMENT, text=True)
    _, _, listed = done.stdout.partition("Commands:\n")
    commands = {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "}
    shown = {command.split()[0] for command in SHOWING if command[0] != "-"}
    # bench shows a table, like status; test_get and test_call have a server to ask.
    assert commands == shown | {"bench", "call", "connect", "get", "listen"}
