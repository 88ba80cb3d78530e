"""A certificate for 127.0.0.1: contexts for muxpy, files for programs of others."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

import trustme

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Tls", "make_tls"]


class Tls(NamedTuple):
    client: ssl.SSLContext
    server: ssl.SSLContext
    authority: str
    """The file of the certificate that clients trust."""
    chain: str
    """The file of the server's certificates."""
    key: str


def make_tls(folder: Path) -> Tls:
    ca = trustme.CA()
    cert = ca.issue_cert("127.0.0.1", "localhost")
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.configure_trust(client)
    cert.configure_cert(server)
    files = {name: str(folder / f"{name}.pem") for name in ("ca", "chain", "key")}
    ca.cert_pem.write_to_path(files["ca"])
    for index, blob in enumerate(cert.cert_chain_pems):
        blob.write_to_path(files["chain"], append=index > 0)
    cert.private_key_pem.write_to_path(files["key"])
    return Tls(client, server, files["ca"], files["chain"], files["key"])
