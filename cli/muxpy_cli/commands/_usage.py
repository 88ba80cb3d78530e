"""Mistakes in the command line, as one line that says what to write."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from ._habits import command_advice, option_advice

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Group", "usage_line"]

_ALIKE: Final = 0.75
"""Of difflib: --max-retry is like --max-retries, --port is not like --rate."""


class Group(click.Group):
    """A group that has a word for commands which it has not."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, which says of an unknown command only that it is one."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            advice = command_advice(name) or _alike(name, known) or f"there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {name}: {advice}", ctx)
        return super().resolve_command(ctx, args)


def usage_line(error: click.ClickException) -> str:
    """What is wrong, what to write instead, and where all of it can be read."""
    if not isinstance(error, click.UsageError):
        return " ".join(error.format_message().split())
    line = " ".join(_problem(error).split())
    if "--help" in line:
        return line
    return f"{line}; see `{error.ctx.command_path if error.ctx else 'muxpy'} --help`"


def _problem(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        name, command = error.option_name, error.ctx.command.name if error.ctx else None
        advice = option_advice(command, name) or _alike(name, error.possibilities or ())
        return f"there is no option {name}" + (f": {advice}" if advice else "")
    if isinstance(error, click.MissingParameter) and error.param is not None:
        example = _example(error.ctx)
        return f"{error.param.human_readable_name} is missing" + (f"; for example `{example}`" if example else "")
    message = error.format_message().removesuffix(".")
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _alike(name: str, known: Iterable[str]) -> str | None:
    found = get_close_matches(name, known, n=1, cutoff=_ALIKE)
    return f"did you mean {found[0]}?" if found else None


def _example(context: click.Context | None) -> str | None:
    """The first one in the command's help."""
    if context is None:
        return None
    lines = (line.strip() for line in (context.command.help or "").splitlines())
    return next((line for line in lines if line.startswith(f"{context.command_path} ")), None)
