"""The names that users meet: all are there, and all say what they are."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import subprocess
import sys

import pytest

from muxpy import http


def test_the_list_of_names_is_whole() -> None:
    assert http.__all__ == sorted(http.__all__)
    public = {name for name in vars(http) if not name.startswith("_")}
    assert public == set(http.__all__)


def described(thing: object) -> list[tuple[str, object]]:
    """What stands in the class of a thing, and is public."""
    members = vars(thing) if inspect.isclass(thing) else {}
    return [(name, member) for name, member in members.items() if not name.startswith("_")]


@pytest.mark.parametrize("name", sorted(http.__all__))
def test_every_name_is_described(name: str) -> None:
    thing = getattr(http, name)
    assert inspect.getdoc(thing)
    for member_name, member in described(thing):
        if inspect.isfunction(member) or isinstance(member, property):
            assert inspect.getdoc(member), f"{name}.{member_name}"


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        (http.Client, ["authority", "scheme", "session"]),
        (http.Headers, ["fields", "raw"]),
        (http.Request, ["authority", "content_length", "headers", "method", "path", "protocol", "scheme"]),
        (http.Config, [field.name for field in dataclasses.fields(http.Config)]),
    ],
    ids=["client", "headers", "request", "config"],
)
def test_help_shows_what_they_have_with_a_text(kind: type, attributes: list[str]) -> None:
    shown = pydoc.plain(pydoc.render_doc(kind))
    for name in attributes:
        text = inspect.getdoc(getattr(kind, name))
        assert text, name
        assert f" |  {name}\n |      {text.splitlines()[0]}" in shown


def test_help_of_the_module_begins_with_how_it_is_used() -> None:
    shown = pydoc.plain(pydoc.render_doc(http))
    start = shown.index("DESCRIPTION")
    assert "await http.serve(" in shown[start : start + 1000]
    assert "http.connect(" in shown[start : start + 1000]


def test_it_is_loaded_only_when_somebody_asks_for_it() -> None:
    code = "import sys, muxpy; assert not [name for name in sys.modules if name.startswith('muxpy.http')]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_calls_everything_as_its_users_do() -> None:
    assert [name for name in http.__all__ if getattr(http, name).__name__ != name] == []
