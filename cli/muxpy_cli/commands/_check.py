"""`muxpy check`: whether a configuration file can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..config import inspect

if TYPE_CHECKING:
    from .._options import ConnectOptions, ListenOptions

__all__ = ["check_command"]


@click.command("check")
@click.argument("file", metavar="FILE", type=click.Path())
def check_command(file: str) -> int:
    """Check a configuration file, for muxpy listen or muxpy connect, without starting anything.

    Prints one line for each problem on standard error, as FILE:LINE:COLUMN: KEY: what is wrong; what is right. The
    files that it names are read as well: certificates, keys, tokens. No connection and no DNS lookup is made. Warnings,
    for example about a certificate that expires soon, do not make a file unusable.

    \b
    Examples:
      muxpy check muxpy.toml

    Exit codes: 0 if the file can be used, warnings or not; 2 if it cannot.
    """
    from .._options import ListenOptions

    inspection = inspect(file)
    for problem in inspection.problems:
        click.echo(str(problem), err=True)
    options = inspection.options
    if options is None:
        return 2
    summary = _listen(options) if isinstance(options, ListenOptions) else _connect(options)
    click.echo(f"{file}: ok ({summary})")
    for warning in inspection.warnings:
        place, _, message = str(warning).removeprefix(warning.file).partition(": ")
        click.echo(f"{warning.file}{place}: warning: {message}", err=True)
    return 0


def _connect(options: ConnectOptions) -> str:
    return f"connect to {options.address}, {_count(len(options.forwards), 'forward')}"


def _listen(options: ListenOptions) -> str:
    tokens = f" and those of {options.tokens}" if options.tokens else ""
    return f"listen on {options.address}, {_count(len(options.users), 'user')}{tokens}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
