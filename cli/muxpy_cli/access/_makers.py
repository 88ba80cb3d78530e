"""What makes a file that somebody names and that is not there: for certificates and keys, tokens, and users."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["if_missing", "makes_authority", "makes_certificate", "makes_token", "makes_users"]

_MADE: Final = {"cert.pem", "key.pem"}
"""By `muxpy keygen`."""


def if_missing(error: Exception, path: Path, makes: Callable[[Path], str]) -> str:
    """What to add to an error about a file: what makes it, if it is that there is none."""
    return f"; {makes(path)}" if isinstance(error, FileNotFoundError) else ""


def makes_certificate(path: Path) -> str:
    """Of a certificate or a key of one's own."""
    if path.name in _MADE:
        return f"`muxpy keygen {_quoted(path.parent)}` makes it"
    return "`muxpy keygen DIR` makes a certificate and its key, DIR/cert.pem and DIR/key.pem"


def makes_authority(_: Path) -> str:
    """Of a CA for the other end's certificate, which may be that certificate itself."""
    return "it is a CA's certificate, or the cert.pem that `muxpy keygen DIR` makes at the other end"


def makes_token(_: Path) -> str:
    """Of the connecting end's token."""
    return "put the token into it that `muxpy token new NAME` prints at the listening end"


def makes_users(path: Path) -> str:
    """Of the listening end's token file."""
    return f"`muxpy token new NAME --file {_quoted(path)}` makes it"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
