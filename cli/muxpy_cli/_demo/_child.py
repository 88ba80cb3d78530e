"""`muxpy` as a process of the demo, which ends when the demo does: python -m muxpy_cli._demo._child ARGUMENTS"""

from __future__ import annotations

import os
import threading

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """End this process at the end of its standard input: a pipe that the demo holds, however the demo ends."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    try:
        while os.read(0, 1):  # not through sys.stdin: a thread in there would keep the interpreter from ending
            pass
    finally:
        os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    from .. import main

    main()
