"""Users, and the token file that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxpy_cli._errors import Failure
from muxpy_cli.access import Grants, Limits, User, Users, new_token, parse_bind_rule, parse_target_rule, token_hash

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "muxpy_" + "t" * 43
HASH = token_hash(TOKEN)

FULL = f"""\
[users.alice]
token = "{HASH}"
allow = ["db.internal:5432", "10.0.0.0/8:*"]
allow-bind = ["127.0.0.1:8000-8099"]
max-sessions = 4
max-streams = 100
max-forwards = 0
rate = "10MiB"
session-rate = 5000

[users."web.example.org"]
"""


def load(tmp_path: Path, text: str, *more: User) -> Users:
    (tmp_path / "tokens.toml").write_text(text)
    return Users.load(tmp_path / "tokens.toml", more)


def complaint(tmp_path: Path, text: str) -> str:
    """What loading says, after the path."""
    with pytest.raises(Failure) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    assert HASH not in message
    assert TOKEN not in message
    return message.removeprefix(f"{tmp_path / 'tokens.toml'}:")


def test_a_full_file(tmp_path: Path) -> None:
    alice, web = load(tmp_path, FULL)
    assert alice == User(
        name="alice",
        token=HASH,
        grants=Grants(
            targets=(parse_target_rule("db.internal:5432"), parse_target_rule("10.0.0.0/8:*")),
            binds=(parse_bind_rule("127.0.0.1:8000-8099"),),
        ),
        limits=Limits(sessions=4, streams=100, forwards=0, rate=10 * 2**20, session_rate=5000),
    )
    assert web == User(name="web.example.org")


def test_what_a_table_leaves_out_is_the_listening_ends(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(
        '[users.a]\nallow = []\nmax-sessions = 1\n[users.b]\nallow-bind = ["*:80"]\n[users.c]\n'
    )
    grants = Grants(targets=(parse_target_rule("*:443"),), binds=())
    limits = Limits(sessions=9, streams=8, rate=7)
    a, b, c = Users.load(tmp_path / "t", grants=grants, limits=limits)
    assert a.grants == Grants(targets=(), binds=())
    assert a.limits == Limits(sessions=1, streams=8, rate=7)
    assert b.grants == Grants(targets=grants.targets, binds=(parse_bind_rule("*:80"),))
    assert (b.limits, c.grants, c.limits) == (None, None, None)


def test_an_empty_file_has_no_users(tmp_path: Path) -> None:
    assert not load(tmp_path, "# nobody\n")
    assert load(tmp_path, "", User(name="bob"))


def test_users_of_elsewhere_come_along(tmp_path: Path) -> None:
    users = load(tmp_path, FULL, User(name="bob"))
    assert [user.name for user in users] == ["alice", "web.example.org", "bob"]
    assert len(users) == 3
    with pytest.raises(Failure, match=r"tokens\.toml: there are two users alice"):
        load(tmp_path, FULL, User(name="alice"))
    with pytest.raises(Failure, match=r"tokens\.toml: alice and bob have the same token"):
        load(tmp_path, FULL, User(name="bob", token=HASH))


# ---- Who it is ----


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


# ---- Mistakes ----


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('tokn = "x"', "there is no such key; token?"),
        ('allow_bind = ["*:80"]', "there is no such key; allow-bind?"),
        ("xyzzy = 1", "there is no such key; there are token, allow, allow-bind, max-sessions"),
        ("allow = 'a:1'", "it takes a list of rules"),
        ("allow = [1]", "it takes a list of rules"),
        ('allow = ["a:1", "10.0.0.5/8:*"]', '"10.0.0.5/8:*": 10.0.0.5/8 has bits beyond its prefix'),
        ('allow-bind = ["a:1"]', '"a:1": a is a name'),
        ("max-sessions = 0", "at least 1"),
        ("max-streams = true", "at least 1"),
        ("max-forwards = -1", "at least 0"),
        ("max-sessions = 1.5", "a whole number"),
        ('max-sessions = "4"', "a whole number"),
        ('rate = "fast"', "not a rate"),
        ("rate = 0", "rate"),
        ("rate = true", "bytes a second"),
        ("session-rate = 1.5", "bytes a second"),
    ],
)
def test_a_mistake_is_found_on_its_line(line: str, message: str, tmp_path: Path) -> None:
    key = line.partition(" ")[0]
    text = f'# x\n[users.bob]\n\n[users.alice]\ntoken = "{HASH}"\n{line}\n'
    found = complaint(tmp_path, text)
    assert found.startswith(f"6: users.alice.{key}: ")
    assert message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[user.alice]\n", "1: user: there is no such key; users stand in tables like [users.alice]"),
        ("[[users]]\n", "1: users: users stand in tables like [users.alice]"),
        ("[users.a]\nallow = [\n  [1],\n]\ntokn = 1\n", "5: users.a.tokn: there is no such key"),
        ("\nusers = 3\n", "2: users: users stand in tables like [users.alice]"),
        ("[users]\nalice = 3\n", "2: users.alice: a user is a table, like [users.alice]"),
        ("[users]\nalice = { tokn = 3 }\n", "2: users.alice.tokn: there is no such key"),
        ('users."a b".tokn = 3\n', "1: users.a b.tokn: there is no such key"),
        ("[users.'']\n", "1: users.: a user's name is"),
        ('[users."a\\u001b"]\n', "1: users.'a\\x1b': a user's name is"),
        (f"[users.{'a' * 300}]\n", "a user's name is 1 to 253"),
        ("[users.alice]\n[users.alice]\n", "2: no valid TOML: cannot declare"),
        ("[users.alice]\ntoken =\n", "2: no valid TOML: invalid value"),
        ("[users.alice]\ntoken = '", " at its end: no valid TOML"),
        (f'[users.a]\ntoken = "{HASH}"\n[users.b]\n\ntoken = "{HASH}"\n', "5: users.b.token: a has the same token"),
    ],
)
def test_mistakes_in_the_form(text: str, message: str, tmp_path: Path) -> None:
    assert message in complaint(tmp_path, text)


@pytest.mark.parametrize("value", [f'"{TOKEN}"', f'"{HASH.upper()}"', f'"{HASH[7:]}"', '"hunter2"', "3"])
def test_what_is_no_hash_is_not_quoted(value: str, tmp_path: Path) -> None:
    message = complaint(tmp_path, f"[users.alice]\ntoken = {value}\n")
    assert message.startswith("2: users.alice.token: ")
    assert message.endswith("`muxpy token new alice --replace`")
    assert value.strip('"') not in message.replace("users.alice.token", "").replace("64", "")
    assert ("this is a token itself" in message) is (TOKEN in value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"no such file or directory; `muxpy token new NAME --file .*` makes") as caught:
        Users.load(tmp_path / "nothing")
    assert caught.value.exit_code == 2
    with pytest.raises(Failure, match="is a directory"):
        Users.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="not UTF-8"):
        Users.load(tmp_path / "binary")
