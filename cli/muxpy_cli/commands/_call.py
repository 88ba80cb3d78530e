"""`muxpy call`: a method of a service."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack

import click
import trio
from click.shell_completion import CompletionItem

from .._errors import Failure, describe
from .._lifetime import run as run_trio
from .._options import ConnectOptions
from ._shared import TransportParameters, tls_options, transport_options
from ._types import ADDRESS, DURATION

if TYPE_CHECKING:
    from .._lifetime import Lifetime
    from ..specs import Address

__all__ = ["call_command"]

COMPLETING: Final = 1.0
"""Seconds that somebody who has pressed the tab key waits for nothing."""


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Services and methods, as the other end names them; none if it does not, for whatever reason."""
    logging.disable()
    given: Any = context.params  # options behind the cursor are not among them
    try:
        from ..call import Target, names

        metadata = dict(map(_pair, given["metadata"]))
        options = _options(given["address"], given)
        found = trio.run(names, Target(options=options, seconds=COMPLETING, metadata=metadata, silent=True))
    except Exception:
        return []
    return [CompletionItem(name, help=doc or None) for name, doc in found if name.startswith(incomplete)]


@click.command("call")
@click.argument("address", metavar="HOST:PORT", type=ADDRESS)
@click.argument("method", metavar="[SERVICE[.METHOD]]", required=False, shell_complete=_complete)
@click.argument("arguments", metavar="[JSON|-]", required=False)
@click.option("--items", is_flag=True, help="Standard input has what the method takes one by one, as lines of JSON.")
@click.option("--timeout", metavar="TIME", type=DURATION, help="Give up after so long, and tell the other end.")
@click.option(
    "--metadata",
    metavar="NAME=VALUE",
    multiple=True,
    help="What to say beside the arguments; repeatable. @FILE as the value reads it from there.",
)
@transport_options
def call_command(
    address: Address,
    method: str | None,
    arguments: str | None,
    items: bool,
    timeout: float | None,
    metadata: tuple[str, ...],
    **given: Unpack[TransportParameters],
) -> int:
    """Call a method of a service.

    At HOST:PORT is a program that serves calls with muxpy.rpc. JSON is an object with the arguments by name, or an
    array with all of them in order; - reads it from standard input. Results are JSON on standard output, one line for
    each. Without a method, it lists those that there are; with a service alone, how its methods are called. The other
    end tells that if it serves reflection.

    \b
    Examples:
      muxpy call localhost:4000
      muxpy call localhost:4000 Calculator
      muxpy call localhost:4000 Calculator.add '{"a": 1, "b": 2}'
      seq 10 | muxpy call localhost:4000 Calculator.total --items
      muxpy call example.org:4000 Clock.now --tls --timeout 5s --metadata token=@file

    Exit codes: 0 the call has returned, 1 it has failed, 2 a mistake in the command line or in the arguments, 3 not
    allowed or not trusted, 130 or 143 after Ctrl-C or SIGTERM, which cancel the call.
    """
    from ..call import Target, call, check_arguments, show

    target = Target(options=_options(address, given), seconds=timeout, metadata=dict(map(_pair, metadata)))
    if method is not None and "." in method:
        if arguments == "-" and items:
            raise click.UsageError("standard input has either the arguments (-) or the items (--items)")
        checked = None if arguments == "-" else check_arguments("{}" if arguments is None else arguments)
        work = partial(call, target, method, checked, items=items)
    elif arguments is None and not items:
        work = partial(show, target, method)
    else:
        raise click.UsageError(f"what is called is SERVICE.METHOD; `muxpy call {address}` lists what there is")

    async def main(_: Lifetime) -> None:
        await work()

    return run_trio(main, cuts=True)


def _options(address: Address, given: TransportParameters) -> ConnectOptions:
    return ConnectOptions(address=address, tls=tls_options(None, given), insecure=given["insecure"])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--metadata is NAME=VALUE or NAME=@FILE, not {text!r}")
    if not value.startswith("@"):
        return name, value
    try:
        return name, Path(value[1:]).read_text().removesuffix("\n")
    except UnicodeError:
        raise Failure(f"cannot read {value[1:]}: it is no text in UTF-8", 2) from None
    except OSError as error:
        raise Failure(f"cannot read {value[1:]}: {describe(error)}", 2) from error
