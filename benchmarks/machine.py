"""What the figures were measured on, and with."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .tools import find_tool

__all__ = ["describe"]


def describe() -> dict[str, str | int | None]:
    """The machine, and the versions of the programs that ran; None for a program that is missing."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": version("trio"),
        "asyncssh": _package("asyncssh"),
        "openssl": ssl.OPENSSL_VERSION,
        "openssh": _first_line("ssh", "-V"),
        "go": _first_line("go", "version"),
        "iperf3": _first_line("iperf3", "--version"),
        "wrk": _first_line("wrk", "-v", status=1),
        "nginx": _first_line("nginx", "-v"),
        "nghttp2": _first_line("nghttpd", "--version"),
        **{
            name: _package(name)
            for name in (
                *("granian", "h2corn", "hypercorn", "uvicorn", "zttp", "httpx", "h2", "hpack"),
                *("uvloop", "msgspec", "grpcio", "grpclib", "aiohttp", "httptools", "pycapnp", "pyzmq", "rpyc"),
            )
        },
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _package(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _first_line(name: str, *arguments: str, status: int = 0) -> str | None:
    """The first line that a program prints; wrk prints its version and exits with the `status` of an error."""
    try:
        command = (find_tool(name) or name, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode != status:
        return None
    return (done.stdout or done.stderr).strip().partition("\n")[0]
