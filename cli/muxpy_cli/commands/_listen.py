"""`muxpy listen`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from .._lifetime import run as run_trio
from .._options import ListenOptions, ServerTls
from .._program import attend
from .._systemd import listen_sockets
from .._tracing import tracing
from ..access import listen_warnings
from ..config import load_listen
from ..net import Bound
from ..server import Server
from ..view import Console
from ._shared import given, output_options, take_output
from ._types import AUTHORITY, BIND_RULE, CERTIFICATE, DURATION, FILE, LISTEN, RATE, TARGET_RULE, USERS

if TYPE_CHECKING:
    from pathlib import Path

    from .._lifetime import Lifetime
    from .._tracing import Trace
    from ..specs import Address

__all__ = ["listen_command"]


@click.command("listen")
@click.argument("address", metavar="[[HOST:]PORT]", type=LISTEN, required=False)
@click.option("--config", metavar="FILE", type=FILE, help="Take everything from a TOML file; options go over it.")
@click.option("--tls-cert", metavar="FILE", type=CERTIFICATE, help="Certificate chain (PEM) to show; turns TLS on.")
@click.option("--tls-key", metavar="FILE", type=CERTIFICATE, help="Its private key, if not in the same file.")
@click.option(
    "--client-ca", metavar="FILE", type=AUTHORITY, help="Clients must show a certificate of these CAs (mTLS)."
)
@click.option("--tokens", metavar="FILE", type=USERS, help="Users and the hashes of their tokens: see muxpy token.")
@click.option(
    "--allow",
    "targets",
    metavar="RULE",
    type=TARGET_RULE,
    multiple=True,
    help="What -L and -D may reach: HOST:PORT with wildcards or CIDR. Replaces the default, loopback.",
)
@click.option(
    "--allow-bind",
    "binds",
    metavar="RULE",
    type=BIND_RULE,
    multiple=True,
    help="What -R may bind. Replaces the default, loopback.",
)
@click.option("--max-sessions", "sessions", metavar="N", type=click.IntRange(1), help="Of a user at once.")
@click.option("--max-streams", "streams", metavar="N", type=click.IntRange(1), help="Connections of a user at once.")
@click.option("--max-forwards", "forwards", metavar="N", type=click.IntRange(0), help="Ports of a user at once (-R).")
@click.option("--rate", metavar="RATE", type=RATE, help="Bytes a second of a user, such as 10MiB.")
@click.option("--session-rate", metavar="RATE", type=RATE, help="Bytes a second of a session.")
@click.option("--idle-timeout", metavar="TIME", type=DURATION, help="Reset connections that carry nothing for so long.")
@click.option(
    "--session-idle-timeout", metavar="TIME", type=DURATION, help="End sessions without connections after so long."
)
@click.option("--drain", metavar="TIME", type=DURATION, help="What open connections get at the end.  [default: 5s]")
@click.option("--insecure", is_flag=True, help="Let other machines in without TLS, or without saying who they are.")
@output_options
@click.option("--statistics-json", "statistics", type=click.Path(), hidden=True)
def listen_command(**parameters: Any) -> int:  # noqa: ANN401 - as click passes them
    """Accept sessions from `muxpy connect`.

    HOST is 127.0.0.1 if not given, * for all addresses; an IPv6 address goes in brackets. Port 0 takes a free port
    and prints it. Where other machines can connect, TLS is required, and a way to know who comes: tokens (--tokens) or
    client certificates (--client-ca).

    Who connects may reach loopback addresses of this machine only (-L, -D), and bind ports on them only (-R), unless
    --allow and --allow-bind, or the user's own rules, say otherwise. A name is resolved here, and what counts is the
    address, at each connection.

    \b
    Examples:
      muxpy listen 4242
      muxpy keygen /etc/muxpy && muxpy token new alice --file /etc/muxpy/tokens.toml
      muxpy listen '*:4242' --tls-cert /etc/muxpy/cert.pem --tls-key /etc/muxpy/key.pem \\
          --tokens /etc/muxpy/tokens.toml
      muxpy listen --config /etc/muxpy/listen.toml

    Ctrl-C or SIGTERM lets open connections finish; a second one ends at once. SIGHUP reads the configuration, the users
    and the certificates again.
    """
    options = _options(dict(parameters))
    console = Console(options.output)
    console.log_to_lines()
    with tracing(options.output, console) as trace, console.in_background():
        return run_trio(partial(_listen, options, parameters, console, trace))


def _options(parameters: dict[str, Any]) -> ListenOptions:
    """What the file says, and the command line over it. Raises Failure if the file cannot be used."""
    path: Path | None = parameters.pop("config")
    address: Address | None = parameters.pop("address")
    if path is not None:
        base = load_listen(path)
    elif address is not None:
        base = ListenOptions(address=address)
    else:
        raise click.UsageError("where to listen? For example: muxpy listen 4242, or --config FILE")
    grants = given(targets=parameters.pop("targets"), binds=parameters.pop("binds"))
    names = "sessions", "streams", "forwards", "rate", "session_rate"
    limits = {name: value for name in names if (value := parameters.pop(name)) is not None}
    values = {
        "tls": _tls(base.tls, parameters),
        "output": take_output(base.output, parameters),
        "grants": replace(base.grants, **grants) if grants else base.grants,
        "limits": replace(base.limits, **limits) if limits else base.limits,
        **given(address=address, source=path),
        **given(**parameters),
    }
    return replace(base, **values)


def _tls(base: ServerTls | None, parameters: dict[str, Any]) -> ServerTls | None:
    values = given(
        cert=parameters.pop("tls_cert"), key=parameters.pop("tls_key"), client_ca=parameters.pop("client_ca")
    )
    if not values:
        return base
    if base is None and "cert" not in values:
        raise click.UsageError(f"{'--tls-key' if 'key' in values else '--client-ca'} needs --tls-cert")
    return replace(base, **values) if base is not None else ServerTls(**values)


async def _listen(
    options: ListenOptions,
    parameters: dict[str, Any],
    console: Console,
    trace: Trace | None,
    lifetime: Lifetime,
) -> None:
    server = Server(options, console, trace)
    for warning in listen_warnings(options):
        console.complain(warning)
    passed = listen_sockets()
    if passed:
        for one in passed:
            one.setblocking(False)
        server.take(Bound(passed))
    await attend(server, options.output, console, lifetime, lambda: _options(dict(parameters)))
