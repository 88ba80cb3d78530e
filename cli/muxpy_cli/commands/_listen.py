"""`muxpy listen`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

import click

from .._lifetime import run as run_trio
from .._options import ListenOptions
from .._program import attend
from .._systemd import listen_sockets
from .._tracing import tracing
from ..access import ServerTls, file_warnings
from ..config import load_listen
from ..net import Bound
from ..server import Server
from ..specs import MAX_COUNT
from ..view import Console
from ._shared import OutputParameters, output_options, over, shown_as
from ._types import AUTHORITY, BIND_RULE, CERTIFICATE, DURATION, FILE, LISTEN, RATE, TARGET_RULE, USERS

if TYPE_CHECKING:
    from pathlib import Path

    from .._lifetime import Lifetime
    from .._tracing import Trace
    from ..access import BindRule, Limits, Rules, TargetRule
    from ..specs import Address

__all__ = ["ListenParameters", "listen_command"]


class ListenParameters(OutputParameters):
    """What click passes; None and () for what was not given."""

    address: Address | None
    config: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    client_ca: Path | None
    tokens: Path | None
    targets: tuple[TargetRule, ...]
    binds: tuple[BindRule, ...]
    sessions: int | None
    streams: int | None
    forwards: int | None
    rate: int | None
    session_rate: int | None
    idle_timeout: float | None
    session_idle_timeout: float | None
    drain: float | None
    insecure: bool


@click.command("listen")
@click.argument("address", metavar="[[HOST:]PORT]", type=LISTEN, required=False)
@click.option(
    "--config", metavar="FILE", type=FILE, help="Read the options from a TOML file; options given here override it."
)
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
@click.option(
    "--max-sessions",
    "sessions",
    metavar="N",
    type=click.IntRange(1, MAX_COUNT),
    help="Sessions of a user at the same time.",
)
@click.option(
    "--max-streams",
    "streams",
    metavar="N",
    type=click.IntRange(1, MAX_COUNT),
    help="Connections of a user at the same time.",
)
@click.option(
    "--max-forwards",
    "forwards",
    metavar="N",
    type=click.IntRange(0, MAX_COUNT),
    help="Ports of a user at the same time (-R).",
)
@click.option("--rate", metavar="RATE", type=RATE, help="Bytes a second for a user, such as 10MiB.")
@click.option("--session-rate", metavar="RATE", type=RATE, help="Bytes a second for a session.")
@click.option(
    "--idle-timeout", metavar="TIME", type=DURATION, help="Reset connections that carry nothing for this long."
)
@click.option(
    "--session-idle-timeout", metavar="TIME", type=DURATION, help="End sessions that have no connections for this long."
)
@click.option(
    "--drain", metavar="TIME", type=DURATION, help="Time for open connections to finish at shutdown.  [default: 5s]"
)
@click.option("--insecure", is_flag=True, help="Accept other machines without TLS, or without authentication.")
@output_options
def listen_command(**given: Unpack[ListenParameters]) -> int:
    """Accept sessions from `muxpy connect`.

    HOST is 127.0.0.1 if not given, * for all addresses; an IPv6 address goes in brackets. Port 0 takes a free port
    and prints it. Where other machines can connect, TLS and authentication are required: tokens (--tokens) or client
    certificates (--client-ca).

    Anyone who connects may reach only loopback addresses of this machine (-L, -D), and bind ports only on them (-R),
    unless --allow and --allow-bind, or the user's own rules, say otherwise. Names are resolved here, at each
    connection, and the rules are about the resulting address.

    \b
    Examples:
      muxpy listen 4242
      muxpy keygen /etc/muxpy && muxpy token new alice --file /etc/muxpy/tokens.toml
      muxpy listen '*:4242' --tls-cert /etc/muxpy/cert.pem --tls-key /etc/muxpy/key.pem \\
          --tokens /etc/muxpy/tokens.toml
      muxpy listen --config /etc/muxpy/listen.toml

    Ctrl-C or SIGTERM lets open connections finish; a second one ends immediately. SIGHUP reads the configuration, the
    users and the certificates again.
    """
    options = _options(given)
    console = Console(options.output)
    console.log_to_lines()
    with tracing(options.output, console) as trace, console.in_background():
        return run_trio(partial(_listen, options, given, console, trace))


def _options(given: ListenParameters) -> ListenOptions:
    """The options of the file, with those of the command line over them. Raises Failure if the file cannot be used."""
    if given["config"] is not None:
        base = load_listen(given["config"])
    elif given["address"] is not None:
        base = ListenOptions(address=given["address"])
    else:
        raise click.UsageError("where to listen? For example: muxpy listen 4242, or --config FILE")
    return replace(
        base,
        address=over(given["address"], base.address),
        tls=_tls(base.tls, given),
        insecure=given["insecure"] or base.insecure,
        tokens=over(given["tokens"], base.tokens),
        rules=_rules(base.rules, given),
        limits=_limits(base.limits, given),
        idle_timeout=over(given["idle_timeout"], base.idle_timeout),
        session_idle_timeout=over(given["session_idle_timeout"], base.session_idle_timeout),
        drain=over(given["drain"], base.drain),
        output=shown_as(base.output, given),
        source=over(given["config"], base.source),
    )


def _tls(base: ServerTls | None, given: ListenParameters) -> ServerTls | None:
    cert = over(given["tls_cert"], base.cert if base is not None else None)
    if cert is None:
        for option, value in (("--tls-key", given["tls_key"]), ("--client-ca", given["client_ca"])):
            if value is not None:
                raise click.UsageError(f"{option} needs --tls-cert")
        return None
    base = base or ServerTls(cert=cert)
    key, client_ca = over(given["tls_key"], base.key), over(given["client_ca"], base.client_ca)
    return ServerTls(cert=cert, key=key, client_ca=client_ca)


def _rules(base: Rules, given: ListenParameters) -> Rules:
    return replace(base, targets=given["targets"] or base.targets, binds=given["binds"] or base.binds)


def _limits(base: Limits, given: ListenParameters) -> Limits:
    return replace(
        base,
        sessions=over(given["sessions"], base.sessions),
        streams=over(given["streams"], base.streams),
        forwards=over(given["forwards"], base.forwards),
        rate=over(given["rate"], base.rate),
        session_rate=over(given["session_rate"], base.session_rate),
    )


async def _listen(
    options: ListenOptions,
    given: ListenParameters,
    console: Console,
    trace: Trace | None,
    lifetime: Lifetime,
) -> None:
    server = Server(options, console, trace)
    for warning in file_warnings(key=options.tls.key_file if options.tls else None, users=options.tokens):
        console.complain(warning)
    passed = listen_sockets()
    if passed:
        for one in passed:
            one.setblocking(False)
        server.listen_on(Bound(passed))

    async def reload() -> None:
        await server.reload(_options(given))

    await attend(server, options.output, console, lifetime, reload)
