"""Where the programs of others are, which some measures need."""

from __future__ import annotations

import os
import shutil
from typing import Final

__all__ = ["absent_tools", "find_tool"]

SERVER_PLACES: Final = "/usr/sbin:/usr/local/sbin:/sbin"
"""Where servers such as sshd and nginx are installed, which is seldom on a user's PATH."""


def find_tool(name: str) -> str | None:
    """The path of a program; None if this machine does not have it."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SERVER_PLACES}")


def absent_tools(names: tuple[str, ...], packages: str) -> str | None:
    """Which of the programs are missing, and the Debian packages that have them; None if none is."""
    absent = [name for name in names if find_tool(name) is None]
    return f"{', '.join(absent)} not found (Debian: apt install {packages})" if absent else None
