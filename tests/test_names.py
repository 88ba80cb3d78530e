"""Every test can be named."""

from __future__ import annotations

import re

import pytest

from tests.helpers.ids import TYPABLE, word


def test_every_name_can_be_typed_after_k(request: pytest.FixtureRequest) -> None:
    parameters = (item.name.partition("[")[2].removesuffix("]") for item in request.session.items)
    assert [name for name in parameters if name and not TYPABLE.fullmatch(name)] == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("two words", "two_words"),
        ("*.example.org:80", "any.example.org_80"),
        ("\0", "0"),
        ("", "empty"),
        (b"GET / HTTP/1.1\r\n", "GET_HTTP_1.1_"),
        (b"\x05\x01\0", "050100"),
        (re.compile("a (b|c)"), "a_b_c_"),
        (["-L", 1], "-L_1"),
        ({"host": "a"}, "host_a"),
        ("a" * 1000, "a" * 36 + "_" + "a" * 12),
        ([object()], None),
        (10**5000, "huge"),
    ],
)
def test_words(value: object, name: str | None) -> None:
    assert word(value) == name
