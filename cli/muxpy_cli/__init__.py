"""The `muxpy` program: port forwarding and a demo on top of the muxpy library."""

import sys

from ._standard import prepare

__all__ = ["main"]

_EXTRA = {
    "click",
    "cryptography",
    "h11",
    "msgspec",
    "prometheus_client",
    "rich",
    "tomlkit",
}  # what the extra `cli` brings; the library itself does without


def main() -> None:
    """Run the program with the arguments of this process, and exit."""
    try:
        prepare()
        code = _run()
    except KeyboardInterrupt:  # while it is still being loaded
        code = 130
    sys.exit(code)


def _run() -> int:
    try:
        from ._main import run

        return run()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        hint = "install the extra `cli`; in a clone of muxpy: pip install '.[cli]'"
        print(f"muxpy: the program needs {missing}: {hint}", file=sys.stderr)
        return 1
