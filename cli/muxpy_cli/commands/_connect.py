"""`muxpy connect`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

import click

from .._lifetime import run as run_trio
from .._options import ConnectOptions
from .._program import attend
from .._tracing import tracing
from ..access import file_warnings
from ..client import Client, Credentials, carry_stdio
from ..config import load_connect
from ..specs import MAX_COUNT, MAX_SESSIONS, Kind
from ..view import Console
from ._shared import (
    ConnectionParameters,
    OutputParameters,
    connection_options,
    output_options,
    over,
    shown_as,
    tls_options,
)
from ._types import ADDRESS, DURATION, DYNAMIC, FILE, HTTP_PROXY, LOCAL, REMOTE, STDIO
from ._usage import extra_advice

if TYPE_CHECKING:
    from pathlib import Path

    from .._lifetime import Lifetime
    from .._tracing import Trace
    from ..specs import Address, Forward

__all__ = ["ConnectParameters", "connect_command"]


class ConnectParameters(ConnectionParameters, OutputParameters):
    """What click passes; None and () for what was not given."""

    address: Address | None
    local: tuple[Forward, ...]
    remote: tuple[Forward, ...]
    dynamic: tuple[Forward, ...]
    http_proxy: tuple[Forward, ...]
    stdio: Address | None
    config: Path | None
    proxy_protocol: int | None
    sessions: int | None
    max_retries: int | None
    connect_wait: float | None
    drain: float | None


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
@click.option(
    "--config", metavar="FILE", type=FILE, help="Read the options from a TOML file; options given here override it."
)
@connection_options
@click.option(
    "--proxy-protocol",
    metavar="1|2",
    type=click.IntRange(1, 2),
    help="Tell targets the client's address, with a PROXY header of this version.",
)
@click.option("--sessions", metavar="N", type=click.IntRange(1, MAX_SESSIONS), help="Parallel sessions.  [default: 1]")
@click.option(
    "--max-retries",
    metavar="N",
    type=click.IntRange(0, MAX_COUNT),
    help="Attempts that may fail in a row.  [default: unlimited]",
)
@click.option(
    "--connect-wait", metavar="TIME", type=DURATION, help="How long a connection waits for a session.  [default: 5s]"
)
@click.option(
    "--drain", metavar="TIME", type=DURATION, help="Time for open connections to finish at shutdown.  [default: 5s]"
)
@output_options
def connect_command(**given: Unpack[ConnectParameters]) -> int:
    """Connect to a `muxpy listen` and forward ports over that one connection.

    A SPEC is [bind:]port:host:hostport, as with OpenSSH: connections to port on bind lead to hostport on host. With
    -L the port is bound here, and the other end resolves host; with -R the other way round. bind is 127.0.0.1 if not
    given, * for all addresses; IPv6 addresses go in brackets. Port 0 takes a free port and prints it. A spec that ends
    in /udp forwards datagrams. A path instead of bind:port or host:hostport is a Unix socket. -R with only a port is a
    SOCKS proxy at the other end. Each option may be given any number of times.

    A lost connection is made again, with exponential backoff and without end unless --max-retries sets one; ports that
    are bound here stay bound meanwhile.

    \b
    Examples:
      muxpy connect localhost:4242 -L 8080:localhost:80 -L 5432:localhost:5432
      muxpy connect localhost:4242 -R 9000:localhost:3000
      muxpy connect localhost:4242 -L 5353:1.1.1.1:53/udp -L /tmp/db.sock:localhost:5432
      muxpy connect example.org:4242 --fingerprint sha256:... -D 1080
      ssh -o ProxyCommand='muxpy connect example.org:4242 --tls -W %h:%p' private.example

    Ctrl-C or SIGTERM lets open connections finish; a second one ends immediately. SIGHUP reads the configuration again.
    With -W any of them ends it immediately, and the exit code is 0 only if the connection ended in order both ways.
    """
    if extra := click.get_current_context().args:
        raise click.UsageError(extra_advice(extra[0]))
    options = _options(given)
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
            return run_trio(partial(_connect, options, credentials, given, console, trace))


def _options(given: ConnectParameters) -> ConnectOptions:
    """The options of the file, with those of the command line over them. Raises Failure if the file cannot be used."""
    if given["config"] is not None:
        base = load_connect(given["config"])
    elif given["address"] is not None:
        base = ConnectOptions(address=given["address"])
    else:
        raise click.UsageError("connect to what? For example: muxpy connect example.org:4242 -L 8080:localhost:80")
    options = replace(
        base,
        address=over(given["address"], base.address),
        forwards=base.forwards + _forwards(given),
        stdio=over(given["stdio"], base.stdio),
        tls=tls_options(base.tls, given),
        insecure=given["insecure"] or base.insecure,
        token_file=over(given["token_file"], base.token_file),
        ask_token=given["ask_token"] or base.ask_token,
        sessions=over(given["sessions"], base.sessions),
        max_retries=over(given["max_retries"], base.max_retries),
        connect_wait=over(given["connect_wait"], base.connect_wait),
        drain=over(given["drain"], base.drain),
        output=shown_as(base.output, given),
        source=over(given["config"], base.source),
    )
    _check(options)
    return options


def _forwards(given: ConnectParameters) -> tuple[Forward, ...]:
    version = given["proxy_protocol"] or 0
    found = given["local"] + given["remote"] + given["dynamic"] + given["http_proxy"]
    if version and not any(map(_may_name_client, found)):
        raise click.UsageError("--proxy-protocol is for -L and -R with a target that speaks TCP")
    return tuple(
        replace(forward, proxy_protocol=version) if _may_name_client(forward) else forward for forward in found
    )


def _may_name_client(forward: Forward) -> bool:
    """Whether a PROXY header can go to its target."""
    return forward.kind is Kind.TCP and forward.target is not None


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
    """Read before anything runs: somebody may have to type a token."""
    for warning in file_warnings(key=options.tls.key_file if options.tls else None, token=options.token_file):
        console.complain(warning)
    return Credentials(options)


async def _carry_stdio(
    options: ConnectOptions, credentials: Credentials, console: Console, trace: Trace | None, _: Lifetime
) -> None:
    await carry_stdio(options, credentials, trace, partial(console.event, event="connecting"))


async def _connect(
    options: ConnectOptions,
    credentials: Credentials,
    given: ConnectParameters,
    console: Console,
    trace: Trace | None,
    lifetime: Lifetime,
) -> None:
    client = Client(options, credentials, console, trace)

    async def reload() -> None:
        await client.reload(_options(given))

    await attend(client, options.output, console, lifetime, reload)
