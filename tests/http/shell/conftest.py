"""Every session of these tests is one of HTTP/2, and its streams are tunnels."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import muxpy
from muxpy.http import ErrorCode
from muxpy.http._session import prepare_tls
from tests.helpers.pairs import client_context, server_context
from tests.helpers.shell import leave_out
from tests.helpers.tunnels import TunnelSession, put_together


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    leave_out(items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def _tunnels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("muxpy._open._put_together", put_together)
    monkeypatch.setattr("muxpy.http._session.HttpSession", TunnelSession)
    monkeypatch.setattr(muxpy, "ErrorCode", ErrorCode)  # the names are the same, and the numbers are not
    contexts = client_context(), server_context()
    for context in contexts:
        prepare_tls(context)
    yield
    for context in contexts:
        context.set_alpn_protocols([])
