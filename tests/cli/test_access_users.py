"""Users: found by token, by name and by certificate."""

from __future__ import annotations

import pytest

from muxpy_cli.access import User, Users, new_token, token_hash

HASH = token_hash("muxpy_" + "t" * 43)


def test_names_and_tokens_differ() -> None:
    with pytest.raises(ValueError, match="there are two users a"):
        Users([User(name="a"), User(name="a")])
    with pytest.raises(ValueError, match="a and b have the same token"):
        Users([User(name="a", token=HASH), User(name="b", token=HASH)])
    assert not Users()
    assert [user.name for user in Users([User(name="b"), User(name="a")])] == ["b", "a"]


def test_by_token() -> None:
    tokens = {name: new_token() for name in ("a", "b", "c")}
    users = Users([User(name="z"), *(User(name=name, token=token_hash(token)) for name, token in tokens.items())])
    for name, token in tokens.items():
        found = users.by_token(token)
        assert found is not None
        assert found.name == name
        assert users.by_token(token_hash(token)) is None
        assert users.by_token(token[:-1]) is None
    assert users.by_token("") is None
    assert users.by_token("sha256:" + "-" * 64) is None
    assert users.by_token("\N{SNOWMAN}\udcff") is None


def test_a_look_up_hashes_once_however_many_users_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []

    class Hash(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return super().__eq__(other)

        __hash__ = str.__hash__

    users = Users(User(name=f"user {number}", token=Hash(token_hash(str(number)))) for number in range(1000))
    compared.clear()
    found = users.by_token("77")
    assert found is not None
    assert found.name == "user 77"
    assert users.by_token("wrong") is None
    assert len(compared) <= 2


def test_by_name_and_by_certificate() -> None:
    alice, web, db = User(name="alice", token=HASH), User(name="web"), User(name="db")
    users = Users([alice, web, db])
    assert users.by_name("alice") is alice
    assert users.by_name("nobody") is None
    assert users.by_certificate(["nobody", "web", "db"]) is web
    assert users.by_certificate(["alice"]) is None  # has a token, so a certificate is not enough
    assert users.by_certificate(["alice", "db"]) is db
    assert users.by_certificate([]) is None
