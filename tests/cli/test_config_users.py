"""The tables of users: the same in a configuration and in a token file, and judged the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxpy_cli._errors import Failure
from muxpy_cli._options import ListenOptions
from muxpy_cli.access import Limits, Rules, ServerTls, User, Users, parse_bind_rule, parse_target_rule, token_hash
from muxpy_cli.config import inspect, load_users
from muxpy_cli.specs import Address

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "muxpy_" + "t" * 43
HASH = token_hash(TOKEN)
CONFIGURATION = '[listen]\naddress = "4242"\n'
TOKENS = '[listen]\naddress = "4242"\ntokens = "tokens.toml"\n'
OPTIONS = ListenOptions(address=Address("127.0.0.1", 0))

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

[users.bob]
token = "sha256:{"0" * 64}"
"""


def load(
    tmp_path: Path, text: str, *more: User, rules: Rules = OPTIONS.rules, limits: Limits = OPTIONS.limits
) -> Users:
    """The users of a token file with that text."""
    path = tmp_path / "tokens.toml"
    path.write_text(text)
    return load_users(ListenOptions(address=OPTIONS.address, tokens=path, users=more, rules=rules, limits=limits))


def test_a_full_file(tmp_path: Path) -> None:
    alice, bob = load(tmp_path, FULL)
    assert alice == User(
        name="alice",
        token=HASH,
        rules=Rules(
            targets=(parse_target_rule("db.internal:5432"), parse_target_rule("10.0.0.0/8:*")),
            binds=(parse_bind_rule("127.0.0.1:8000-8099"),),
        ),
        limits=Limits(sessions=4, streams=100, forwards=0, rate=10 * 2**20, session_rate=5000),
    )
    assert bob == User(name="bob", token="sha256:" + "0" * 64)
    path = tmp_path / "muxpy.toml"
    path.write_text(CONFIGURATION + FULL)
    options = inspect(path).options
    assert isinstance(options, ListenOptions)
    assert options.users == (alice, bob)


def test_what_a_table_leaves_out_is_the_listening_ends(tmp_path: Path) -> None:
    rules = Rules(targets=(parse_target_rule("*:443"),), binds=())
    limits = Limits(sessions=9, streams=8, rate=7)
    tokens = [f'token = "sha256:{digit * 64}"' for digit in "123"]
    text = (
        f"[users.a]\n{tokens[0]}\nallow = []\nmax-sessions = 1\n"
        f'[users.b]\n{tokens[1]}\nallow-bind = ["*:80"]\n[users.c]\n{tokens[2]}\n'
    )
    a, b, c = load(tmp_path, text, rules=rules, limits=limits)
    assert a.rules == Rules(targets=(), binds=())
    assert a.limits == Limits(sessions=1, streams=8, rate=7)
    assert b.rules == Rules(targets=rules.targets, binds=(parse_bind_rule("*:80"),))
    assert (b.limits, c.rules, c.limits) == (None, None, None)


def test_an_empty_file_has_no_users(tmp_path: Path) -> None:
    assert not load(tmp_path, "# nobody\n")
    assert load(tmp_path, "", User(name="carol"))


def test_users_of_the_configuration_come_along(tmp_path: Path) -> None:
    users = load(tmp_path, FULL, User(name="carol"))
    assert [user.name for user in users] == ["alice", "bob", "carol"]
    assert len(users) == 3
    with pytest.raises(
        Failure, match=r"tokens\.toml:1:8: users\.alice: the configuration has a user of that name, too"
    ):
        load(tmp_path, FULL, User(name="alice"))
    with pytest.raises(Failure, match=r"tokens\.toml:2:9: users\.alice\.token: carol has the same token: make each"):
        load(tmp_path, FULL, User(name="carol", token=HASH))


# ---- One judgement ----


def in_token_file(tmp_path: Path, tables: str, *, warnings: bool = False) -> list[str]:
    """What is said about tables of users there, with the line counted from the first of them."""
    (tmp_path / "tokens.toml").write_text(tables)
    (tmp_path / "muxpy.toml").write_text(TOKENS)
    return _said(tmp_path, "tokens.toml", 0, warnings=warnings)


def in_configuration(tmp_path: Path, tables: str, *, warnings: bool = False) -> list[str]:
    """The same in the configuration itself."""
    (tmp_path / "muxpy.toml").write_text(CONFIGURATION + tables)
    return _said(tmp_path, "muxpy.toml", CONFIGURATION.count("\n"), warnings=warnings)


