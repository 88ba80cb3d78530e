"""The command line: commands, options and help, no protocol logic."""

from __future__ import annotations

import math
import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from ._connect import ConnectOptions, connect
from ._console import Console, discard_output, fail
from ._ends import program_version
from ._errors import describe
from ._lifetime import run as run_trio
from ._listen import ListenOptions, listen
from ._specs import Address, Forward, SpecError, parse_address, parse_forward, parse_listen, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run"]


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # it takes a type argument since click 8.2
    _ParamType = click.ParamType


class _Spec(_ParamType):
    """An argument that one of the parsers of _specs reads."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except SpecError as error:
            where = param.opts[0] + " " if isinstance(param, click.Option) else ""
            raise click.UsageError(f"{where}{value}: {error}") from None


LISTEN: Final = _Spec("[HOST:]PORT", parse_listen)
ADDRESS: Final = _Spec("HOST:PORT", parse_address)
FORWARD: Final = _Spec("[bind:]port:host:hostport", parse_forward)
SIZE: Final = _Spec("SIZE", parse_size)

MAX_TIME_LIMIT: Final = 1e6

_file = click.Path(exists=True, dir_okay=False)
_statistics = click.option("--statistics-json", "statistics", type=click.Path(), hidden=True)


def run() -> int:
    """Run the command line; the exit code. Errors in it are one line, exit code 2."""
    try:
        code = cli.main(prog_name="muxpy", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        fail(error.format_message())
        return error.exit_code
    except click.Abort:
        return 130
    except OSError as error:  # in writing the help: the commands turn their own into words
        discard_output()
        fail(f"cannot write the output: {describe(error)}")
        return 1
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(program_version(), message="muxpy %(version)s")
def cli() -> None:
    """Forward TCP ports over one connection.

    One end listens, the other connects to it; forwards go in both directions over that one socket.

    \b
    Examples:
      muxpy listen 4242
          Accept sessions on 127.0.0.1:4242.
      muxpy connect localhost:4242 -L 8080:localhost:80
          Port 8080 here leads to port 80 as the listening end sees it.
      muxpy connect localhost:4242 -R 9000:localhost:3000
          Port 9000 at the listening end leads to port 3000 here.
      muxpy demo
          See it work: real traffic through a forwarded port, every byte checked.

    Exit codes: 0 after Ctrl-C or SIGTERM, 130 or 143 after a second one (demo: after the first), 1 if something
    failed, 2 for a mistake in the command line.
    """


@cli.command("listen")
@click.argument("address", metavar="[HOST:]PORT", type=LISTEN)
@click.option("--tls-cert", metavar="FILE", type=_file, help="Certificate chain (PEM) to show; turns TLS on.")
@click.option("--tls-key", metavar="FILE", type=_file, help="Its private key, if not in the same file.")
@click.option("--insecure", is_flag=True, help="Without TLS, even where other machines can connect.")
@_statistics
def listen_command(
    address: Address, tls_cert: str | None, tls_key: str | None, insecure: bool, statistics: str | None
) -> int:
    """Accept sessions from `muxpy connect`.

    HOST is 127.0.0.1 if not given, * for all addresses; an IPv6 address goes in brackets. Port 0 takes a free port
    and prints it. On an address that other machines can reach, TLS is required unless --insecure is given.

    Who connects may reach loopback addresses of this machine only (-L), and bind ports on them only (-R). A name is
    resolved here, and what counts is the address.

    TLS hides the traffic, but does not say who may connect: there are no users yet, so whoever can connect may use
    the forwards to services on loopback addresses here, with TLS or without.

    \b
    Examples:
      muxpy listen 4242
      muxpy listen 0.0.0.0:4242 --tls-cert cert.pem --tls-key key.pem
      muxpy listen [::1]:0

    Ctrl-C or SIGTERM lets open connections finish for up to 5 seconds, and gives slow readers 5 more for what has
    arrived; a second one ends at once.
    """
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key needs --tls-cert")
    if tls_cert and insecure:
        raise click.UsageError("--insecure means without TLS: leave it out, or --tls-cert")
    context = _server_context(tls_cert, tls_key) if tls_cert else None
    console = Console()
    console.log_to_lines()
    with console.in_background():
        return run_trio(partial(listen, ListenOptions(address, context, insecure, statistics), console))


@cli.command("connect")
@click.argument("address", metavar="HOST:PORT", type=ADDRESS)
@click.option("-L", "local", metavar="SPEC", type=FORWARD, multiple=True, help="Forward a local port to the other end.")
@click.option("-R", "remote", metavar="SPEC", type=FORWARD, multiple=True, help="Forward a port of the other end here.")
@click.option("--tls", is_flag=True, help="Use TLS, and check the other end's certificate.")
@click.option("--tls-ca", metavar="FILE", type=_file, help="Trust these CAs (PEM), instead of the system's.")
@click.option("--tls-name", metavar="NAME", help="The name that its certificate must have, if not HOST.")
@click.option("--insecure", is_flag=True, help="Without TLS, even to another machine.")
@_statistics
def connect_command(
    address: Address,
    local: tuple[Forward, ...],
    remote: tuple[Forward, ...],
    tls: bool,
    tls_ca: str | None,
    tls_name: str | None,
    insecure: bool,
    statistics: str | None,
) -> int:
    """Connect to a `muxpy listen` and forward ports over that one connection.

    A SPEC is [bind:]port:host:hostport, as with OpenSSH: connections to port on bind lead to hostport on host. With
    -L the port is bound here, and host is what the other end makes of that name; with -R the other way round. bind is
    127.0.0.1 if not given, * for all addresses; IPv6 addresses go in brackets. Port 0 takes a free port and prints
    it. Give any number of -L and -R.

    The other end allows loopback addresses of its own machine only: as targets of -L, and to bind for -R. The target
    of -R, which is reached from here, may be any.

    \b
    Examples:
      muxpy connect localhost:4242 -L 8080:localhost:80 -L 5432:localhost:5432
      muxpy connect localhost:4242 -R 9000:localhost:3000
      muxpy connect example.org:4242 --tls -L [::1]:8080:localhost:80
      muxpy connect 10.0.0.5:4242 --tls --tls-ca ca.pem --tls-name example.org -L 0:localhost:80

    Ctrl-C or SIGTERM lets open connections finish for up to 5 seconds, and gives slow readers 5 more for what has
    arrived; a second one ends at once. If the connection to the other end is lost, or the other end ends all
    forwards, the program ends with exit code 1.
    """
    if not local and not remote:
        raise click.UsageError("nothing to forward: give -L or -R, for example -L 8080:localhost:80")
    if tls_name == "":
        raise click.UsageError("--tls-name needs a name")
    if not tls and (tls_ca or tls_name):
        raise click.UsageError("--tls-ca and --tls-name need --tls")
    if tls and insecure:
        raise click.UsageError("--insecure means without TLS: leave it or --tls out (to trust a certificate: --tls-ca)")
    context = _client_context(tls_ca) if tls else None
    options = ConnectOptions(address, local, remote, context, tls_name, insecure, statistics)
    console = Console()
    console.log_to_lines()
    with console.in_background():
        return run_trio(partial(connect, options, console))


@cli.command("demo")
@click.option("--size", type=SIZE, metavar="SIZE", default="256MiB", show_default=True, help="Bytes to move in bulk.")
@click.option(
    "--requests", type=click.IntRange(1), metavar="N", default=2000, show_default=True, help="Small requests to make."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1, MAX_TIME_LIMIT),
    metavar="SECONDS",
    default=120,
    show_default=True,
    help="Give up then.",
)
def demo_command(size: int, requests: int, time_limit: float) -> int:
    """Send real traffic through a forwarded port, and check every byte.

    Starts an HTTP server, a listening end and a connecting end as processes of their own, on loopback with free
    ports. Moves half of SIZE down and half up on parallel connections, then makes many small requests, compares
    SHA-256 sums, and shows what the session did. Exit code 1 if anything differs.
    """
    from ._demo import run_demo

    if math.isnan(time_limit):
        raise click.UsageError("--time-limit must be a number")
    return run_demo(size, requests, time_limit, Console())


def _server_context(cert: str, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key, password=partial(_no_password, key or cert))
    except OSError as error:  # ssl.SSLError is one
        raise click.ClickException(
            f"cannot use {cert}{f' with {key}' if key else ''}: {_key_reason(cert, key, error)}"
        ) from error
    return context


def _no_password(file: str) -> NoReturn:
    raise click.ClickException(f"cannot use {file}: the private key is encrypted; give one without a passphrase")


def _key_reason(cert: str, key: str | None, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key does not belong to the certificate"
        if "PRIVATE KEY-----" not in Path(key or cert).read_text(errors="replace"):
            return f"no private key in {key}" if key else "no private key in it: give --tls-key"
    return _reason(error)


def _client_context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise click.ClickException(f"cannot use {ca}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not in PEM format"
    return error.strerror or str(error)
