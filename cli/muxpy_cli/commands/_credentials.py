"""`muxpy keygen` and `muxpy token`: the credentials that each end shows the other."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from .._errors import Failure
from ..access import default_names, make_keys, parse_bind_rule, parse_target_rule
from ..config import add_user, list_users, remove_user
from ..specs import MAX_COUNT, parse_rate
from ..view import discard_output, output_problem
from ._usage import Group

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    _Texts: TypeAlias = str | tuple[str, ...] | None

__all__ = ["UserParameters", "keygen_command", "token_group"]


# ---- keygen ----


@click.command("keygen")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Name or address to put into the certificate; any number. Default: localhost, 127.0.0.1, ::1, this machine's.",
)
@click.option("--force", is_flag=True, help="Overwrite the files that are there.")
def keygen_command(directory: Path, names: tuple[str, ...], force: bool) -> None:
    """Make a certificate and its key for TLS, without a CA.

    Writes DIR/cert.pem, which the other end may have, and DIR/key.pem, which must stay secret. The certificate is
    self-signed, so the other end must be given its fingerprint, which this prints, or the file.

    \b
    Examples:
      muxpy keygen tls
      muxpy keygen tls --name example.org --name 10.0.0.5
      muxpy keygen alice --name alice
          For the connecting end; the listening end takes alice/cert.pem as --client-ca.
    """
    names = names or tuple(default_names())
    fingerprint = make_keys(directory, names, force=force)
    cert, key = directory / "cert.pem", directory / "key.pem"
    click.echo(f"wrote {cert} and {key}, valid for 10 years as {', '.join(names)}")
    click.echo(f"fingerprint: {fingerprint}")
    click.echo("next, at this end, and at the other one:")
    click.echo("  muxpy token new NAME")  # without users, `listen` refuses to let other machines in
    click.echo(f"  muxpy listen 0.0.0.0:4242 --tls-cert {cert} --tls-key {key} --tokens tokens.toml")
    click.echo(f"  muxpy connect HOST:4242 --fingerprint {fingerprint} --token-file FILE -L 8080:localhost:80")
    click.echo("or, if it is the certificate of a connecting end, at the other end and at this one:")
    click.echo(f"  muxpy listen ... --client-ca {cert}")
    click.echo(f"  muxpy connect ... --tls-cert {cert} --tls-key {key}")


# ---- token ----

_file: Final = click.option(
    "--file",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default="tokens.toml",
    show_default=True,
    help="The token file.",
)


class UserParameters(TypedDict):
    """What click passes for a user's settings, as texts for the file; None and () for what was not given."""

    allow: tuple[str, ...]
    allow_bind: tuple[str, ...]
    max_sessions: int | None
    max_streams: int | None
    max_forwards: int | None
    rate: str | None
    session_rate: str | None


def _checked(parse: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, _Texts], _Texts]:
    """Check texts with a parser; the file has them as they were given."""

    def callback(_: click.Context, parameter: click.Parameter, value: _Texts) -> _Texts:
        for text in (value,) if isinstance(value, str) else value or ():
            try:
                parse(text)
            except ValueError as error:
                raise click.UsageError(f"{parameter.opts[0]} {text}: {error}") from None
        return value

    return callback


@click.group("token", cls=Group)
def token_group() -> None:
    """Manage who may connect, in the token file that `muxpy listen --tokens` reads.

    \b
    Examples:
      muxpy token new alice
          Prints the token, for a --token-file or MUXPY_TOKEN at the connecting end.
      muxpy token new ci --allow 'db.internal:5432' --max-sessions 4 --rate 10MiB
      muxpy token list
      muxpy token revoke alice
    """


@token_group.command("new")
@click.argument("name", metavar="NAME")
@click.option(
    "--allow",
    metavar="RULE",
    multiple=True,
    callback=_checked(parse_target_rule),
    help="What -L and -D may reach: HOST:PORT or unix:/path; may be repeated.",
)
@click.option(
    "--allow-bind",
    metavar="RULE",
    multiple=True,
    callback=_checked(parse_bind_rule),
    help="What -R may bind: ADDRESS:PORT or unix:/path; may be repeated.",
)
@click.option("--max-sessions", metavar="N", type=click.IntRange(1, MAX_COUNT), help="Sessions at the same time.")
@click.option("--max-streams", metavar="N", type=click.IntRange(1, MAX_COUNT), help="Connections at the same time.")
@click.option(
    "--max-forwards", metavar="N", type=click.IntRange(0, MAX_COUNT), help="Ports bound at the same time (-R)."
)
@click.option("--rate", metavar="RATE", callback=_checked(parse_rate), help="Bytes a second for all sessions together.")
@click.option("--session-rate", metavar="RATE", callback=_checked(parse_rate), help="Bytes a second for each session.")
@click.option("--replace", is_flag=True, help="Give an existing user a new token and these settings.")
@_file
def _new(name: str, replace: bool, path: Path, **given: Unpack[UserParameters]) -> None:
    """Add a user and print the token, which is shown only now: the file has only its hash. A running `muxpy listen`
    reads the file again on SIGHUP.

    NAME is 1 to 253 printable characters; it may contain spaces and punctuation, as the common name of a certificate
    may. Settings that are not given here are those that the listening end has for all users. With --replace they stay
    as they are.

    In a RULE, HOST is a name with * inside a label, an address, a CIDR block (IPv6 in brackets) or *; PORT is a
    number, a range or *. A name never allows loopback or link-local addresses, even if it resolves to them.

    \b
    Examples:
      muxpy token new alice --allow 'db.internal:5432' --allow '10.0.0.0/8:*'
      muxpy token new bob --allow-bind 'localhost:8000-8099' > bob.token
      muxpy token new alice --replace
    """
    settings = {key.replace("_", "-"): _plain(value) for key, value in given.items() if value not in (None, ())}
    add_user(path, name, settings, partial(_show_token, name, path), replace=replace)
    listen = f"`muxpy listen ... --tokens {shlex.quote(str(path))}`"
    click.echo(
        f"next: {listen} here (one that runs reads the file again on SIGHUP), and the token in a --token-file or "
        "MUXPY_TOKEN where it connects",
        err=True,
    )


def _show_token(name: str, path: Path, token: str) -> None:
    # Only the token goes to standard output, for $(muxpy token new ...).
    click.echo(f"the token of {name}, which {path} has only the hash of, so keep it now:", err=True)
    try:
        click.echo(token)
    except OSError as error:
        discard_output()
        raise Failure(f"cannot show the token, so {path} is left as it was: {output_problem(error)}") from error


@token_group.command("list")
@_file
def _list(path: Path) -> None:
    """Show the users and their settings."""
    for user, settings in list_users(path):
        click.echo(user.name if user.token else f"{user.name} (by client certificate)")
        for key, value in settings.items():
            click.echo(f"    {key} = {', '.join(value) or 'nothing' if isinstance(value, list) else value}")


@token_group.command("revoke")
@click.argument("name", metavar="NAME")
@_file
def _revoke(name: str, path: Path) -> None:
    """Remove a user from the file."""
    remove_user(path, name)
    click.echo(f"{path} has no user {name} any more; `muxpy listen` reads it again on SIGHUP", err=True)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
