"""The PROXY protocol's header, against lines of haproxy's doc/proxy-protocol.txt and bytes laid out after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.protocols import proxy_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")  # section 2.2
ONES = ":".join(["ffff"] * 8)


@pytest.mark.parametrize(
    ("client", "local", "line"),
    [
        (("192.168.0.1", 56324), ("192.168.0.11", 443), b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
        (
            ("255.255.255.255", 65535),
            ("255.255.255.255", 65535),
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        ),
        ((ONES, 65535), (ONES, 65535), f"PROXY TCP6 {ONES} {ONES} 65535 65535\r\n".encode()),
        (("2001:DB8:0::1", 0), ("::1", 80), b"PROXY TCP6 2001:db8::1 ::1 0 80\r\n"),
        (("fe80::1%eth0", 1), ("fe80::2%eth0", 2), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
        (("::ffff:192.0.2.1", 1), ("::ffff:192.0.2.2", 2), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    ],
)
def test_version_1(client: tuple[str, int], local: tuple[str, int], line: bytes) -> None:
    assert proxy_header(1, client, local) == line


@pytest.mark.parametrize(
    ("client", "local", "rest"),
    [
        # version and command, family, length | source | destination | ports
        (("192.168.0.1", 56324), ("192.168.0.11", 443), "21 11 000c c0a80001 c0a8000b dc04 01bb"),
        (("::ffff:192.0.2.1", 1), ("192.0.2.2", 2), "21 11 000c c0000201 c0000202 0001 0002"),
        (
            ("2001:db8::1", 56324),
            ("::1", 443),
            "21 21 0024 20010db8000000000000000000000001 00000000000000000000000000000001 dc04 01bb",
        ),
        (
            ("192.0.2.1", 1),
            ("2001:db8::1", 2),
            "21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000001 0001 0002",
        ),
    ],
)
def test_version_2(client: tuple[str, int], local: tuple[str, int], rest: str) -> None:
    assert proxy_header(2, client, local) == SIGNATURE + bytes.fromhex(rest)


KNOWN = ("192.0.2.1", 80)


@pytest.mark.parametrize(
    ("client", "local"),
    [
        (None, None),
        (KNOWN, None),
        (None, KNOWN),
        (("/run/app.sock", 0), KNOWN),
        (("localhost", 80), KNOWN),
        (KNOWN, ("192.0.2.2", 65536)),
        (("", -1), KNOWN),
    ],
)
def test_what_is_not_known_is_left_to_the_target(client: tuple[str, int] | None, local: tuple[str, int] | None) -> None:
    assert proxy_header(1, client, local) == b"PROXY UNKNOWN\r\n"
    assert proxy_header(2, client, local) == SIGNATURE + bytes.fromhex("20 00 0000")


def test_version_1_has_no_line_for_two_families() -> None:
    assert proxy_header(1, ("192.0.2.1", 1), ("2001:db8::1", 2)) == b"PROXY UNKNOWN\r\n"


def test_there_is_no_version_3() -> None:
    with pytest.raises(ValueError, match="versions 1 and 2, not 3"):
        proxy_header(3, None, None)


PEERS = st.none() | st.tuples(st.ip_addresses().map(str) | st.text(max_size=20), st.integers(-1, 70000))


@given(st.sampled_from([1, 2]), PEERS, PEERS)
def test_a_header_is_within_its_bounds(
    version: int, client: tuple[str, int] | None, local: tuple[str, int] | None
) -> None:
    header = proxy_header(version, client, local)
    if version == 1:
        assert len(header) <= 107  # section 2.1
        assert header.startswith(b"PROXY ")
        assert header.index(b"\r\n") == len(header) - 2
    else:
        assert header.startswith(SIGNATURE)
        assert len(header) == 16 + int.from_bytes(header[14:16], "big")
