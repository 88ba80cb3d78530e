"""The command line: the commands, put together."""

from __future__ import annotations

from typing import Final

import click

from ._errors import Failure
from ._identity import program_version
from .commands import COMMANDS, Group, usage_line
from .view import discard_output, fail, output_problem

__all__ = ["cli", "run"]

_NO_ARGUMENTS: Final[type[click.UsageError] | tuple[()]] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""Exists since click 8.2. Older versions show the help themselves."""


def run() -> int:
    """Run the command line; the exit code. Errors in it are one line, exit code 2."""
    try:
        code = cli.main(prog_name="muxpy", standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, _NO_ARGUMENTS):
            error.show()
        else:
            fail(usage_line(error))
        return error.exit_code
    except Failure as failure:
        fail(str(failure))
        return failure.exit_code
    except click.Abort:
        return 130
    except OSError as error:  # while writing the output: commands turn any other into a Failure
        discard_output()
        fail(f"cannot write the output: {output_problem(error)}")
        return 1
    return code if isinstance(code, int) else 0


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(program_version(), message="muxpy %(version)s")
def cli() -> None:
    """Forward ports over one connection.

    One end listens, the other connects to it; forwards go in both directions over that one socket.

    \b
    Examples:
      muxpy listen 4242
          Accept sessions on 127.0.0.1:4242.
      muxpy connect localhost:4242 -L 8080:localhost:80
          Port 8080 here leads to port 80 as the listening end sees it.
      muxpy connect localhost:4242 -R 9000:localhost:3000
          Port 9000 at the listening end leads to port 3000 here.
      muxpy connect localhost:4242 -D 1080
          A SOCKS proxy here that reaches what the listening end allows.
      muxpy demo
          See it work: real traffic through a forwarded port, every byte checked.

    Exit codes: 0 ended in order (Ctrl-C or SIGTERM), 1 something failed, 2 a mistake in the command line or the
    configuration, 3 not allowed or not trusted, 130 or 143 after a second signal (-W, demo, bench, get, call:
    after the first).
    """


for _command in COMMANDS:
    cli.add_command(_command)
