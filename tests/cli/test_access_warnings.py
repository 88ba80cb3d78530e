"""Files that others on this machine may read or change, where that gives them rights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trio

from muxpy_cli.access import (
    ClientTls,
    ServerTls,
    file_warnings,
    key_file_warning,
    token_file_warning,
    users_file_warning,
)
from muxpy_cli.specs import Address
from tests.helpers.tasks import LIMIT

from .faults.ends import started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADDRESS = Address("localhost", 1)


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[int], Path]:
    def make(mode: int) -> Path:
        path = tmp_path / f"secret-{mode:o}"
        path.write_text("secret")
        path.chmod(mode)
        return path

    return make


@pytest.mark.parametrize(
    ("mode", "token", "users", "key"),
    [
        (0o400, None, None, None),
        (0o600, None, None, None),
        (0o640, "read", None, None),  # a group that may read keys is usual, and hashes let nobody in
        (0o604, "read", None, "read"),
        (0o620, "change", "change", "change"),
        (0o602, "change", "change", "change"),
        (0o666, "read", "change", "read"),
    ],
)
def test_who_may_do_what(
    mode: int, token: str | None, users: str | None, key: str | None, secret: Callable[[int], Path]
) -> None:
    path = secret(mode)
    wanted = ((token_file_warning, token), (users_file_warning, users), (key_file_warning, key))
    for warn, verb in wanted:
        warning = warn(path)
        assert (warning is None) == (verb is None), (warn, warning)
        if warning is not None:
            assert f"can {verb} the" in warning
            assert f": chmod {'600' if warn is token_file_warning else 'o-r' if verb == 'read' else 'go-w'} {path}" in (
                warning
            )


def test_nothing_is_said_about_pipes_and_missing_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o666)
    for warn in (token_file_warning, users_file_warning, key_file_warning):
        assert warn(tmp_path / "pipe") is None
        assert warn(tmp_path / "nothing") is None


def test_credentials_of_systemd_are_private(secret: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret(0o666)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
    for warn in (token_file_warning, users_file_warning, key_file_warning):
        assert warn(path) is None


def test_all_files_of_an_end_are_looked_at(secret: Callable[[int], Path]) -> None:
    path, private = secret(0o666), secret(0o600)
    assert len(file_warnings(key=path, users=path)) == len(file_warnings(key=path, token=path)) == 2
    assert file_warnings(key=private, users=private, token=private) == file_warnings() == []


def test_the_key_may_be_in_the_same_file(tmp_path: Path) -> None:
    for tls in (ServerTls, ClientTls):
        assert tls(cert=tmp_path / "cert", key=tmp_path / "key").key_file == tmp_path / "key"
        assert tls(cert=tmp_path / "both").key_file == tmp_path / "both"
    assert ClientTls().key_file is None


async def test_it_is_said_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    file.write_text(f'[users.alice]\ntoken = "sha256:{64 * "0"}"\n')
    file.chmod(0o662)
    with trio.fail_after(LIMIT):
        async with started("listen", "0", "--tokens", str(file)) as listening:
            await listening.said(f"others on this machine can change the users in {file}")
