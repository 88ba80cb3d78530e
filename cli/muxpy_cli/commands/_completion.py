"""`muxpy completion`: a script for the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion_command"]

PROGRAM = "muxpy"
VARIABLE = "_MUXPY_COMPLETE"
"""The variable by which the script asks for completions; click derives the same name from the program's."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print a script that has the shell complete commands and options.

    \b
    To install it, add the line of your shell to its start-up file:
      ~/.bashrc                    eval "$(muxpy completion bash)"
      ~/.zshrc                     eval "$(muxpy completion zsh)"
      ~/.config/fish/config.fish   muxpy completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
