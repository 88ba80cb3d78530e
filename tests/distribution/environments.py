"""Fresh environments with what was built in them: `python -m tests.distribution.environments WHEEL`, by `make package`.

Tests fill them without a network: of what the wheel asks for, they link what is installed beside the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MUXPY", "OWN", "ROOT", "Environment", "copy_source", "pythons"]

ROOT: Final = Path(__file__).parents[2]
MUXPY: Final = "muxpy-trio"
OWN: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST: Final = (3, 11)
PURE_ONLY: Final = {"cffi", "cryptography", "msgspec"}
"""What is compiled for one version of Python; only `muxpy keygen`, --tls-cert and `muxpy call` need it."""
HINT: Final = r"muxpy: the program needs \w+: install the extra `cli`; in a clone of muxpy: pip install '\.\[cli\]'\n"
ECHO: Final = """
import trio, muxpy
from trio.testing import memory_stream_pair

async def main():
    here, there = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        async def serve():
            async with muxpy.open_session(there, client=False) as session:
                async for stream in session:
                    await stream.send_all(await stream.receive_some())
                    await stream.aclose()
        nursery.start_soon(serve)
        async with muxpy.open_session(here, client=True) as session, await session.open_stream() as stream:
            await stream.send_all(b"hello")
            print(await stream.receive_some())

trio.run(main)
"""


def copy_source(to: Path) -> Path:
    """What a distribution is made from, in a folder of its own: a build leaves files beside its source."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, to)
    for name in ("muxpy", "cli"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return to


@cache
def pythons() -> dict[str, str]:
    """The Pythons that muxpy runs on, by version; this one, those on PATH, and those of pyenv."""
    found = {OWN: sys.executable}
    names = [shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], 20)]
    for path in filter(None, [*names, *map(str, Path.home().glob(".pyenv/versions/*/bin/python3"))]):
        script = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)
        version = done.stdout.strip()
        if done.returncode == 0 and tuple(map(int, version.split("."))) >= OLDEST:
            found.setdefault(version, path)
    return found


class Environment:
    """A virtual environment without anything in it, not even pip."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self._variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._variables["XDG_RUNTIME_DIR"] = str(folder)
        self._succeed(python, "-m", "venv", "--without-pip", folder)
        self.python = folder / "bin" / "python"

    def install(self, wheel: Path, extra: str | None) -> None:
        """The wheel, and what pip finds that it needs."""
        self._pip("install", "--quiet", f"{wheel.resolve()}[{extra}]" if extra else wheel)
        self._pip("check")

    def install_alone(self, wheel: Path) -> None:
        """The wheel, without what it needs."""
        self._pip("install", "--quiet", "--no-deps", "--no-index", wheel)

    def link(self, extra: str | None, *, compiled: bool) -> None:
        """Links to what it asks for and is installed beside this: it takes no network."""
        (packages,) = self.folder.glob("lib/python*/site-packages")
        (metadata,) = packages.glob("muxpy_trio-*.dist-info")
        for name in _closure(Distribution.at(metadata), extra):
            if compiled or name not in PURE_ONLY:
                for path in _tops(distribution(name)):
                    with suppress(FileExistsError):
                        (packages / path.name).symlink_to(path)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A command of it, in its folder."""
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.folder,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def check(self, version: str, *, extra: bool) -> None:
        """The library works; the program too, or says what it needs."""
        done = self.run("python", "-c", ECHO)
        assert (done.stdout, done.stderr) == ("b'hello'\n", "")
        done = self.run("muxpy", "--version")
        if extra:
            assert (done.returncode, done.stdout, done.stderr) == (0, f"muxpy {version}\n", "")
            done = self.run("muxpy", "demo", "--size", "1MiB", "--requests", "20")
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            assert (done.returncode, done.stdout) == (1, "")
            assert re.fullmatch(HINT, done.stderr)

    def _pip(self, *arguments: str | Path) -> None:
        self._succeed(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python, *arguments)

    def _succeed(self, *command: str | Path) -> None:
        done = subprocess.run(command, env=self._variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def _closure(wanted: Distribution, extra: str | None) -> set[str]:
    """The names of all that it needs, and what those need."""
    found: set[str] = set()
    waiting = list(_needs(wanted, {extra or ""}))
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += _needs(distribution(name), requirement.extras or {""})
    return found


def _needs(one: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, one.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _tops(one: Distribution) -> set[Path]:
    """Where its packages, modules and metadata stand."""
    tops = {path.parts[0] for path in one.files or () if path.parts[0] not in {"..", "__pycache__"}}
    return {Path(str(one.locate_file(top))) for top in tops}


def main(wheels: Sequence[str]) -> int:
    """Install each wheel by pip for every Python that is here, with and without the extra, and try it."""
    for wheel in map(Path, wheels):
        version = wheel.name.split("-")[1]
        for name, python in sorted(pythons().items()):
            for extra in (False, True):
                with tempfile.TemporaryDirectory(prefix="muxpy-package-") as folder:
                    environment = Environment(Path(folder), python)
                    environment.install(wheel, "cli" if extra else None)
                    environment.check(version, extra=extra)
                print(f"Python {name}: {wheel.name} works {'with' if extra else 'without'} its extra")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
