"""TLS: real handshakes in memory, and files that cannot be used."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from muxpy_cli._errors import Failure, describe
from muxpy_cli.access import (
    ClientTls,
    ServerTls,
    certificate_names,
    check_fingerprint,
    client_context,
    fingerprint_of,
    make_keys,
    server_context,
)

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = trustme.CA()
NOW = datetime.now(UTC)


def issue(folder: Path, *names: str, expires: datetime | None = None, authority: trustme.CA = AUTHORITY) -> ServerTls:
    """cert.pem and key.pem in a folder, signed by the authority of ca.pem."""
    folder.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    made = authority.issue_cert(*names, common_name=names[0], not_after=expires)
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    made.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return ServerTls(cert=folder / "cert.pem", key=folder / "key.pem")


def self_signed(folder: Path, *names: str) -> ServerTls:
    make_keys(folder, names)
    return ServerTls(cert=folder / "cert.pem", key=folder / "key.pem")


def handshake(
    server: ServerTls | ssl.SSLContext, client: ClientTls | ssl.SSLContext, name: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake: the listening end, the connecting end. Raises ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_side = server if isinstance(server, ssl.SSLContext) else server_context(server)
    client_side = client if isinstance(client, ssl.SSLContext) else client_context(client)
    ends = [
        client_side.wrap_bio(back, there, server_hostname=name),
        server_side.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    for end in ends:
        end.do_handshake()
    return ends[1], ends[0]


def fingerprint(folder: Path) -> bytes:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())).digest()


# ---- Handshakes ----


def test_a_certificate_of_a_ca(tmp_path: Path) -> None:
    listening, connecting = handshake(issue(tmp_path, "localhost"), ClientTls(ca=tmp_path / "ca.pem"))
    assert listening.selected_alpn_protocol() == connecting.selected_alpn_protocol() == "muxado/1"
    assert certificate_names(connecting) == ["localhost"]
    assert certificate_names(listening) == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_versions(version: ssl.TLSVersion, tmp_path: Path) -> None:
    server = issue(tmp_path, "localhost")
    context = client_context(ClientTls(ca=tmp_path / "ca.pem"))
    context.maximum_version = version
    assert handshake(server, context)[0].version() == version.name.replace("v1_", "v1.")


def test_nothing_below_1_2_whatever_python_has_as_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_default = ssl.create_default_context

    def careless(*arguments: Any, **options: Any) -> ssl.SSLContext:  # noqa: ANN401
        context = make_default(*arguments, **options)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return context

    monkeypatch.setattr(ssl, "create_default_context", careless)
    for context in (server_context(issue(tmp_path, "localhost")), client_context(ClientTls())):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION


def test_the_certificate_of_another_ca(tmp_path: Path) -> None:
    server = issue(tmp_path / "one", "localhost")
    issue(tmp_path / "other", "localhost", authority=trustme.CA())
    for client in (ClientTls(ca=tmp_path / "other" / "ca.pem"), ClientTls()):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(server, client)


def test_the_certificate_of_another_name(tmp_path: Path) -> None:
    server = issue(tmp_path, "example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, ClientTls(ca=tmp_path / "ca.pem"))
    handshake(server, ClientTls(ca=tmp_path / "ca.pem"), name="example.org")


def test_an_expired_certificate(tmp_path: Path) -> None:
    server = issue(tmp_path, "localhost", expires=NOW - timedelta(days=1))
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        handshake(server, ClientTls(ca=tmp_path / "ca.pem"))
    assert describe(caught.value) == "the certificate does not verify: certificate has expired"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_self_signed_certificate_is_its_own_ca(name: str, tmp_path: Path) -> None:
    server = self_signed(tmp_path)
    listening, _ = handshake(server, ClientTls(ca=tmp_path / "cert.pem"), name)
    assert listening.version() == "TLSv1.3"


def test_a_self_signed_certificate_stands_the_strictest_checks(tmp_path: Path) -> None:
    server = self_signed(tmp_path)
    client = client_context(ClientTls(ca=tmp_path / "cert.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # the default since Python 3.13
    handshake(server, client)


def test_a_self_signed_certificate_vouches_for_no_other(tmp_path: Path) -> None:
    self_signed(tmp_path / "one")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(self_signed(tmp_path / "other"), ClientTls(ca=tmp_path / "one" / "cert.pem"))


# ---- What is asked of CAs, with every version of Python ----


class Certificate:
    """One with no more than it needs: a CA has neither key usage nor key identifiers."""

    def __init__(self, name: str, issuer: Certificate | None = None, *, ca: bool) -> None:
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        self.pem = builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def write(self, folder: Path, *chain: Certificate) -> ServerTls:
        """cert.pem, with the chain behind it, and key.pem."""
        folder.mkdir()
        (folder / "cert.pem").write_bytes(self.pem + b"".join(one.pem for one in chain))
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(private)
        return ServerTls(cert=folder / "cert.pem", key=folder / "key.pem")


@pytest.fixture(params=["as it is", "strict", "lenient"])
def defaults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this Python, of 3.13 and later, and of 3.12 and earlier."""
    make_default = ssl.create_default_context
    both = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN

    def make(*arguments: Any, **options: Any) -> ssl.SSLContext:  # noqa: ANN401
        context = make_default(*arguments, **options)
        if request.param == "strict":
            context.verify_flags |= both
        elif request.param == "lenient":
            context.verify_flags &= ~both
        return context

    monkeypatch.setattr(ssl, "create_default_context", make)


