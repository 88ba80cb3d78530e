"""What is a rule, and what a text that is none is told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.access import RuleError, parse_bind_rule, parse_target_rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the port is missing"),
        ("example.org", "the port is missing"),
        ("[::1]", "the port is missing"),
        (":80", "the host is missing"),
        ("::1:80", "needs brackets"),
        ("fd00::/8:*", "needs brackets"),
        ("[10.0.0.1]:80", "not an IPv6 address"),
        ("[::1:80", "not an IPv6 address"),
        ("[fe80::1%eth0]:80", "leave the zone"),
        ("10.0.0.5/8:80", "write 10.0.0.0/8,"),
        ("[fd00::1/8]:80", "write [fd00::/8],"),
        ("10.0.0.0/33:80", "neither an address nor a block"),
        ("10.0.0.*:80", "neither an address nor a block"),
        ("127.1:80", "neither an address nor a block"),
        ("0x7f000001:80", "neither an address nor a block"),
        ("example.org/8:80", "neither an address nor a block"),
        ("exa mple.org:80", "no host name"),
        ("-a.org:80", "no host name"),
        ("a..org:80", "no host name"),
        ("bücher.org:80", "xn--"),
        ("a\x1b:80", "cannot be printed"),
        ("a:0", "between 1 and 65535"),
        ("a:65536", "between 1 and 65535"),
        ("a:80-", "between 1 and 65535"),
        ("a:-80", "between 1 and 65535"),
        ("a:\N{ARABIC-INDIC DIGIT EIGHT}", "between 1 and 65535"),
        ("a:" + "9" * 900, "between 1 and 65535"),
        ("a:90-80", "is empty"),
        ("a:http", "between 1 and 65535, not 'http'"),
        ("/run/x", "is written unix:/run/x"),
        ("unix:run/x", "must be absolute"),
        pytest.param("unix:/", "must be absolute", id="unix_root"),
        ("unix:", "must be absolute"),
        ("unix:/run/../x", "must not contain '..'"),
        ("a" * 2000 + ":80", "longer than"),
    ],
)
def test_no_target_rule(text: str, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_target_rule(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("example.org:80", "only addresses and localhost"),
        ("*.example.org:80", "only addresses and localhost"),
        ("127.0.0.1:-1", "between 0 and 65535"),
        ("127.0.0.1", "the port is missing"),
        ("/run/x", "is written unix:/run/x"),
    ],
)
def test_no_bind_rule(text: str, complaint: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_bind_rule(text)
    assert complaint in str(caught.value)


@given(st.text(max_size=30) | st.text("0123456789.:[]/*-abx", max_size=30))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    for parse in (parse_target_rule, parse_bind_rule):
        with suppress(RuleError):
            rule = parse(text)
            assert rule.text == text.strip()
            assert parse(rule.text) == rule
