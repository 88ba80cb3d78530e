"""`muxpy completion`: a script for the shell."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, add_completion_class, get_completion_class

__all__ = ["completion_command"]

PROGRAM = "muxpy"
VARIABLE = "_MUXPY_COMPLETE"
"""The variable by which the script asks for completions; click derives the same name from the program's."""


BREAKS = frozenset(":=")
"""Where bash takes words apart for its completion, of what the program's words have in them."""


class _Bash(BashComplete):
    """Puts together again what bash has taken apart: HOST:PORT is three words to it."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        open_end = False
        for word in args:
            is_break = BREAKS.issuperset(word)
            if joined and (is_break or open_end):
                joined[-1] += word
            else:
                joined.append(word)
            open_end = is_break
        return joined, incomplete


add_completion_class(_Bash)


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
