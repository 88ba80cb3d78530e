"""`muxpy token`: what it prints, and what it leaves in the file."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from muxpy_cli._errors import Failure
from muxpy_cli._options import ListenOptions
from muxpy_cli.access import ServerTls, is_token, token_hash
from muxpy_cli.commands._credentials import token_group
from muxpy_cli.config import add_user, load_users
from muxpy_cli.specs import Address

if TYPE_CHECKING:
    from pathlib import Path

    from muxpy_cli.access import Users


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def load(file: Path) -> Users:
    """As a listening end does that asks for certificates."""
    tls = ServerTls(cert=file, client_ca=file)
    return load_users(ListenOptions(address=Address("127.0.0.1", 0), tokens=file, tls=tls))


def token(file: Path, *arguments: str) -> tuple[str, str]:
    """Standard output and standard error of a command that must work."""
    result = CliRunner().invoke(token_group, [*arguments, "--file", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def fails(file: Path, *arguments: str) -> str:
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(Failure) as caught:
        token(file, *arguments)
    assert (file.read_bytes() if file.is_file() else None) == before
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []
    return str(caught.value)


def test_the_token_alone_is_on_standard_output(file: Path) -> None:
    output, words = token(file, "new", "alice")
    assert output.endswith("\n")
    secret = output.removesuffix("\n")
    assert is_token(secret)
    assert secret not in words
    assert "alice" in words
    assert secret not in file.read_text()
    assert token_hash(secret) not in words
    alice = load(file).by_token(secret)
    assert alice is not None
    assert alice.name == "alice"


def test_the_file_is_private(file: Path) -> None:
    token(file, "new", "alice")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    token(file, "new", "bob")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["tokens.toml"]


def test_everything_that_can_be_said(file: Path) -> None:
    rules = ("--allow", "db:5432", "--allow", "10.0.0.0/8:*", "--allow-bind", "localhost:0")
    numbers = ("--max-sessions", "4", "--max-streams", "100", "--max-forwards", "0")
    token(file, "new", "web.example.org", *rules, *numbers, "--rate", "10MiB", "--session-rate", "5MiB/s")
    table = tomllib.loads(file.read_text())["users"]["web.example.org"]
    assert table.pop("token").startswith("sha256:")
    assert table == {
        "allow": ["db:5432", "10.0.0.0/8:*"],
        "allow-bind": ["localhost:0"],
        "max-sessions": 4,
        "max-streams": 100,
        "max-forwards": 0,
        "rate": "10MiB",
        "session-rate": "5MiB/s",
    }
    assert load(file).by_name("web.example.org")


BOB = """\
# The users of our gateway.

[users.alice]  # since 2026
token = "sha256:{:064d}"
rate = "1MiB" # slow

