"""`muxpy keygen`."""

from __future__ import annotations

from pathlib import Path

import click

from ..access import default_names, make_keys

__all__ = ["keygen_command"]


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

    Writes DIR/cert.pem, which the other end may have, and DIR/key.pem, which nobody else may. The certificate is
    self-signed, so the other end must be told about it: by its fingerprint, which this prints, or by the file.

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
