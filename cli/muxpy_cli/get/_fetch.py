"""One request and its response."""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from muxpy import SessionClosed, StreamReset, http

from .._errors import NOT_ALLOWED, Failure, describe, innermost
from ..specs import printable
from ..view import fail
from ._data import FileData

if TYPE_CHECKING:
    from ._output import Output

__all__ = ["Asked", "fetch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for."""

    method: str
    url: str
    path: str
    """Of the URL, with the query, in the form in which it is sent."""
    fields: tuple[tuple[str, str], ...]
    data: bytes | FileData
    context: ssl.SSLContext | None
    show_head: bool


async def fetch(asked: Asked, output: Output) -> bool:
    """Ask, and write the body of the response. Returns whether the server has answered with success (2xx), or with what
    is no error (3xx). Raises Failure."""
    try:
        async with http.connect(asked.url, ssl_context=asked.context) as client:
            response = await client.request(asked.method, asked.path, _fields(asked), asked.data)
            if asked.show_head:
                _show_head(response)
            await _read(response, asked, output)
            return _judge(response, asked, output)
    except Exception as error:
        raise _failure(asked.url, error) from error


def _fields(asked: Asked) -> list[tuple[str, str]]:
    fields = list(asked.fields)
    if isinstance(asked.data, FileData) and asked.data.size is not None:
        fields.append(("content-length", str(asked.data.size)))
    return fields


def _show_head(response: http.Response) -> None:
    lines = [f"HTTP/2 {response.status}", *(f"{_text(name)}: {_text(value)}" for name, value in response.headers.raw)]
    sys.stdout.write("".join(f"{printable(line)}\n" for line in lines) + "\n")
    sys.stdout.flush()


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


async def _read(response: http.Response, asked: Asked, output: Output) -> None:
    if output.into_file and not _has_content(response.status, asked.method):
        return  # what is in the file is worth more than a page that says why there is nothing
    with output.opened(), output.progress(asked.path.rpartition("/")[2] or asked.path, response.content_length):
        async for chunk in response:
            await output.write(chunk)


def _has_content(status: int, method: str) -> bool:
    return 200 <= status < 300 and status not in (204, 205) and method != "HEAD"


def _judge(response: http.Response, asked: Asked, output: Output) -> bool:
    kept = output.into_file and not _has_content(response.status, asked.method)
    untouched = "; nothing was written" if kept else ""
    if response.status >= 400:
        fail(f"the server has answered {response.status}{untouched}")
        return False
    if response.status >= 300 and "location" in response.headers:
        fail(
            f"the server has answered {response.status}: it is at {printable(response.headers['location'])}{untouched}"
        )
    elif kept:
        fail(f"the server has answered {response.status}, without a body{untouched}")
    return True


def _failure(url: str, error: BaseException) -> Failure:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return error
    if isinstance(innermost(error), ssl.SSLCertVerificationError):
        return Failure(f"{url}: {describe(error)}; --tls-ca names a CA to trust", NOT_ALLOWED)
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return Failure(str(error), 2)  # a method or a field that cannot be sent
    if isinstance(error, (StreamReset, SessionClosed)):
        return Failure(f"{url}: {error}")
    if isinstance(error, (OSError, trio.BrokenResourceError)):
        return Failure(f"{url}: {describe(error)}")
    raise error
