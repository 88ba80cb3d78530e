"""Text of others: what of it is shown, and what may be a name."""

from __future__ import annotations

import pytest

from muxpy_cli.specs import MAX_TEXT, excerpt, name_problem, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 'quoted', ü and \N{SNOWMAN}", "plain, 'quoted', ü and \N{SNOWMAN}"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b\x00", r"\x9b\x00"),
        ("\u202e\u200b\ud800\U000e0001", r"\u202e\u200b\ud800\U000e0001"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == excerpt(text) == shown
    assert shown.isprintable()


def test_an_excerpt_has_an_end() -> None:
    assert excerpt("a" * MAX_TEXT) == "a" * MAX_TEXT
    assert excerpt("a" * 10**6) == "a" * MAX_TEXT + "..."
    assert len(excerpt("\U000e0001" * 10**6)) == MAX_TEXT + 3


@pytest.mark.parametrize("name", ["a", "J. O'Neill & Co!", "ü", "a" * 9])
def test_names(name: str) -> None:
    assert name_problem("a user's", name, 16) is None


def test_what_is_no_name() -> None:
    problem = "a user's name is 1 to 16 printable characters, without spaces around it"
    for name in ("", " a", "a ", "a\n", "a\x1bb", "a\u200b", "a" * 17, "a\ud800"):
        assert name_problem("a user's", name, 16) == problem
