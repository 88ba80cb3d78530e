"""Options that several commands share, and how they override a configuration file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypedDict, TypeVar

import click

from ..access import ClientTls
from ._types import AUTHORITY, CERTIFICATE, FINGERPRINT, LISTEN, NAME, PATH, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .._options import Output
    from ..specs import Address

    _Command: TypeAlias = Callable[..., int]

__all__ = [
    "ConnectionParameters",
    "OutputParameters",
    "TransportParameters",
    "connection_options",
    "output_options",
    "over",
    "shown_as",
    "tls_options",
    "transport_options",
]

_T = TypeVar("_T")


def _together(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_TLS: Final = (
    click.option("--tls", is_flag=True, help="Use TLS, and check the certificate with the system's CAs."),
    click.option("--tls-ca", metavar="FILE", type=AUTHORITY, help="Trust these CAs (PEM) instead of the system's."),
    click.option("--tls-name", metavar="NAME", type=NAME, help="The name that the certificate must have, if not HOST."),
    click.option(
        "--fingerprint", metavar="sha256:...", type=FINGERPRINT, help="Trust the one certificate with this fingerprint."
    ),
    click.option(
        "--tls-cert",
        metavar="FILE",
        type=CERTIFICATE,
        help="A client certificate, if the other end requires one (--client-ca).",
    ),
    click.option("--tls-key", metavar="FILE", type=CERTIFICATE, help="Its private key, if not in the same file."),
)
_TOKENS: Final = (
    click.option(
        "--token-file", metavar="FILE", type=TOKEN, help="The file with the token, if it is not in MUXPY_TOKEN."
    ),
    click.option("--ask-token", is_flag=True, help="Ask for the token on the terminal."),
)
_INSECURE: Final = click.option("--insecure", is_flag=True, help="Connect without TLS, even to another machine.")

transport_options = _together(*_TLS, _INSECURE)
"""How to reach what listens somewhere."""
connection_options = _together(*_TLS, *_TOKENS, _INSECURE)
"""How to reach a listening end of this program, and with which credentials."""


class TransportParameters(TypedDict):
    """What click passes for `transport_options`."""

    tls: bool
    tls_ca: Path | None
    tls_name: str | None
    fingerprint: bytes | None
    tls_cert: Path | None
    tls_key: Path | None
    insecure: bool


class ConnectionParameters(TransportParameters):
    """What click passes for `connection_options`."""

    token_file: Path | None
    ask_token: bool


output_options = _together(
    click.option(
        "--log-format",
        type=click.Choice(["auto", "text", "json"]),
        help="auto: a live display on a terminal, lines elsewhere.  [default: auto]",
    ),
    click.option("-v", "--verbose", count=True, help="Also show each connection; -vv: also the library's log."),
    click.option("-q", "--quiet", is_flag=True, help="Show problems only."),
    click.option(
        "--metrics",
        metavar="[HOST:]PORT",
        type=LISTEN,
        help="Serve /metrics for Prometheus, /healthz and /readyz there.",
    ),
    click.option("--control", metavar="PATH", type=PATH, help="The control socket that `muxpy status` asks."),
    click.option("--trace", metavar="FILE", type=PATH, help="Record each frame, without its payload: see muxpy trace."),
)
"""What is shown, and where."""


class OutputParameters(TypedDict):
    """What click passes for `output_options`."""

    log_format: str | None
    verbose: int
    quiet: bool
    metrics: Address | None
    control: Path | None
    trace: Path | None


def over(given: _T | None, base: _T) -> _T:
    """The value of the command line, or if it has none, that of the configuration file or the default."""
    return base if given is None else given


def tls_options(base: ClientTls | None, given: TransportParameters) -> ClientTls | None:
    """The TLS options over those of a file. Raises UsageError if they contradict each other."""
    names = given["tls_ca"] is not None or given["tls_name"] is not None
    wanted = given["tls"] or names or any(given[key] is not None for key in ("fingerprint", "tls_cert", "tls_key"))
    if given["tls_key"] is not None and given["tls_cert"] is None and not (base and base.cert):
        raise click.UsageError("--tls-key needs --tls-cert")
    if given["fingerprint"] is not None and names:
        raise click.UsageError(
            "--fingerprint trusts one certificate whatever it says: leave --tls-ca and --tls-name out"
        )
    if given["insecure"] and wanted:
        raise click.UsageError("--insecure means without TLS: leave it or the TLS options out")
    if not wanted:
        return base
    base = base or ClientTls()
    return replace(
        base,
        ca=over(given["tls_ca"], base.ca),
        name=over(given["tls_name"], base.name),
        fingerprint=over(given["fingerprint"], base.fingerprint),
        cert=over(given["tls_cert"], base.cert),
        key=over(given["tls_key"], base.key),
    )


def shown_as(base: Output, given: OutputParameters) -> Output:
    """The `output_options` over those of a file. Raises UsageError if they contradict each other."""
    if given["verbose"] and given["quiet"]:
        raise click.UsageError("-v and -q contradict each other")
    return replace(
        base,
        format=over(given["log_format"], base.format),
        verbosity=-1 if given["quiet"] else given["verbose"] or base.verbosity,
        metrics=over(given["metrics"], base.metrics),
        control=over(given["control"], base.control),
        trace=over(given["trace"], base.trace),
    )
