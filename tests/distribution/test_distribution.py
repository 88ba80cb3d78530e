"""What is built can be published and installed, and works in an environment that has nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

from .environments import MUXPY, OWN, ROOT, Environment, copy_source, pythons

if TYPE_CHECKING:
    from pathlib import Path

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STEM = f"muxpy_trio-{VERSION}"


def succeed(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what `python -m build` makes: a source distribution, and a wheel that is built from that."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, copy_source(source))
    return target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip wheel .` makes."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    succeed(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", target, copy_source(source))
    return target / f"{STEM}-py3-none-any.whl"


def test_what_is_built_can_be_published(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    assert names == {f"{STEM}.tar.gz", f"{STEM}-py3-none-any.whl"}
    checked = succeed(sys.executable, "-m", "twine", "check", "--strict", *sorted(built.iterdir()))
    assert checked.count("PASSED") == 2


def test_the_wheel_has_the_library_and_the_program_and_nothing_else(built: Path, wheel: Path) -> None:
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "muxpy").rglob("*.py")}
    sources |= {path.relative_to(ROOT / "cli").as_posix() for path in (ROOT / "cli" / "muxpy_cli").rglob("*.py")}
    for one in (wheel, built / wheel.name):
        with zipfile.ZipFile(one) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == sources | {"muxpy/py.typed", "muxpy_cli/py.typed"}


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f"{STEM}.dist-info/METADATA"))
        scripts = archive.read(f"{STEM}.dist-info/entry_points.txt").decode()
        assert f"{STEM}.dist-info/licenses/LICENSE" in archive.namelist()
    assert (metadata["Name"], metadata["Version"], metadata["Requires-Python"]) == (MUXPY, VERSION, ">=3.11")
    assert [one for one in metadata.get_all("Requires-Dist", []) if "extra" not in one] == ["trio>=0.27"]
    assert "cli" in metadata.get_all("Provides-Extra", [])  # as the program's hint about it says
    assert scripts == "[console_scripts]\nmuxpy = muxpy_cli:main\n"


@pytest.mark.parametrize("python", sorted(pythons()))
def test_it_works_where_nothing_else_is_installed(wheel: Path, tmp_path: Path, python: str) -> None:
    """First the library, then with its extra the program."""
    environment = Environment(tmp_path / "environment", pythons()[python])
    environment.install_alone(wheel)
    for extra in (False, True):
        environment.link("cli" if extra else None, compiled=python == OWN)
        environment.check(VERSION, extra=extra)


def test_nothing_says_to_install_what_another_project_has_on_pypi() -> None:
    places = [ROOT, *(ROOT / name for name in ("benchmarks", "cli", "docs", "examples", "muxpy", "tests"))]
    files = [path for place in places for path in (place.rglob("*") if place != ROOT else place.glob("*"))]
    kept = [path for path in files if path.suffix in {"", ".md", ".py", ".toml"} and path.is_file()]
    wrong = re.compile(r"install (-\S+ )*['\"]?muxpy\b(?!-trio)|['\" ]muxpy\[|version\(['\"]muxpy['\"]\)")
    assert [path for path in kept if wrong.search(path.read_text(errors="replace"))] == []


def test_make_package_builds_checks_and_tries_it() -> None:
    commands = succeed("make", "--dry-run", "--no-print-directory", "-C", ROOT, "package")
    parts = ("-m build", "-m twine check --strict dist/*", "-m tests.distribution.environments dist/*.whl")
    places = [commands.index(part) for part in parts]
    assert places == sorted(places)