def _said(tmp_path: Path, file: str, above: int, *, warnings: bool) -> list[str]:
    inspection = inspect(tmp_path / "muxpy.toml")
    found = inspection.warnings if warnings else inspection.problems
    for one in found:
        assert HASH not in str(one)
        assert TOKEN not in str(one)
        assert "\n" not in str(one)
    return [
        f"{one.line - above}:{one.column}: {one.key}: {one.message}"
        for one in found
        if one.file == str(tmp_path / file) and one.line
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('allow = ["db:5432"]', None),
        ("allow-bind = []", None),
        ("max-sessions = 1", None),
        ("max-sessions = 1000000", None),
        ("max-forwards = 0", None),
        ("rate = 1", None),
        ('rate = "1.5K"', None),
        ('session-rate = "10MiB/s"', None),
        ('tokn = "x"', "1: users.alice.tokn: unknown key; did you mean token?"),
        ('allow_bind = ["*:80"]', "1: users.alice.allow_bind: unknown key; did you mean allow-bind?"),
        ("xyzzy = 1", "1: users.alice.xyzzy: unknown key; known here: token, allow, allow-bind, max-sessions"),
        ("allow = 'a:1'", '9: users.alice.allow: it must be an array, not "a:1"; for example ["db.internal:5432"]'),
        ("allow = [1]", "10: users.alice.allow: it must be text in quotes, not 1; for example"),
        ('allow = ["a:1", "10.0.0.5/8:*"]', '17: users.alice.allow: "10.0.0.5/8:*": 10.0.0.5/8 has bits beyond its'),
        ('allow-bind = ["a:1"]', '15: users.alice.allow-bind: "a:1": a is a name'),
        ("max-sessions = 0", "16: users.alice.max-sessions: 0: it must lie between 1 and 1000000; for example 4"),
        ("max-sessions = 2000000", "16: users.alice.max-sessions: 2000000: it must lie between 1 and 1000000"),
        ("max-streams = true", "15: users.alice.max-streams: it must be a whole number, not true; for example 100"),
        ("max-forwards = -1", "16: users.alice.max-forwards: -1: it must lie between 0 and 1000000"),
        ("max-sessions = 1.5", "16: users.alice.max-sessions: it must be a whole number, not 1.5; for example 4"),
        ('max-sessions = "4"', '16: users.alice.max-sessions: it must be a whole number, not "4"; for example 4'),
        ('rate = "fast"', '8: users.alice.rate: "fast": not a rate; for example'),
        ("rate = 0", "8: users.alice.rate: 0: a rate of 0 would let nothing through; for example"),
        (
            "rate = true",
            '8: users.alice.rate: it must be text in quotes or a whole number, not true; for example "10Mi',
        ),
        (
            "rate = 1.5",
            '8: users.alice.rate: it must be text in quotes or a whole number, not 1.5; for example "10MiB"',
        ),
        ("session-rate = 1.5", "16: users.alice.session-rate: it must be text in quotes or a whole number, not 1.5"),
        (f"rate = {10**18}", f"8: users.alice.rate: {10**18}: that is far too much"),
    ],
)
def test_a_key_is_judged_the_same(line: str, message: str | None, tmp_path: Path) -> None:
    tables = f'# x\n[users.alice]\ntoken = "{HASH}"\n{line}\n'
    found = in_token_file(tmp_path, tables)
    assert found == in_configuration(tmp_path, tables)
    assert len(found) == (message is not None)
    if message is not None:
        assert found[0].startswith(f"4:{message}")
        with pytest.raises(Failure) as caught:
            load(tmp_path, tables)
        assert str(caught.value) == f"{tmp_path / 'tokens.toml'}:{found[0]}"
        assert caught.value.exit_code == 2
    else:
        assert [user.name for user in load(tmp_path, tables)] == ["alice"]


@pytest.mark.parametrize(
    ("tables", "messages"),
    [
        ("[[users]]\n", ["1:3: users: it must be a table, not an array; for example [users.alice]"]),
        ("[users]\nalice = 3\n", ["2:9: users.alice: it must be a table, not 3; for example a table"]),
        (
            "[users.alice]\n",
            ["1:8: users.alice: this user has no token, and certificates are not asked for; add token"],
        ),
        (f"[users.'']\ntoken = '{HASH}'\n", ["1:8: users.'': a user's name is 1 to 253 printable characters"]),
        (f'[users."a\\u001b"]\ntoken = "{HASH}"\n', ["1:8: users.'a\\x1b': a user's name is 1 to 253 printable"]),
        (f"[users.{'a' * 300}]\ntoken = '{HASH}'\n", [f"1:8: users.{'a' * 300}: a user's name is 1 to 253"]),
        (
            f'[users.a]\ntoken = "{HASH}"\n[users.b]\n\ntoken = "{HASH}"\n',
            ["5:9: users.b.token: a has the same token: make each their own"],
        ),
        (
            "[users.a]\ntokn = 1\ntoken = 3\n[users.b]\nrate = 0\n",
            [
                "2:1: users.a.tokn: unknown key; did you mean token?",
                '3:9: users.a.token: it must be "sha256:" and 64 hex digits',
                "4:8: users.b: this user has no token, and certificates are not asked for",
                "5:8: users.b.rate: 0: a rate of 0 would let nothing through",
            ],
        ),
        (
            f'[users.a]\nallow = [\n  [1],\n]\ntoken = "{HASH}"\nrate = """\nx"""\n',
            ["3:3: users.a.allow: it must be text in quotes, not an array", '6:8: users.a.rate: "x": not a rate'],
        ),
    ],
)
def test_tables_are_judged_the_same(tables: str, messages: list[str], tmp_path: Path) -> None:
    found = in_token_file(tmp_path, tables)
    assert found == in_configuration(tmp_path, tables)
    assert len(found) == len(messages)
    assert all(one.startswith(message) for one, message in zip(found, messages, strict=True)), found
    with pytest.raises(Failure) as caught:
        load(tmp_path, tables)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    assert str(caught.value) == f"{tmp_path / 'tokens.toml'}:{found[0]}{more}"