@pytest.mark.usefixtures("defaults")
def test_the_flags_are_the_same_whatever_python_has_as_default(tmp_path: Path) -> None:
    server = issue(tmp_path, "localhost")
    with_client_ca = replace(server, client_ca=tmp_path / "ca.pem")
    pinned = ClientTls(fingerprint=bytes(32))
    for context in (
        server_context(server),
        server_context(with_client_ca),
        client_context(ClientTls()),
        client_context(ClientTls(ca=tmp_path / "ca.pem")),
        client_context(pinned),
    ):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


@pytest.mark.usefixtures("defaults")
def test_a_private_ca_without_key_usage(tmp_path: Path) -> None:
    authority = Certificate("a private CA", ca=True)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    server = Certificate("localhost", authority, ca=False).write(tmp_path / "server")
    client = Certificate("alice", authority, ca=False).write(tmp_path / "client")

    listening, connecting = handshake(
        replace(server, client_ca=tmp_path / "ca.pem"),
        ClientTls(ca=tmp_path / "ca.pem", cert=client.cert, key=client.key),
    )
    assert certificate_names(connecting) == ["localhost"]
    assert certificate_names(listening) == ["alice"]


@pytest.mark.usefixtures("defaults")
def test_an_intermediate_ca_is_trusted_without_its_root(tmp_path: Path) -> None:
    root = Certificate("root", ca=True)
    between = Certificate("intermediate", root, ca=True)
    (tmp_path / "ca.pem").write_bytes(between.pem)
    server = Certificate("localhost", between, ca=False).write(tmp_path / "server", between)
    handshake(server, ClientTls(ca=tmp_path / "ca.pem"))

    other = Certificate("localhost", Certificate("other", root, ca=True), ca=False).write(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(other, ClientTls(ca=tmp_path / "ca.pem"))


@pytest.mark.usefixtures("defaults")
def test_a_certificate_in_the_file_of_cas_is_trusted_itself_and_is_no_ca(tmp_path: Path) -> None:
    issued = Certificate("localhost", Certificate("a private CA", ca=True), ca=False)
    (tmp_path / "ca.pem").write_bytes(issued.pem)
    handshake(issued.write(tmp_path / "server"), ClientTls(ca=tmp_path / "ca.pem"))

    forged = Certificate("localhost", issued, ca=False).write(tmp_path / "forged", issued)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(forged, ClientTls(ca=tmp_path / "ca.pem"))


# ---- Client certificates ----


def with_client_ca(folder: Path, ca: Path) -> ServerTls:
    made = self_signed(folder)
    return ServerTls(cert=made.cert, key=made.key, client_ca=ca)


def client_with(server: Path, folder: Path) -> ClientTls:
    return ClientTls(ca=server / "cert.pem", cert=folder / "cert.pem", key=folder / "key.pem")


@pytest.mark.parametrize("strict", [False, True])
def test_a_self_signed_client_certificate_is_its_own_client_ca(strict: bool, tmp_path: Path) -> None:
    self_signed(tmp_path / "alice", "alice", "alice.example.org")
    server = server_context(with_client_ca(tmp_path / "server", tmp_path / "alice" / "cert.pem"))
    if strict:
        server.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    listening, _ = handshake(server, client_with(tmp_path / "server", tmp_path / "alice"))
    assert certificate_names(listening) == ["alice", "alice.example.org"]


def test_a_client_certificate_of_a_ca(tmp_path: Path) -> None:
    issue(tmp_path / "alice", "alice")
    server = with_client_ca(tmp_path / "server", tmp_path / "alice" / "ca.pem")
    listening, _ = handshake(server, client_with(tmp_path / "server", tmp_path / "alice"))
    assert certificate_names(listening) == ["alice"]


def test_no_client_certificate(tmp_path: Path) -> None:
    self_signed(tmp_path / "alice", "alice")
    server = with_client_ca(tmp_path / "server", tmp_path / "alice" / "cert.pem")
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server, ClientTls(ca=tmp_path / "server" / "cert.pem"))


