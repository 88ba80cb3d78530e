"""Options that several commands have, and how what was given goes over what a configuration file says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .._options import ClientTls, Output
from ._types import AUTHORITY, CERTIFICATE, FINGERPRINT, LISTEN, NAME, PATH, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["client_tls", "connection_options", "given", "output_options", "take_output"]

_F = TypeVar("_F", bound="Callable[..., Any]")


def _together(*options: Callable[[Any], Any]) -> Callable[[_F], _F]:
    def decorate(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


connection_options = _together(
    click.option("--tls", is_flag=True, help="Use TLS, and check the certificate with the system's CAs."),
    click.option("--tls-ca", metavar="FILE", type=AUTHORITY, help="Trust these CAs (PEM) instead of the system's."),
    click.option("--tls-name", metavar="NAME", type=NAME, help="The name that the certificate must have, if not HOST."),
    click.option(
        "--fingerprint", metavar="sha256:...", type=FINGERPRINT, help="Trust the one certificate with this fingerprint."
    ),
    click.option(
        "--tls-cert", metavar="FILE", type=CERTIFICATE, help="A certificate of our own, if --client-ca wants one."
    ),
    click.option("--tls-key", metavar="FILE", type=CERTIFICATE, help="Its private key, if not in the same file."),
    click.option("--token-file", metavar="FILE", type=TOKEN, help="Where the token stands, if not in MUXPY_TOKEN."),
    click.option("--ask-token", is_flag=True, help="Ask for the token on the terminal."),
    click.option("--insecure", is_flag=True, help="Without TLS, even to another machine."),
)
"""How to reach a listening end, and who we are."""

output_options = _together(
    click.option(
        "--log-format",
        type=click.Choice(["auto", "text", "json"]),
        help="auto: a live display on a terminal, lines elsewhere.  [default: auto]",
    ),
    click.option("-v", "--verbose", count=True, help="Each connection too; -vv: the library's log."),
    click.option("-q", "--quiet", is_flag=True, help="Only what goes wrong."),
    click.option(
        "--metrics",
        metavar="[HOST:]PORT",
        type=LISTEN,
        help="Serve /metrics for Prometheus, /healthz and /readyz there.",
    ),
    click.option("--control", metavar="PATH", type=PATH, help="The control socket that `muxpy status` asks."),
    click.option(
        "--trace", metavar="FILE", type=PATH, help="Note each frame, without what it carries: see muxpy trace."
    ),
)
"""What is shown."""


def given(**values: object) -> dict[str, Any]:
    """Those that were given: not None, not False, not empty."""
    return {name: value for name, value in values.items() if value is not None and value is not False and value != ()}


def client_tls(base: ClientTls | None, parameters: dict[str, Any]) -> ClientTls | None:
    """The TLS options of `connection_options`, taken out of the parameters, over those of a file."""
    tls = parameters.pop("tls")
    values = given(
        ca=parameters.pop("tls_ca"),
        name=parameters.pop("tls_name"),
        fingerprint=parameters.pop("fingerprint"),
        cert=parameters.pop("tls_cert"),
        key=parameters.pop("tls_key"),
    )
    if values.get("key") and not (values.get("cert") or (base and base.cert)):
        raise click.UsageError("--tls-key needs --tls-cert")
    if "fingerprint" in values and ("ca" in values or "name" in values):
        raise click.UsageError(
            "--fingerprint trusts one certificate whatever it says: leave --tls-ca and --tls-name out"
        )
    if parameters.get("insecure") and (tls or values):
        raise click.UsageError("--insecure means without TLS: leave it or the TLS options out")
    if base is None and not tls and not values:
        return None
    return replace(base or ClientTls(), **values)


def take_output(base: Output, parameters: dict[str, Any]) -> Output:
    """The parameters of `output_options`, taken out of them, over those of a file."""
    verbose, quiet = parameters.pop("verbose"), parameters.pop("quiet")
    if verbose and quiet:
        raise click.UsageError("-v and -q contradict each other")
    values = given(
        format=parameters.pop("log_format"),
        verbosity=-1 if quiet else verbose or None,
        metrics=parameters.pop("metrics"),
        control=parameters.pop("control"),
        trace=parameters.pop("trace"),
    )
    return replace(base, **values)
