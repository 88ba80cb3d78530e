"""`muxpy get`: one URL over HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import click

from .._lifetime import run as run_trio
from ..access import ClientTls, client_context
from ..get import Asked, FileData, Output, fetch
from ._types import AUTHORITY

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from urllib.parse import SplitResult

    from .._lifetime import Lifetime

__all__ = ["get_command"]

KEPT = "/:@!$&'()*+,;=-._~%?"
"""Characters of a path and its query that are sent as they are."""


@click.command("get")
@click.argument("url", metavar="URL")
@click.option("-o", "--output", metavar="FILE", help="Write the body there; by default, to standard output.")
@click.option("-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="A field; repeatable.")
@click.option("-d", "--data", metavar="TEXT|@FILE", help="What to send; @- is standard input. Makes the method POST.")
@click.option("-X", "--method", metavar="METHOD", help="The method, if neither GET nor POST.")
@click.option("-i", "--include", is_flag=True, help="Show the head of the response before the body.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@click.option("--tls-ca", metavar="FILE", type=AUTHORITY, help="Trust these CAs (PEM) instead of the system's.")
def get_command(
    url: str,
    output: str | None,
    headers: tuple[str, ...],
    data: str | None,
    method: str | None,
    include: bool,
    quiet: bool,
    tls_ca: Path | None,
) -> int:
    """Fetch URL over HTTP/2.

    With https:// the server must offer HTTP/2 (ALPN h2); with http:// it must speak it immediately (h2c by prior
    knowledge). A file that is written appears when all of it has come. Redirects are not followed.

    \b
    Examples:
      muxpy get https://example.org/
      muxpy get http://localhost:8000/large -o large
      muxpy get http://localhost:8000/upload -d @file -H 'content-type: text/plain'

    Exit codes: 0 the server has answered with 2xx or 3xx, 1 with an error or not at all, 2 a mistake in the command
    line, 3 its certificate is not trusted, 130 or 143 after Ctrl-C or SIGTERM.
    """
    parts = _parts(url)
    context = _context(parts.scheme, tls_ca)
    asked = Asked(
        method=method or ("GET" if data is None else "POST"),
        url=url,
        path=quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=KEPT),
        fields=tuple(map(_field, headers)),
        data=_data(data),
        context=context,
        show_head=include,
    )
    succeeded = False

    async def main(_: Lifetime) -> None:
        nonlocal succeeded
        succeeded = await fetch(asked, Output(output, quiet=quiet))

    code = run_trio(main, cuts=True)
    return code or int(not succeeded)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise click.UsageError(f"{url} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise click.UsageError(f"a URL is https://HOST[:PORT]/PATH, or the same with http://; not {url}")
    if "@" in parts.netloc:
        raise click.UsageError("a user and password are not taken from the URL; give -H 'authorization: ...'")
    if not parts.netloc.isascii():
        raise click.UsageError(f"write the host in ASCII (xn--...), not as {parts.hostname}")
    return parts


def _context(scheme: str, ca: Path | None) -> ssl.SSLContext | None:
    if scheme == "https":
        return client_context(ClientTls(ca=ca))
    if ca is not None:
        raise click.UsageError("--tls-ca is for https:// URLs")
    return None


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name.strip() or not colon:
        raise click.UsageError(f"a field is 'NAME: VALUE', not {text!r}")
    return name.strip(), value.strip()


def _data(text: str | None) -> bytes | FileData:
    if text is None:
        return b""
    return FileData(text[1:]) if text.startswith("@") else text.encode(errors="surrogateescape")