def test_the_client_certificate_of_somebody_else(tmp_path: Path) -> None:
    self_signed(tmp_path / "alice", "alice")
    self_signed(tmp_path / "eve", "alice")
    server = with_client_ca(tmp_path / "server", tmp_path / "alice" / "cert.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_with(tmp_path / "server", tmp_path / "eve"))


def test_an_expired_client_certificate(tmp_path: Path) -> None:
    issue(tmp_path / "alice", "alice", expires=NOW - timedelta(days=1))
    server = with_client_ca(tmp_path / "server", tmp_path / "alice" / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(server, client_with(tmp_path / "server", tmp_path / "alice"))


# ---- Pinned certificates ----


def test_the_pinned_certificate_counts_whatever_its_name(tmp_path: Path) -> None:
    server = issue(tmp_path, "example.org", expires=NOW - timedelta(days=1))
    pin = fingerprint(tmp_path)
    _, connecting = handshake(server, ClientTls(fingerprint=pin), name="elsewhere.net")
    check_fingerprint(connecting, pin)
    assert certificate_names(connecting) == []  # nobody has verified them


def test_another_certificate_than_the_pinned_one(tmp_path: Path) -> None:
    self_signed(tmp_path / "one")
    server = self_signed(tmp_path / "other")
    pin = fingerprint(tmp_path / "one")
    _, connecting = handshake(server, ClientTls(fingerprint=pin, ca=tmp_path / "other" / "cert.pem"))
    with pytest.raises(Failure, match="not the pinned one") as caught:
        check_fingerprint(connecting, pin)
    assert caught.value.exit_code == 3
    assert fingerprint_of(tmp_path / "other" / "cert.pem") in str(caught.value)
    with pytest.raises(Failure, match="not the pinned one"):
        check_fingerprint(connecting, b"")


def test_an_end_without_a_certificate_has_not_the_pinned_one(tmp_path: Path) -> None:
    listening, _ = handshake(self_signed(tmp_path), ClientTls(ca=tmp_path / "cert.pem"))
    with pytest.raises(Failure, match="has shown no certificate") as caught:
        check_fingerprint(listening, fingerprint(tmp_path))
    assert caught.value.exit_code == 3


def test_a_client_certificate_with_a_pinned_server(tmp_path: Path) -> None:
    self_signed(tmp_path / "alice", "alice")
    server = with_client_ca(tmp_path / "server", tmp_path / "alice" / "cert.pem")
    pin = fingerprint(tmp_path / "server")
    client = ClientTls(fingerprint=pin, cert=tmp_path / "alice" / "cert.pem", key=tmp_path / "alice" / "key.pem")
    listening, connecting = handshake(server, client)
    check_fingerprint(connecting, pin)
    assert certificate_names(listening) == ["alice"]
