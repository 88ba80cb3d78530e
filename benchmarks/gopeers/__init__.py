"""The benchmark workloads over three Go multiplexers, muxado, hashicorp's yamux and xtaci's smux, and Go's server of
HTTP/2, a program of its own in `http2`.

`build` makes one program for each; main.go says how they are called and what they send, jobs.go what a job is, and
each mux's file how it is set and why. The packages are taken from a Go workspace, where Debian's packages put them, so
that nothing is downloaded. Go 1.19 or newer is needed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["build", "go_version"]

SOURCES = Path(__file__).parent
DEBIAN_WORKSPACE = Path("/usr/share/gocode")


@dataclass(frozen=True, slots=True)
class _Mux:
    tag: str  # the build tag, and what the program is told to serve or run
    package: str  # the folder that must be in the workspace
    debian: str  # the Debian package that brings it
    folder: str = "."  # where its program is


_MUXES = {
    "go-muxado": _Mux(
        "muxado", "github.com/inconshreveable/muxado/proto/ext", "golang-github-inconshreveable-muxado-dev"
    ),
    "go-yamux": _Mux("yamux", "github.com/hashicorp/yamux", "golang-github-hashicorp-yamux-dev"),
    "go-smux": _Mux("smux", "github.com/xtaci/smux", "golang-github-xtaci-smux-dev"),
    "go-http2": _Mux("http2", "golang.org/x/net/http2", "golang-golang-x-net-dev", "http2"),
}


def build(folder: Path) -> dict[str, Path | str]:
    """Build "go-muxado", "go-yamux", "go-smux" and "go-http2" into `folder`, each under its name.

    The value of each is the program's path, or a sentence that says why it is missing. Go's cache is in `folder` too,
    unless GOCACHE names a place: a second build into the same folder takes almost no time.
    Builds may run at the same time.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _build_one(name, mux, folder) for name, mux in _MUXES.items()}


def go_version() -> str | None:
    """Return Go's version, such as "go1.19.8", or None if there is no Go that runs."""
    go = shutil.which("go")
    if go is None:
        return None
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _build_one(name: str, mux: _Mux, folder: Path) -> Path | str:
    go = shutil.which("go")
    if go is None:
        return "Go is not installed (Debian: golang-go)"
    workspace = _workspace(mux)
    if workspace is None:
        return f"the Debian package {mux.debian} is not installed"

    env = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(workspace),
        "GOFLAGS": "",
        "CGO_ENABLED": "0",  # no C compiler is needed
        "GOCACHE": os.environ.get("GOCACHE") or str(folder / "cache"),
    }
    # Each build makes a file of its own, and a rename puts it in place whole.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / name
        command = [go, "build", "-tags", mux.tag, "-o", str(made), "."]
        done = subprocess.run(command, cwd=SOURCES / mux.folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            return f"go build failed: {lines[-1]}"
        return made.replace(folder / name)


def _workspace(mux: _Mux) -> Path | None:
    """Return the Go workspace that has the package, if there is one."""
    named = [Path(entry) for entry in os.environ.get("GOPATH", "").split(os.pathsep) if entry]
    for workspace in (*named, Path.home() / "go", DEBIAN_WORKSPACE):
        if (workspace / "src" / mux.package).is_dir():
            return workspace
    return None