# Bob does the backups.
[users.bob]
allow = [
  "10.0.0.5:22", # the first disk
]
"""


def test_comments_and_other_users_stay(file: Path) -> None:
    file.write_text(BOB.format(1))
    token(file, "new", "carol")
    after = file.read_text()
    assert after.startswith(BOB.format(1))
    assert after.endswith('"\n')
    token(file, "revoke", "carol")
    assert file.read_text().rstrip() == BOB.format(1).rstrip()


def test_a_new_token_for_somebody_who_is_there(file: Path) -> None:
    file.write_text(BOB.format(1))
    assert "has a user alice already: choose another name, or --replace" in fails(file, "new", "alice")
    secret = token(file, "new", "alice", "--replace", "--max-forwards", "2")[0].strip()
    expected = BOB.format(1).replace(f"sha256:{1:064d}", token_hash(secret))
    assert file.read_text() == expected.replace("# slow\n", "# slow\nmax-forwards = 2\n")


def test_revoking_takes_its_comments_but_no_others(file: Path) -> None:
    file.write_text(BOB.format(1))
    _, words = token(file, "revoke", "alice")
    assert "no user alice any more" in words
    assert file.read_text() == "# The users of our gateway.\n\n" + BOB.partition("slow\n")[2]
    token(file, "revoke", "bob")
    assert not load(file)
    assert "has no user bob" in fails(file, "revoke", "bob")


def test_revoking_nobody_says_who_there_is(file: Path) -> None:
    file.write_text(BOB.format(1))
    assert fails(file, "revoke", "alcie").endswith("has no user alcie; there are alice, bob")


@pytest.mark.parametrize(
    "text",
    [
        "[users]\na = { max-streams = 4 }\nb = { max-streams = 5 }\n",
        "[users.a]\nmax-streams = 4\n[users.b]\nmax-streams = 5",
    ],
)
def test_other_ways_to_write_it(text: str, file: Path) -> None:
    file.write_text(text)
    secret = token(file, "new", "a", "--replace")[0].strip()
    token(file, "new", "c")
    users = load(file)
    assert users.by_token(secret) is users.by_name("a")
    assert [user.name for user in users] == ["a", "b", "c"]
    for name in ("a", "b"):
        user = users.by_name(name)
        assert user is not None
        assert user.limits is not None
        assert user.limits.streams == (4 if name == "a" else 5)
    token(file, "revoke", "a")
    assert [user.name for user in load(file)] == ["b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "users.a.max-streams = 4\nusers.b.max-streams = 5\n",
        'users.a.max-streams = 4\nusers.b.max-streams = 5\nusers.a.rate = "1"\n',
        "users = { a = { max-streams = 4 }, b = { max-streams = 5 } }\n",
    ],
)
def test_ways_to_write_it_that_are_not_touched(text: str, file: Path) -> None:
    file.write_text(text)
    assert "must stand in tables of their own, like [users.alice]" in fails(file, "new", "c")


def test_a_file_with_mistakes_is_not_touched(file: Path) -> None:
    file.write_text("[users.bob]\ntokn = 1\n")
    assert "tokens.toml:2:1: users.bob.tokn" in fails(file, "new", "alice")
    assert "tokens.toml:2:1: users.bob.tokn" in fails(file, "revoke", "bob")
    assert "tokens.toml:2:1: users.bob.tokn" in fails(file, "list")


def test_a_file_does_not_get_mistakes(file: Path) -> None:
    file.write_text(BOB.format(1))
    with pytest.raises(Failure, match="max-sessions: 2000000: it must lie between 1 and 1000000"):
        add_user(file, "carol", {"max-sessions": 2_000_000}, print)
    assert file.read_text() == BOB.format(1)


def test_what_cannot_be_a_user(file: Path) -> None:
    assert "a user's name is" in fails(file, "new", "al\x1bice")
    assert "a user's name is" in fails(file, "new", "")
    assert not file.exists()


def test_a_name_may_have_what_a_certificates_name_has(file: Path) -> None:
    secret = token(file, "new", "J. O'Neill & Co!")[0].strip()
    user = load(file).by_token(secret)
    assert user is not None
    assert user.name == "J. O'Neill & Co!"
    problem = fails(file, "revoke", "bob")
    assert problem.endswith("""has no user bob; there are 'J. O'"'"'Neill & Co!'""")  # as a shell takes it
    token(file, "revoke", "J. O'Neill & Co!")
    assert not load(file)


def test_who_runs_already_is_thought_of(file: Path) -> None:
    assert "(one that runs reads the file again on SIGHUP)" in token(file, "new", "alice")[1]


def test_a_byte_order_mark_is_none_of_the_text(file: Path) -> None:
    file.write_text("[users.alice]\n", "utf-8-sig")
    token(file, "new", "bob")
    assert [user.name for user in load(file)] == ["alice", "bob"]
    assert not file.read_bytes().startswith(b"\xef\xbb\xbf")  # TOML has none


def test_where_no_file_can_be(file: Path) -> None:
    missing = file.parent / "nothing" / "tokens.toml"
    with pytest.raises(Failure, match=r"cannot change .*/nothing/tokens\.toml: no such file"):
        token(missing, "new", "alice")
    assert "cannot read" in fails(file, "revoke", "alice")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--allow", "db", "--allow db: the port is missing"),
        ("--allow-bind", "db:80", "--allow-bind db:80: db is a name"),
        ("--rate", "fast", "--rate fast: not a rate"),
        ("--max-sessions", "0", "--max-sessions"),
        ("--max-sessions", "2000000", "--max-sessions"),
    ],
)
def test_mistakes_in_the_command_line(option: str, value: str, message: str, file: Path) -> None:
    result = CliRunner().invoke(token_group, ["new", "alice", option, value, "--file", str(file)])
    assert result.exit_code == 2
    assert message in result.output
    assert not file.exists()


def test_the_file_behind_a_link_is_changed(file: Path) -> None:
    real = file.parent / "real.toml"
    real.write_text("")
    file.symlink_to(real)
    token(file, "new", "alice")
    assert file.is_symlink()
    assert load(real).by_name("alice")


def test_the_file_keeps_its_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token(file, "new", "alice")
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "chown", lambda _, user, group: given.append((user, group)))
    token(file, "new", "bob")
    assert given == [(file.stat().st_uid, file.stat().st_gid)]


def test_a_full_disk_leaves_the_file_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(BOB.format(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left on device" in fails(file, "new", "carol")


def test_the_list_shows_no_hashes(file: Path) -> None:
    file.write_text(BOB.format(1) + "[users.eve]\nallow = []\n")
    output, words = token(file, "list")
    assert output == (
        "alice\n    rate = 1MiB\nbob (by client certificate)\n    allow = 10.0.0.5:22\n"
        "eve (by client certificate)\n    allow = nothing\n"
    )
    assert words == ""


def test_the_default_file_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(token_group, ["new", "alice"], catch_exceptions=False).exit_code == 0
    assert load(tmp_path / "tokens.toml").by_name("alice")
