"""--trace of `muxpy connect` and `muxpy listen`."""

from __future__ import annotations

import json
import signal
import stat
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy_cli.config import inspect
from tests.helpers.tasks import LIMIT

from .program import Server, echo, receive_all, run, running

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-that-nobody-may-see"


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_both_ends_note_all_their_sessions_and_never_what_they_carry(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    secret = b"nobody may see this either"
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, running("listen", "0", "--trace", str(there), "-vv") as listening:
            port = await listening.port("listening on")
            options = "--token-file", str(tmp_path / "token"), "--trace", str(here), "--sessions", "2", "-vv"
            forward = f"0:localhost:{target.port}"
            async with running("connect", f"localhost:{port}", "-L", forward, *options) as connecting:
                client = await trio.open_tcp_stream("127.0.0.1", await connecting.port("forwarding"))
                async with client:
                    await client.send_all(secret * 1_000)
                    await client.send_eof()
                    assert await receive_all(client) == secret * 1_000
                assert await connecting.end() == 0
                assert await connecting.errors() == ""
            assert await listening.end(signal.SIGINT) == 0
            assert await listening.errors() == ""
    for path, role in ((here, "client"), (there, "server")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found = events(path)
        begins = [event for event in found if event["event"] == "begin"]
        assert [event["role"] for event in begins] == [role] * 2
        assert sorted(event["session"] for event in begins) == sorted(
            event["session"] for event in found if event["event"] == "end"
        )
        assert sum(event.get("length", 0) for event in found if event.get("direction") == "received") > 26_000
        text = path.read_text() + connecting.output + listening.output
        assert TOKEN not in text
        assert secret.decode() not in text


@pytest.mark.parametrize("command", [("listen", "0"), ("connect", "localhost:1", "-L", "0:localhost:80")])
async def test_a_trace_that_cannot_be_written_is_a_mistake_before_anything_is_done(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    place = tmp_path / "nowhere" / "trace"
    notes = tmp_path / "notes"
    notes.write_text("somebody's own")
    reasons = {
        place: "no such file or directory",
        tmp_path: "is a directory",
        notes: "it exists already, and is not a trace",
    }
    for path, why in reasons.items():
        code, out, errors = await run(*command, "--trace", str(path))
        assert (code, out, errors) == (2, "", f"muxpy: cannot write the trace to {path}: {why}\n")
    assert notes.read_text() == "somebody's own"


async def test_a_full_disk_ends_the_trace_with_a_warning_and_nothing_else() -> None:
    with trio.fail_after(LIMIT):
        async with Server(echo) as target, running("listen", "0", "--trace", "/dev/full") as listening:
            port = await listening.port("listening on")
            for _ in range(2):
                forward = f"0:localhost:{target.port}"
                async with running("connect", f"localhost:{port}", "-L", forward) as connecting:
                    client = await trio.open_tcp_stream("127.0.0.1", await connecting.port("forwarding"))
                    async with client:
                        await client.send_all(b"still here")
                        await client.send_eof()
                        assert await receive_all(client) == b"still here"
                    assert await connecting.end() == 0
            assert await listening.end() == 0
            await listening.process.wait()
            assert listening.process.stdout is not None
            rest = (await receive_all(listening.process.stdout)).decode()
            assert (listening.output + rest).count("the trace ends here: no space left on device") == 1
            assert await listening.errors() == ""


@pytest.mark.parametrize(
    "text", ['[listen]\naddress = "4242"\n[listen.output]', '[connect]\nserver = "localhost:4242"\n[connect.output]']
)
def test_a_file_can_name_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "muxpy.toml"
    file.write_text(f'{text}\ntrace = "t.jsonl"\n')
    options = inspect(file).options
    assert options is not None
    assert options.output.trace == tmp_path / "t.jsonl"
    file.write_text(f"{text}\ntrace = 3\n")
    (problem,) = inspect(file).problems
    assert "it must be text in quotes" in str(problem)
    assert not (tmp_path / "t.jsonl").exists()
