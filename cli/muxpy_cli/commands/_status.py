"""`muxpy status`: the state of running processes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from .._errors import Failure
from ..view import Answer, Console, ask, ask_all, control_sockets, fail, format_duration, status_tables

if TYPE_CHECKING:
    from ..view import Snapshot

__all__ = ["status_command"]

NOBODY = "no muxpy is running here (for this user)"


def _complete_pid(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    return [path.stem for path in control_sockets() if path.stem.startswith(incomplete)]


@click.command("status")
@click.argument("process", metavar="[PID|PATH]", required=False, shell_complete=_complete_pid)
@click.option("--all", "everything", is_flag=True, help="All of this user's processes.")
@click.option("--json", "as_json", is_flag=True, help="JSON, for programs; with --all a list.")
def status_command(process: str | None, everything: bool, as_json: bool) -> int:
    """Show the sessions and forwards of a running `muxpy listen` or `muxpy connect`.

    PID is its process id, PATH its control socket if that is elsewhere (--control). Without either, it is this user's
    running process; if there are several, they are listed.

    \b
    Examples:
      muxpy status
      muxpy status 4711 --json
      muxpy status /run/muxpy/office.sock

    Exit code 1 if nothing runs, or a process does not answer within 5 seconds.
    """
    if process is not None and everything:
        raise click.UsageError("--all means every process: leave out either it or the argument")
    try:
        if process is not None:
            _show([trio.run(ask, _path(process))], as_json, as_list=False)
            return 0
        return _show_found(trio.run(ask_all), everything, as_json)
    except Failure as failure:
        fail(str(failure))
        return failure.exit_code


def _path(process: str) -> Path:
    """The control socket of that process."""
    if not process.isdecimal():
        return Path(process)
    for path in control_sockets():
        if int(path.stem) == int(process):
            return path
    raise Failure(f"no muxpy is running here (for this user) with the process id {process}")


def _show_found(answers: list[Answer], everything: bool, as_json: bool) -> int:
    if not answers:
        raise Failure(NOBODY)
    if len(answers) > 1 and not everything:
        if as_json:
            raise Failure("several muxpy are running: give a process id or --all")
        _list(answers)
        return 0
    for answer in answers:
        if answer.problem:
            fail(answer.problem)
    _show([answer.snapshot for answer in answers if answer.snapshot], as_json, as_list=everything)
    return 0 if all(answer.snapshot for answer in answers) else 1


def _list(answers: list[Answer]) -> None:
    console = Console()
    console.line(f"{len(answers)} muxpy are running; to see one of them:")
    for answer in answers:
        console.line(f"  muxpy status {answer.path.stem:<9} {_summary(answer)}")
    console.check_shown()


def _summary(answer: Answer) -> str:
    if answer.snapshot is None:
        return "(does not answer)"
    snapshot = answer.snapshot
    up = format_duration(snapshot.at - snapshot.started)
    return f"{snapshot.role} {snapshot.address}, up {up}"


def _show(snapshots: list[Snapshot], as_json: bool, *, as_list: bool) -> None:
    if as_json:
        documents = [asdict(snapshot) for snapshot in snapshots]
        click.echo(json.dumps(documents if as_list else documents[0], indent=2))
        return
    console = Console()
    for index, snapshot in enumerate(snapshots):
        if index:
            console.line("")
        console.show(status_tables(snapshot))
    console.check_shown()
