"""What the tests against programs of others share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from .tls import Tls, make_tls

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["clear", "tls"])
def tls(request: pytest.FixtureRequest, certificate: Tls) -> Tls | None:
    """With and without."""
    return certificate if request.param == "tls" else None


@pytest.fixture(params=["clear_behind", "tls_behind"])
def behind(request: pytest.FixtureRequest, certificate: Tls) -> Tls | None:
    """The same between a proxy and what is behind it."""
    return certificate if request.param == "tls_behind" else None


@pytest.fixture(autouse=True)
def no_errors_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever happens with an honest peer, muxpy has nothing to complain of."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
