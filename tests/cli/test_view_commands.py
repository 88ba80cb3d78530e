"""`muxpy status` and `muxpy completion`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

import click
import pytest
import trio

from muxpy_cli.commands._completion import completion_command
from muxpy_cli.commands._status import status_command
from muxpy_cli.view import serve_control
from tests.helpers.tasks import LIMIT

from .program import ENVIRONMENT
from .view_helpers import filled_queue, own_places, snapshot, taking

if TYPE_CHECKING:
    from pathlib import Path


FIRST = snapshot()
SECOND = replace(FIRST, pid=4712, role="connect", address="example.org:4242", started=FIRST.at - 65)


class Status:
    """`muxpy status`, which sees the sockets in `directory` only."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700)
        self._capsys = capsys

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""

        def run() -> int:
            code = status_command.main(list(arguments), prog_name="muxpy", standalone_mode=False)
            assert isinstance(code, int)
            return code

        return (await trio.to_thread.run_sync(run), *self._capsys.readouterr())

    async def serve(self, nursery: trio.Nursery) -> None:
        """Two processes, as far as it can see."""
        for state in (FIRST, SECOND):
            path = self.directory / f"{state.pid}.sock"
            await nursery.start(partial(serve_control, path, taking(partial(replace, state))))


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Status:
    return Status(own_places(tmp_path, monkeypatch)[0], capsys)


async def test_nothing_runs(status: Status) -> None:
    nobody = "muxpy: no muxpy is running here (for this user)\n"
    assert await status() == (1, "", nobody)
    assert await status("--json", "--all") == (1, "", nobody)
    assert await status("99") == (1, "", f"{nobody[:-1]} with the process id 99\n")
    code, output, errors = await status(str(status.directory / "x"))
    assert (code, output) == (1, "")
    assert "no muxpy process listens on" in errors


async def test_the_one_process_is_shown(status: Status) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_control, None, taking(lambda: FIRST)))
        code, output, errors = await status()
        assert (code, errors) == (0, "")
        assert "muxpy listen 127.0.0.1:4242  ready" in output
        assert "127.0.0.1:8000 -> db.example:5000" in output
        assert (await status(str(os.getpid())))[:2] == (0, output)
        assert (await status(str(status.directory / f"{os.getpid()}.sock")))[:2] == (0, output)
        assert json.loads((await status("--json"))[1]) == json.loads(json.dumps(asdict(FIRST)))
        [listed] = json.loads((await status("--json", "--all"))[1])
        assert listed["pid"] == 4711
        nursery.cancel_scope.cancel()


async def test_several_processes_are_listed(status: Status) -> None:
    async with trio.open_nursery() as nursery:
        await status.serve(nursery)
        code, output, _ = await status()
        assert code == 0
        assert [" ".join(line.split()) for line in output.splitlines()[1:]] == [
            "muxpy status 4711 listen 127.0.0.1:4242, up 2h01m",
            "muxpy status 4712 connect example.org:4242, up 1m05s",
        ]
        assert "muxpy connect example.org:4242" in (await status("4712"))[1]
        everything = (await status("--all"))[1]
        assert everything.index("muxpy listen 127.0.0.1:4242") < everything.index("muxpy connect example.org:4242")
        assert [state["pid"] for state in json.loads((await status("--all", "--json"))[1])] == [4711, 4712]
        code, output, errors = await status("--json")
        assert (code, output) == (1, "")
        assert "several muxpy are running" in errors
        nursery.cancel_scope.cancel()


async def test_one_that_does_not_answer_is_named(status: Status) -> None:
    async with trio.open_nursery() as nursery:
        await status.serve(nursery)
        with socket.socket(socket.AF_UNIX) as stopped:
            stopped.bind(os.fspath(status.directory / "7.sock"))
            stopped.listen(0)
            with filled_queue(status.directory / "7.sock"):  # which shows without a wait
                assert "7 (does not answer)" in " ".join((await status())[1].split())
                code, output, errors = await status("--all")
                assert code == 1
                assert output.count("total:") == 2
                assert errors == "muxpy: process 7 does not answer: it may be stopped, or too busy\n"
                assert (await status("7"))[0] == 1
        nursery.cancel_scope.cancel()


async def test_all_and_one_contradict_each_other(status: Status) -> None:
    with pytest.raises(click.UsageError, match="--all means every process"):
        await status("--all", "4711")


_PROGRAM = """
import sys, click
from muxpy_cli.commands._completion import completion_command
from muxpy_cli.commands._status import status_command
cli = click.Group(commands=[status_command, completion_command])
sys.exit(cli.main(prog_name="muxpy", standalone_mode=False))
"""
_BASH = """
set -eu
eval "$(muxpy completion bash)"
complete -p muxpy
for words in "muxpy st" "muxpy status --j" "muxpy completion "; do
    COMP_WORDS=(${words}); [[ $words == *" " ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _muxpy_completion muxpy
    echo "${COMPREPLY[@]}"
done
"""


def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    program = tmp_path / "muxpy"
    program.write_text(f"#!{sys.executable}\n{_PROGRAM}")
    program.chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", _BASH], env=environment, capture_output=True, text=True, check=True, timeout=LIMIT
    )
    registered, *completed = done.stdout.splitlines()
    assert "_muxpy_completion" in registered
    assert completed == ["status", "--json", "bash zsh fish"]


@pytest.mark.parametrize(
    ("shell", "part"), [("zsh", "#compdef muxpy"), ("fish", "complete --no-files --command muxpy")]
)
def test_other_shells_get_their_script(shell: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    completion_command.main([shell], prog_name="muxpy", standalone_mode=False)
    script = capsys.readouterr().out
    assert part in script
    assert f"_MUXPY_COMPLETE={shell}_complete" in script


def test_another_shell_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.BadParameter, match="'bash', 'zsh', 'fish'"):
        completion_command.main(["tcsh"], prog_name="muxpy", standalone_mode=False)
