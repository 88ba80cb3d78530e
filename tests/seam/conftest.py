"""Every session of these tests has the second core."""

from pathlib import Path

import pytest

from muxpy.proto import Core
from tests.helpers.shell import leave_out

from .core import SeamCore

CORE: type[Core] = SeamCore  # mypy proves that it is one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    leave_out(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def _second_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy._open.Connection", CORE)
    monkeypatch.setattr("muxpy._open.by_stream_type", lambda _: {})  # it has no streams of extensions
