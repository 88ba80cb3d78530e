"""Sizes, rates, durations and fingerprints as people write them."""

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.specs import SpecError, parse_duration, parse_fingerprint, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("1000", 1000), ("64k", 65536), ("256MiB", 2**28), ("1.5 GB", 3 * 2**29), ("7b", 7), ("0", 0)]
)
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1TiB", "1e9", "٤", "10MiB/s"])
def test_wrong_size(text: str) -> None:
    with pytest.raises(SpecError, match="not a size; for example"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1PiB", "9" * 400, "9" * 400 + "GiB", "1048577GiB"])
def test_a_size_beyond_all_bounds(text: str) -> None:
    with pytest.raises(SpecError):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("10MiB", 10 * 2**20), ("10MiB/s", 10 * 2**20), ("64k / s", 65536), ("1", 1), ("5kb/sec", 5120)]
)
def test_rate(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10Mbit/s", "not a rate"),
        ("10MiB/m", "not a rate"),
        ("", "not a rate"),
        ("0", "let nothing through"),
        ("0.5", "let nothing through"),
        ("9" * 20, "the rate is too large"),
    ],
)
def test_wrong_rate(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=f"{complaint}; for example"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("1d", 86400), ("250ms", 0.25), (" 2 h ", 7200), ("0", 0)],
)
def test_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a duration"),
        ("-1", "not a duration"),
        ("5M", "not a duration"),
        ("1w", "not a duration"),
        ("inf", "not a duration"),
        ("367d", "longer than a year"),
        ("9" * 400, "longer than a year"),
    ],
)
def test_wrong_duration(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=f"{complaint}; for example"):
        parse_duration(text)


# The well-known SHA-256 of nothing (the first of NIST's test vectors).
DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
COLONS = ":".join(DIGEST[i : i + 2] for i in range(0, 64, 2)).upper()


@pytest.mark.parametrize(
    "text",
    [
        DIGEST,
        f"sha256:{DIGEST}",
        f"sha256:{COLONS}",
        f"SHA256:{COLONS}",
        f"sha256 Fingerprint={COLONS}",
        f"  {COLONS}\n",
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    ],
)
def test_fingerprint(text: str) -> None:
    assert parse_fingerprint(text) == hashlib.sha256(b"").digest()


@given(st.binary(min_size=32, max_size=32))
def test_every_fingerprint_can_be_read_in_each_form(digest: bytes) -> None:
    for form in (digest.hex(), digest.hex(":").upper(), base64.b64encode(digest).decode().rstrip("=")):
        assert parse_fingerprint(f"sha256:{form}") == digest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not a SHA-256 fingerprint"),
        ("sha256:", "is not a SHA-256 fingerprint"),
        ("sha1:" + "ab" * 20, "is not a SHA-256 fingerprint"),
        ("ab" * 20, "20 bytes, as SHA-1 has"),
        ("ab" * 33, "33 bytes, and one of SHA-256 has 32"),
        (COLONS[:-1], "is not a SHA-256 fingerprint"),
        ("xy" * 32, "is not a SHA-256 fingerprint"),
    ],
)
def test_wrong_fingerprint(text: str, complaint: str) -> None:
    with pytest.raises(SpecError, match="for example sha256:") as caught:
        parse_fingerprint(text)
    assert complaint in str(caught.value)


@given(st.text(max_size=80))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for parse in (parse_size, parse_rate, parse_duration, parse_fingerprint):
        with suppress(SpecError):
            parse(text)
