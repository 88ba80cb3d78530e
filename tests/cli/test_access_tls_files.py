"""Certificates and keys as files: what cannot be used, and what ends soon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from muxpy_cli._errors import Failure
from muxpy_cli.access import (
    ClientTls,
    ServerTls,
    certificate_warning,
    client_context,
    fingerprint_of,
    make_keys,
    server_context,
)

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = trustme.CA()
NOW = datetime.now(UTC)


def self_signed(folder: Path) -> ServerTls:
    make_keys(folder)
    return ServerTls(cert=folder / "cert.pem", key=folder / "key.pem")


def server_fails(tls: ServerTls) -> str:
    with pytest.raises(Failure) as caught:
        server_context(tls)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def client_fails(tls: ClientTls) -> str:
    with pytest.raises(Failure) as caught:
        client_context(tls)
    return str(caught.value)


def test_the_key_of_another_certificate(tmp_path: Path) -> None:
    one, other = self_signed(tmp_path / "one"), self_signed(tmp_path / "other")
    files = ServerTls(cert=one.cert, key=other.key)
    assert server_fails(files) == f"cannot use {one.cert} with {other.key}: the key does not belong to the certificate"
    assert "does not belong" in client_fails(ClientTls(cert=one.cert, key=other.key))


@pytest.mark.parametrize("in_one_file", [False, True])
@pytest.mark.parametrize("kind", [trustme.KeyType.RSA, trustme.KeyType.ECDSA])
def test_a_chain_in_the_wrong_order(in_one_file: bool, kind: trustme.KeyType, tmp_path: Path) -> None:
    authority = AUTHORITY.create_child_ca()
    made = authority.issue_cert("localhost", key_type=kind)
    chain = [authority.cert_pem.bytes(), AUTHORITY.cert_pem.bytes(), made.cert_chain_pems[0].bytes()]
    key = made.private_key_pem.bytes()
    cert, key_file = tmp_path / "chain.pem", tmp_path / "key.pem"
    cert.write_bytes(b"".join([key, *chain]) if in_one_file else b"".join(chain))
    key_file.write_bytes(key)
    assert server_fails(ServerTls(cert=cert, key=None if in_one_file else key_file)).endswith(
        f": the certificates in {cert} are in the wrong order: that of the key is number 3, and must come first,"
        " followed by those of the CAs that have signed it"
    )
    cert.write_bytes(b"".join(chain[::-1]))
    server_context(ServerTls(cert=cert, key=key_file))


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    made = AUTHORITY.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    made.private_key_pem.write_to_path(str(tmp_path / "rsa.pem"))
    complaint = server_fails(ServerTls(cert=files.cert, key=tmp_path / "rsa.pem"))
    assert complaint.endswith("the key does not belong to the certificate")


def test_an_encrypted_key_is_not_asked_about(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    assert files.key is not None
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert server_fails(files) == f"cannot use {files.key}: the private key is encrypted; give one without a passphrase"


def test_files_without_what_they_should_have(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    cert, key = files.cert, tmp_path / "key.pem"
    (tmp_path / "nonsense").write_text("nonsense")
    nonsense = tmp_path / "nonsense"
    assert server_fails(ServerTls(cert=cert)) == f"cannot use {cert}: no private key in it: give --tls-key"
    assert f"no private key in {nonsense}" in server_fails(ServerTls(cert=cert, key=nonsense))
    assert f"no private key in {cert}" in server_fails(ServerTls(cert=cert, key=cert))
    assert f"no certificate in PEM format in {nonsense}" in server_fails(ServerTls(cert=nonsense, key=key))
    assert f"no certificate in PEM format in {key}" in server_fails(ServerTls(cert=key, key=cert))
    assert "no private key in it: give its key" in client_fails(ClientTls(cert=cert))
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    server_context(ServerTls(cert=both))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    nothing = tmp_path / "nothing"
    missing = f"{nothing}: no such file or directory; "
    complaint = server_fails(ServerTls(cert=nothing))
    assert complaint.startswith(f"cannot use {missing}`muxpy keygen DIR` makes a certificate and its key")
    assert f"{missing}`muxpy keygen DIR` makes" in server_fails(ServerTls(cert=files.cert, key=nothing))
    key = tmp_path / "new" / "key.pem"
    assert f"; `muxpy keygen {key.parent}` makes it" in server_fails(ServerTls(cert=files.cert, key=key))
    for complaint in (
        server_fails(ServerTls(cert=files.cert, key=files.key, client_ca=nothing)),
        client_fails(ClientTls(ca=nothing)),
    ):
        assert complaint.startswith(f"cannot use {missing}it is a CA's certificate, or the cert.pem that")


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_ca(content: str, tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    (tmp_path / "ca.pem").write_text(content)
    for complaint in (
        client_fails(ClientTls(ca=tmp_path / "ca.pem")),
        server_fails(ServerTls(cert=files.cert, key=files.key, client_ca=tmp_path / "ca.pem")),
    ):
        assert complaint.startswith(f"cannot use {tmp_path}/ca.pem: ")
        if "BEGIN" not in content:
            assert complaint.endswith("no certificate in PEM format in it")


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_has_no_fingerprint(content: str, tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text(content)
    for look in (fingerprint_of, certificate_warning):
        with pytest.raises(Failure, match="cannot use"):
            look(path)
        with pytest.raises(Failure, match=r"cannot read .*: no such file"):
            look(tmp_path / "nothing")


# ---- Dates ----


@pytest.mark.parametrize(
    ("left", "warning"),
    [
        (timedelta(days=15), None),
        (timedelta(days=13, hours=1), "expires in 13 days"),
        (timedelta(hours=47, minutes=1), "expires in 47 hours"),
        (timedelta(hours=1, minutes=1), "expires in 1 hour"),
        (timedelta(seconds=-1), "has expired on 2030-06-01"),
    ],
)
def test_a_certificate_that_ends_soon(left: timedelta, warning: str | None, tmp_path: Path) -> None:
    end = datetime(2030, 6, 1, 12, tzinfo=UTC)
    AUTHORITY.issue_cert("localhost", not_after=end).cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    assert certificate_warning(tmp_path / "cert.pem", end - left) == warning


def test_a_short_life_is_not_short_of_time(tmp_path: Path) -> None:
    made = AUTHORITY.issue_cert("localhost", not_before=NOW, not_after=NOW + timedelta(days=6))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    path = tmp_path / "cert.pem"
    assert certificate_warning(path, NOW + timedelta(days=3)) is None
    assert certificate_warning(path, NOW + timedelta(days=5)) == "expires in 23 hours"
    early = certificate_warning(path, NOW - timedelta(days=2))
    assert early is not None
    assert early.startswith("is not valid before")


def test_a_key_log_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = self_signed(tmp_path)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nothing" / "keys"))
    problem = (
        f"cannot write the keys of TLS to {tmp_path}/nothing/keys, as SSLKEYLOGFILE says: no such file or directory"
    )
    assert server_fails(server) == problem
    for client in (ClientTls(), ClientTls(ca=server.cert), ClientTls(fingerprint=bytes(32))):
        assert client_fails(client) == problem


@pytest.mark.parametrize("client", [ClientTls(), ClientTls(fingerprint=bytes(32))])
def test_keys_are_written_where_the_variable_says(
    client: ClientTls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context(client).keylog_filename == str(tmp_path / "keys")
    assert server_context(self_signed(tmp_path)).keylog_filename == str(tmp_path / "keys")
