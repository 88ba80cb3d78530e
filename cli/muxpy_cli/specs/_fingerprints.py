"""Fingerprints of certificates."""

from __future__ import annotations

import base64
import re
from typing import Final

from ._fields import SpecError

__all__ = ["parse_fingerprint"]

EXAMPLE: Final = "for example sha256: and 64 hexadecimal digits, with or without colons"

# As muxpy and browsers write it, as `openssl x509 -fingerprint -sha256` does, and as OpenSSH does.
_PREFIX = re.compile(r"sha-?256(?:\s+fingerprint)?\s*[:=]\s*", re.IGNORECASE)
_HEX = re.compile(r"(?:[0-9a-f]{2}:?)+", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43}=?")


def parse_fingerprint(text: str) -> bytes:
    """The 32 bytes of a SHA-256 fingerprint: hexadecimal, colons allowed, or base64 as OpenSSH writes it."""
    digest = _PREFIX.sub("", text.strip(), count=1)
    if _BASE64.fullmatch(digest):
        return base64.b64decode(digest.rstrip("=") + "=")
    if not _HEX.fullmatch(digest):
        raise SpecError(f"{text!r} is not a SHA-256 fingerprint; {EXAMPLE}")
    number = bytes.fromhex(digest.replace(":", ""))
    if len(number) != 32:
        hint = ", as SHA-1 has" if len(number) == 20 else ""
        raise SpecError(f"the fingerprint has {len(number)} bytes{hint}, and one of SHA-256 has 32; {EXAMPLE}")
    return number
