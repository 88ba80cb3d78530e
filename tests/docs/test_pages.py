"""What holds for all pages: their links lead somewhere, their lines are not too long, and they ask for one environment;
and what the examples say at their head."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import tomlkit

from muxpy_cli.access import make_keys
from muxpy_cli.config import inspect

from .blocks import PAGES, ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

LINK: Final = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")
WIDTH: Final = 120
FORWARDER: Final = ROOT / "examples" / "forwarder"
FORWARDS: Final = {
    *(f"forwards.{name}.{key}" for name in ("db", "dns", "app", "browser") for key in ("type", "listen")),
    *(f"forwards.{name}.target" for name in ("db", "dns")),
}
"""What the tables of forwards need."""


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for link in LINK.finditer(prose(page)):
        target = (ROOT / page).parent / link["path"] if link["path"] else ROOT / page
        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(prose(str(target.resolve().relative_to(ROOT)))), link[0]


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_lines_can_be_read(page: str) -> None:
    assert [line for line in prose(page).splitlines() if len(line) > WIDTH and not line.startswith("|")] == []
    shown = [line for block in blocks(page) for line in block.text.splitlines()]
    assert [line for line in shown if len(line) > WIDTH] == []


def test_there_is_one_environment() -> None:
    """The one that make builds, or one for the services of a machine."""
    made = {name for page in PAGES for name in re.findall(r"-m venv (\S+)", (ROOT / page).read_text())}
    assert made == {".venv", "/opt/muxpy"}
    assert "VENV := .venv\n" in (ROOT / "Makefile").read_text()


def leaves(table: MutableMapping[str, Any], path: str = "") -> Iterator[tuple[str, MutableMapping[str, Any], str]]:
    """All keys that are no tables: the key's path, its table and its name there."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", table, name


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        # Its certificate has no key in the same file, and one of its users nothing but a certificate.
        ("listen.toml", {"listen.address", "listen.tls.cert", "listen.tls.key", "listen.tls.client-ca"}),
        # A certificate and its key go together, and only a target can be told who the client is.
        ("connect.toml", {"connect.server", "connect.tls.cert", "connect.tls.key", "forwards.app.target"} | FORWARDS),
    ],
)
def test_only_the_keys_that_an_example_calls_needed_are(file: str, needed: set[str], tmp_path: Path) -> None:
    make_keys(tmp_path)
    for name, copies in {"cert": ("clients", "ca", "client"), "key": ("client-key",)}.items():
        for copy in copies:
            shutil.copy(tmp_path / f"{name}.pem", tmp_path / f"{copy}.pem")
    (tmp_path / "users.toml").write_text("[users.bob]\n")
    (tmp_path / "token").touch(0o600)
    text = (FORWARDER / file).read_text()
    path = tmp_path / file
    wanted = set()
    for key in [key for key, _, _ in leaves(tomlkit.parse(text))]:
        document = tomlkit.parse(text)
        ((table, name),) = [(table, name) for one, table, name in leaves(document) if one == key]
        del table[name]
        path.write_text(tomlkit.dumps(document))
        if inspect(path).problems:
            wanted.add(key)
    path.write_text(text)
    assert inspect(path).problems == ()
    assert wanted == needed
