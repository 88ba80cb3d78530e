"""Programs of ours in Go, built where they are needed out of packages that Debian has."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

__all__ = ["GoBuildError", "GoProgram"]


class GoBuildError(Exception):
    """Something is missing, or the build failed."""


@dataclass(frozen=True)
class GoProgram:
    """A program in the folder `sources`, which stands on one package of others."""

    name: str
    sources: Path
    package: str
    """The package, as Go imports it."""
    part: str
    """A folder of it that must be there."""
    debian: str
    """Debian's name for it."""

    def workspace(self) -> Path | None:
        """The Go workspace that holds the package, if there is one."""
        named = [Path(entry) for entry in os.environ.get("GOPATH", "").split(os.pathsep) if entry]
        for workspace in (*named, Path.home() / "go", Path("/usr/share/gocode")):
            if (workspace / "src" / self.package / self.part).is_dir():
                return workspace
        return None

    def why_missing(self) -> str | None:
        """Say what must be installed before this can be built; None if nothing is missing."""
        needed = (("golang-go", shutil.which("go")), (self.debian, self.workspace()))
        missing = [package for package, found in needed if found is None]
        return f"the program {self.name} cannot be built: apt install {' '.join(missing)}" if missing else None

    def require(self) -> None:
        """Skip the test if this cannot be built; fail it instead where MUXPY_REQUIRE_LIVE_PEERS is 1."""
        reason = self.why_missing()
        if reason is None:
            return
        if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    @lru_cache  # noqa: B019 - there are two of them, and they live as long as the process
    def build(self) -> Path:
        """Return the path of the program, built first if these very sources have not been built on this machine.

        Raises GoBuildError if something is missing or the build fails.
        """
        go, workspace = shutil.which("go"), self.workspace()
        if go is None or workspace is None:
            raise GoBuildError(self.why_missing())
        folder = Path(tempfile.gettempdir()) / f"muxpy-{self.name}-{os.getuid()}-{self._digest(go, workspace)}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise GoBuildError(f"{folder} belongs to somebody else: remove it")
        program = folder / self.name
        if program.exists():
            return program

        # Several processes may want it together: one builds it, and the others wait. A rename puts it in place whole.
        with (folder / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder) as scratch:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if program.exists():
                return program
            made = Path(scratch) / self.name
            env = {
                **os.environ,
                "GO111MODULE": "off",
                "GOPATH": str(workspace),
                "GOFLAGS": "",
                "CGO_ENABLED": "0",  # no C compiler is needed
                "GOCACHE": os.environ.get("GOCACHE") or f"{scratch}/cache",
            }
            command = [go, "build", "-o", str(made), "."]
            done = subprocess.run(command, cwd=self.sources, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise GoBuildError(f"go build failed:\n{done.stderr}")
            made.replace(program)
        return program

    def _digest(self, go: str, workspace: Path) -> str:
        version = subprocess.run([go, "version"], capture_output=True, check=True).stdout
        digest = hashlib.sha256(version)
        for root in (self.sources, workspace / "src" / self.package):
            for source in sorted(root.rglob("*.go")):
                digest.update(f"{source.relative_to(root)}\n".encode())
                digest.update(source.read_bytes())
        return digest.hexdigest()[:16]
