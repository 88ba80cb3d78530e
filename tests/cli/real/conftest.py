"""Servers that several files use."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..program import COMMAND
from ._nginx import Nginx, serving_nginx
from ._programs import CLEAN, require

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="muxpy-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx, with TLS by a certificate that `muxpy keygen` made."""
    require("nginx curl", "nginx", "curl")
    folder = tmp_path_factory.mktemp("nginx")
    subprocess.run([*COMMAND, "keygen", str(folder / "tls")], env=CLEAN, check=True, capture_output=True)
    with serving_nginx(folder, folder / "tls", ipv6=_has_ipv6()) as server:
        yield server


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
