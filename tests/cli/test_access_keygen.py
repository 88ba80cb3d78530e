"""`muxpy keygen`: the files, their names and modes, what is in them."""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from muxpy_cli._errors import Failure
from muxpy_cli.access import certificate_warning, default_names, fingerprint_of, make_keys
from muxpy_cli.commands._credentials import keygen_command

if TYPE_CHECKING:
    from pathlib import Path


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def names(folder: Path) -> list[str]:
    found = certificate(folder).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def test_the_key_is_private_and_belongs_to_the_certificate(tmp_path: Path) -> None:
    make_keys(tmp_path / "a" / "b")
    folder = tmp_path / "a" / "b"
    assert sorted(os.listdir(folder)) == ["cert.pem", "key.pem"]
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_key() == certificate(folder).public_key()


def test_it_is_valid_now_and_for_ten_years(tmp_path: Path) -> None:
    make_keys(tmp_path)
    made, now = certificate(tmp_path), datetime.now(UTC)
    assert made.not_valid_before_utc < now
    assert made.not_valid_after_utc > now + timedelta(days=3650)
    assert certificate_warning(tmp_path / "cert.pem") is None


def test_it_is_no_ca(tmp_path: Path) -> None:
    make_keys(tmp_path)
    extensions = certificate(tmp_path).extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_the_default_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gateway.example.org")
    make_keys(tmp_path)
    assert names(tmp_path) == ["localhost", "gateway.example.org", "127.0.0.1", "::1"]


@pytest.mark.parametrize("own", ["localhost", "", "my machine", "b\u00fccher", "x" * 64, "127.0.0.1"])
def test_a_machine_whose_name_is_no_name(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    assert default_names() == ["localhost", "127.0.0.1", "::1"]


def test_names_of_ones_own(tmp_path: Path) -> None:
    make_keys(tmp_path, ["alice", "*.example.org", "10.0.0.5", "alice", "fd00::1"])
    assert names(tmp_path) == ["alice", "*.example.org", "10.0.0.5", str(ipaddress.ip_address("fd00::1"))]
    (common,) = certificate(tmp_path).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert common.value == "alice"


def test_a_name_too_long_for_a_common_name(tmp_path: Path) -> None:
    long = ".".join(["a" * 60] * 3)
    make_keys(tmp_path, [long])
    assert names(tmp_path) == [long]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("b\u00fccher.org", "xn--"), ("a b", "it takes a host name"), ("", "it takes"), ("10.0.0.0/8", "it takes"),
     ("fe80::1%eth0", "zone"), ("127.1", "it takes"), ("*", "it takes"), ("a.*.org", "it takes")],
)  # fmt: skip
def test_what_is_no_name(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=complaint) as caught:
        make_keys(tmp_path / "new", ["localhost", name])
    assert caught.value.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_the_fingerprint_is_that_of_the_der_form(tmp_path: Path) -> None:
    fingerprint = make_keys(tmp_path)
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())
    assert fingerprint == "sha256:" + hashlib.sha256(der).hexdigest()
    assert fingerprint_of(tmp_path / "cert.pem") == fingerprint
    assert make_keys(tmp_path, force=True) != fingerprint


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(Failure, match=rf"{name} is already there: .*--force"):
        make_keys(tmp_path)
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match=r"key\.pem is already there"):
        make_keys(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_no_key_is_left_without_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure, match=r"cert\.pem is already there"):
        make_keys(tmp_path)
    assert not (tmp_path / "key.pem").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match=r"cannot write to .*: no space left on device"):
        make_keys(tmp_path)
    assert os.listdir(tmp_path) == []


def test_force_overwrites_and_makes_the_key_private(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o666)
    fingerprint = make_keys(tmp_path, force=True)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert fingerprint_of(tmp_path / "cert.pem") == fingerprint
    assert sorted(os.listdir(tmp_path)) == ["cert.pem", "key.pem"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="cannot write to"):
        make_keys(tmp_path / "file")
    with pytest.raises(Failure, match="cannot write to"):
        make_keys(tmp_path / "file" / "below")


def test_the_command_says_what_comes_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        keygen_command, [str(tmp_path / "tls"), "--name", "example.org"], catch_exceptions=False
    )
    assert result.exit_code == 0
    fingerprint = fingerprint_of(tmp_path / "tls" / "cert.pem")
    assert f"fingerprint: {fingerprint}\n" in result.stdout
    assert f"--tls-cert {tmp_path}/tls/cert.pem --tls-key {tmp_path}/tls/key.pem" in result.stdout
    assert f"--fingerprint {fingerprint}" in result.stdout
    assert "PRIVATE" not in result.output
    assert names(tmp_path / "tls") == ["example.org"]
