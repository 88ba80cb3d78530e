"""`muxpy connect`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .._lifetime import run as run_trio
from .._options import ConnectOptions
from .._program import attend
from .._tracing import tracing
from ..access import connect_warnings
from ..client import Client, Credentials, carry_stdio
from ..config import load_connect
from ..specs import Kind
from ..view import Console
from ._habits import extra_advice
from ._shared import client_tls, connection_options, given, output_options, take_output
from ._types import ADDRESS, DURATION, DYNAMIC, FILE, HTTP_PROXY, LOCAL, REMOTE, STDIO

if TYPE_CHECKING:
    from pathlib import Path

    from .._lifetime import Lifetime
    from .._tracing import Trace
    from ..specs import Address, Forward

__all__ = ["connect_command"]


@click.command("connect", context_settings={"allow_extra_args": True})
@click.argument("address", metavar="[HOST:PORT]", type=ADDRESS, required=False)
@click.option("-L", "local", metavar="SPEC", type=LOCAL, multiple=True, help="Forward a port of this end.")
@click.option("-R", "remote", metavar="SPEC", type=REMOTE, multiple=True, help="Forward a port of the other end.")
@click.option("-D", "dynamic", metavar="[BIND:]PORT", type=DYNAMIC, multiple=True, help="A SOCKS proxy at this end.")
@click.option(
    "--http-proxy", metavar="[BIND:]PORT", type=HTTP_PROXY, multiple=True, help="An HTTP proxy (CONNECT) at this end."
)
@click.option(
    "-W", "stdio", metavar="HOST:PORT", type=STDIO, help="Carry standard input and output to this target instead."
)
@click.option("--config", metavar="FILE", type=FILE, help="Take everything from a TOML file; options go over it.")
@connection_options
@click.option(
    "--proxy-protocol",
    metavar="1|2",
    type=click.IntRange(1, 2),
    help="Tell targets who the client is, with a PROXY header of this version.",
)
@click.option("--sessions", metavar="N", type=click.IntRange(1, 64), help="Parallel sessions.  [default: 1]")
@click.option(
    "--max-retries", metavar="N", type=click.IntRange(0), help="Attempts that may fail in a row.  [default: any number]"
)
@click.option(
    "--connect-wait", metavar="TIME", type=DURATION, help="How long connections wait for a session.  [default: 5s]"
)
@click.option("--drain", metavar="TIME", type=DURATION, help="What open connections get at the end.  [default: 5s]")
@output_options
@click.option("--statistics-json", "statistics", type=click.Path(), hidden=True)
def connect_command(**parameters: Any) -> int:  # noqa: ANN401 - as click passes them
    """Connect to a `muxpy listen` and forward ports over that one connection.

    A SPEC is [bind:]port:host:hostport, as with OpenSSH: connections to port on bind lead to hostport on host. With
    -L the port is bound here, and host is what the other end makes of that name; with -R the other way round. bind is
    127.0.0.1 if not given, * for all addresses; IPv6 addresses go in brackets. Port 0 takes a free port and prints
    it. /udp behind it forwards datagrams. A path instead of bind:port or host:hostport is a Unix socket. -R with a port
    alone is a SOCKS proxy at the other end. Give any number of each.

    If the connection is lost it is made again, for ever unless --max-retries says otherwise; what is bound here stays
    bound meanwhile.

    \b
    Examples:
      muxpy connect localhost:4242 -L 8080:localhost:80 -L 5432:localhost:5432
      muxpy connect localhost:4242 -R 9000:localhost:3000
      muxpy connect localhost:4242 -L 5353:1.1.1.1:53/udp -L /tmp/db.sock:localhost:5432
      muxpy connect example.org:4242 --fingerprint sha256:... -D 1080
      ssh -o ProxyCommand='muxpy connect example.org:4242 --tls -W %h:%p' private.example

    Ctrl-C or SIGTERM lets open connections finish; a second one ends at once. SIGHUP reads the configuration again.
    With -W any of them ends it at once, and the exit code is 0 only if the connection came to its end both ways.
    """
    if extra := click.get_current_context().args:
        raise click.UsageError(extra_advice(extra[0]))
    options = _options(dict(parameters))
    if options.stdio is not None:
        console = Console(options.output, to_stderr=True)
        console.log_to_lines()
        with tracing(options.output, console) as trace:
            return run_trio(partial(_carry_stdio, options, _credentials(options, console), console, trace), cuts=True)
    console = Console(options.output)
    console.log_to_lines()
    with tracing(options.output, console) as trace:
        credentials = _credentials(options, console)
        with console.in_background():
            return run_trio(partial(_connect, options, credentials, parameters, console, trace))


def _options(parameters: dict[str, Any]) -> ConnectOptions:
    """What the file says, and the command line over it. Raises Failure if the file cannot be used."""
    path: Path | None = parameters.pop("config")
    address: Address | None = parameters.pop("address")
    if path is not None:
        base = load_connect(path)
    elif address is not None:
        base = ConnectOptions(address=address)
    else:
        raise click.UsageError("connect to what? For example: muxpy connect example.org:4242 -L 8080:localhost:80")
    forwards = _forwards(parameters)
    values = {
        "tls": client_tls(base.tls, parameters),
        "output": take_output(base.output, parameters),
        "forwards": base.forwards + forwards,
        **given(address=address, source=path),
        **given(**parameters),
    }
    options = replace(base, **values)
    _check(options)
    return options


def _forwards(parameters: dict[str, Any]) -> tuple[Forward, ...]:
    version = parameters.pop("proxy_protocol") or 0
    found = [forward for name in ("local", "remote", "dynamic", "http_proxy") for forward in parameters.pop(name)]
    if version and not any(forward.kind is Kind.TCP and forward.target is not None for forward in found):
        raise click.UsageError("--proxy-protocol is for -L and -R with a target that speaks TCP")
    return tuple(
        replace(forward, proxy_protocol=version) if forward.kind is Kind.TCP and forward.target is not None else forward
        for forward in found
    )


def _check(options: ConnectOptions) -> None:
    if options.stdio is not None and options.forwards:
        raise click.UsageError("-W takes standard input and output for one connection: no forwards beside it")
    if options.stdio is None and not options.forwards:
        place = f", or [forwards] in {options.source}" if options.source is not None else ""
        raise click.UsageError(
            f"nothing to forward: give -L, -R, -D, --http-proxy or -W, for example -L 8080:localhost:80{place}"
        )
    seen: set[str] = set()
    for forward in options.forwards:
        place = f"{forward.direction} {forward.kind is Kind.UDP} {forward.bind}"
        if place in seen and not place.endswith(":0"):
            raise click.UsageError(f"{forward.bind} is given twice")
        seen.add(place)
    if len(set(options.forwards)) != len(options.forwards):
        raise click.UsageError("a forward is given twice")


def _credentials(options: ConnectOptions, console: Console) -> Credentials:
    """Read before anything runs: it may take somebody who types."""
    for warning in connect_warnings(options):
        console.complain(warning)
    return Credentials(options)


async def _carry_stdio(
    options: ConnectOptions, credentials: Credentials, console: Console, trace: Trace | None, _: Lifetime
) -> None:
    await carry_stdio(options, credentials, trace, partial(console.event, event="connecting"))


async def _connect(
    options: ConnectOptions,
    credentials: Credentials,
    parameters: dict[str, Any],
    console: Console,
    trace: Trace | None,
    lifetime: Lifetime,
) -> None:
    client = Client(options, credentials, console, trace)
    await attend(client, options.output, console, lifetime, lambda: _options(dict(parameters)))