@pytest.mark.parametrize("value", [f'"{TOKEN}"', f'"{HASH.upper()}"', f'"{HASH[7:]}"', '"hunter2"', "3"])
def test_what_is_no_hash_is_not_quoted(value: str, tmp_path: Path) -> None:
    tables = f"[users.'a b']\ntoken = {value}\n"
    (message,) = in_token_file(tmp_path, tables)
    assert [message] == in_configuration(tmp_path, tables)
    assert message.startswith("2:9: users.'a b'.token: ")
    assert message.endswith("`muxpy token new 'a b' --replace`")
    assert value.strip('"') not in message.removeprefix("2:9: users.'a b'.token: ").replace("64", "")
    assert ("this is a token itself" in message) is (TOKEN in value)


def test_without_rules_there_is_a_warning(tmp_path: Path) -> None:
    tables = f'[users.alice]\ntoken = "{HASH}"\n[users.bob]\ntoken = "sha256:{"0" * 64}"\nallow = []\n'
    warning = (
        "1:8: users.alice: no rules, here or in [listen]: only loopback addresses of the listening end are allowed"
    )
    assert in_token_file(tmp_path, tables, warnings=True) == [warning]
    assert in_configuration(tmp_path, tables, warnings=True) == [warning]
    assert in_token_file(tmp_path, tables) == in_configuration(tmp_path, tables) == []


def test_users_without_rules_are_warned_of_in_one_line(tmp_path: Path) -> None:
    tables = "".join(f'[users.u{number}]\ntoken = "sha256:{number:064}"\n' for number in range(1000))
    [warning] = in_token_file(tmp_path, tables, warnings=True)
    assert warning.startswith("1:8: users.u0: no rules, here or in [listen], nor for 999 more: only loopback addresses")


def test_a_certificate_is_in_the_place_of_a_token_where_one_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text("[users.alice]\n")
    with pytest.raises(Failure, match="has no token, and certificates are not asked for"):
        load_users(ListenOptions(address=OPTIONS.address, tokens=path))
    tls = ServerTls(cert=tmp_path / "cert.pem", client_ca=tmp_path / "ca.pem")
    assert list(load_users(ListenOptions(address=OPTIONS.address, tokens=path, tls=tls))) == [User(name="alice")]


# ---- The token file itself ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[user.alice]\n", ":1:2: user: unknown key; did you mean users?"),
        ("[listen]\n", ":1:2: listen: unknown key; known here: users"),
        ("\nusers = 3\n", ":2:9: users: it must be a table, not 3; for example [users.alice]"),
        ("[users.alice]\n[users.alice]\n", ":2:13: not TOML: cannot declare"),
        ("[users.alice]\ntoken =\n", ":2:8: not TOML: this is no value"),
        ("[users.alice]\ntoken = '", ":2:10: not TOML: "),
        (f"[users]\na.rate = {'1' * 9999}\n", ": a number has far too many digits"),
        (f"[users]\na.allow = {'[' * 9999}\n", ": arrays or tables are nested too deeply"),
    ],
)
def test_mistakes_in_the_form(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        load(tmp_path, text)
    assert str(caught.value).removeprefix(str(tmp_path / "tokens.toml")).startswith(message)
    assert caught.value.exit_code == 2


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def complaint(name: str) -> str:
        with pytest.raises(Failure) as caught:
            load_users(ListenOptions(address=OPTIONS.address, tokens=tmp_path / name))
        assert caught.value.exit_code == 2
        return str(caught.value).removeprefix(str(tmp_path))

    assert complaint("nothing").startswith(
        "/nothing: cannot read it: no such file or directory; `muxpy token new NAME "
    )
    assert complaint("") == ": cannot read it: is a directory"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert complaint("binary") == "/binary:1:1: this is not UTF-8, as TOML has to be"


def test_the_place_is_found_though_it_is_nested_deeply(tmp_path: Path) -> None:
    text = f"x = {'[' * 200}{']' * 200}\n"
    with pytest.raises(Failure, match=r"tokens\.toml:1:1: x: unknown key"):
        load(tmp_path, text)
