"""What `help` shows of the public classes: their attributes, each with a text, and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import subprocess
import sys

import pytest

import muxpy

CLASSES = [one for name in muxpy.__all__ if inspect.isclass(one := getattr(muxpy, name))]
RECORDS = [one for one in CLASSES if dataclasses.is_dataclass(one)]


def help_of(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("record", RECORDS)
def test_each_field_of_a_record_has_its_text(record: type) -> None:
    shown = help_of(record)
    for field in dataclasses.fields(record):
        text = inspect.getdoc(getattr(record, field.name))
        assert text, field.name
        assert text.splitlines()[0] in shown


def test_the_text_is_that_below_the_field() -> None:
    shown = help_of(muxpy.SessionConfig)
    assert " |  linger_timeout\n |      Seconds, after an error, that the last words (GOAWAY and its reason)" in shown
    assert " |  drain_timeout\n |      Seconds that `aclose`, the graceful shutdown, gives open streams" in shown


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (muxpy.Session, ["client", "config", "end", "going_away", "local_address", "remote_address", "tls"]),
        (muxpy.Stream, ["id", "local_address", "priority", "remote_address", "session", "stream_type"]),
        (muxpy.SessionListener, ["local_address", "remote_address", "session"]),
        (muxpy.Heartbeat, ["beating"]),
        (muxpy.TraceFile, ["path"]),
        (muxpy.SessionGroup, []),
    ],
)
def test_each_attribute_is_there_with_its_text(kind: type, names: list[str]) -> None:
    attributes = [
        (name, member)
        for name, member in inspect.getmembers(kind, lambda member: isinstance(member, property))
        if not name.startswith("_")
    ]
    assert [name for name, _ in attributes] == names
    assert all(inspect.getdoc(member) for _, member in attributes)


def test_a_group_shows_nothing_that_is_not_for_its_users() -> None:
    assert [name for name in dir(muxpy.SessionGroup) if not name.startswith("_")] == []


def test_without_texts_or_source_there_is_help_all_the_same() -> None:
    code = "import inspect, muxpy; print(inspect.getdoc(muxpy.SessionConfig.drain_timeout)); help(muxpy.SessionConfig)"
    without_texts = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert "drain_timeout" in without_texts.stdout
