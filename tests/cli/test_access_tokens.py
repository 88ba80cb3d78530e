"""Tokens: made, hashed and read; and never in a message."""

from __future__ import annotations

import getpass
import hashlib
import warnings
from pathlib import Path

import pytest

from muxpy_cli._errors import Failure
from muxpy_cli.access import is_hash, is_token, new_token, read_token, token_hash

ADDRESS = "example.org:4242"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUXPY_TOKEN", raising=False)


def test_a_new_token() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert token.startswith("muxpy_")
        assert len(token) == len("muxpy_") + 43
        assert is_token(token)
        assert not is_hash(token)
        assert is_hash(token_hash(token))


def test_the_hash_is_sha256() -> None:
    assert token_hash("secret") == "sha256:" + hashlib.sha256(b"secret").hexdigest()


def test_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    monkeypatch.setattr(getpass, "getpass", lambda _: pytest.fail("the terminal was asked"))
    assert read_token(file, ADDRESS) == "from-file"
    monkeypatch.setenv("MUXPY_TOKEN", " from-environment\n")
    assert read_token(file, ADDRESS) == "from-environment"
    assert read_token(None) == "from-environment"
    monkeypatch.setenv("MUXPY_TOKEN", "")
    assert read_token(file, ADDRESS) == "from-file"


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n", "utf-8-sig")
    assert read_token(tmp_path / "token") == "from-file"


def test_no_token_is_none() -> None:
    assert read_token(None) is None


def test_the_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        return "typed "

    monkeypatch.setattr(getpass, "getpass", typed)
    assert read_token(None, ADDRESS) == "typed"
    assert prompts == ["Token for example.org:4242: "]


def _visible(_: str) -> str:
    warnings.warn("it will be shown", getpass.GetPassWarning, stacklevel=1)
    return "typed"


def _ended(_: str) -> str:
    raise EOFError


@pytest.mark.parametrize("ask", [_visible, _ended])
def test_without_a_terminal_there_is_nobody_to_ask(ask: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", ask)
    with pytest.raises(Failure, match="without a terminal: put it into MUXPY_TOKEN") as caught:
        read_token(None, ADDRESS)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "there is no token"),
        (" \n", "there is no token"),
        ("sha256:" + "0f" * 32, "has the hash of a token"),
        pytest.param("s3cret s3cret", "does not look like a token", id="two_words"),
        ("s3cret\ns3cret", "does not look like a token"),
        ("s3cret" * 1000, "does not look like a token"),
        ("\x1bs3cret", "does not look like a token"),
        pytest.param("s3cret\udcff", "does not look like a token", id="not_utf_8"),
    ],
)
def test_what_is_no_token_is_not_quoted(content: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Failure, match=complaint) as caught:
        read_token(path)
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "0f0f" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot read the token from .*: no such file"):
        read_token(tmp_path / "nothing")


def test_a_file_that_never_ends_is_not_read_to_its_end() -> None:
    with pytest.raises(Failure, match="does not look like a token"):
        read_token(Path("/dev/zero"))
