"""Tables of long runs for docs/reliability.md: `python -m tests.documented`, after `make chaos`, `soak` and `fuzz`.

No figure there is typed by hand. Each run keeps its table in build/; this puts them into the page's marked places, and
keeps them beside it, so that a test can see that they belong together.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FOLDER", "PAGE", "filled", "keep", "kept"]

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build"
PAGE: Final = ROOT / "docs" / "reliability.md"
FOLDER: Final = PAGE.with_suffix("")
RUNS: Final = ("chaos", "soak", "fuzz")
PLOT: Final = "soak.svg"

PLACE: Final = re.compile(r"(<!-- results: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(run: str, what: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """Keep a run's table. `what` says in a few words how long it was, and with which seed."""
    folder = BUILD / run
    folder.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    table = {"what": f"{what}, {date}", "head": list(head), "rows": {name: list(row) for name, row in rows.items()}}
    (folder / "result.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")


def kept() -> dict[str, dict[str, Any]]:
    """The tables beside the page."""
    return {run: json.loads((FOLDER / f"{run}.json").read_text()) for run in RUNS}


def filled(page: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with all its places filled."""

    def fill(place: re.Match[str]) -> str:
        return f"{place[1]}\n{_table(tables[place['name']])}\n{place[3]}"

    return PLACE.sub(fill, page)


def _table(table: Mapping[str, Any]) -> str:
    head = ["", *table["head"]]
    rows = [head, ["---", *("---:" for _ in table["head"])], *([name, *row] for name, row in table["rows"].items())]
    return f"{table['what']}:\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    """Put the latest runs into the page."""
    FOLDER.mkdir(exist_ok=True)
    for run in RUNS:
        latest = BUILD / run / "result.json"
        if latest.is_file():
            shutil.copy(latest, FOLDER / f"{run}.json")
        if not (FOLDER / f"{run}.json").is_file():
            print(f"there is no run yet: make {run}", file=sys.stderr)
            return 2
    if (BUILD / "soak" / PLOT).is_file():
        shutil.copy(BUILD / "soak" / PLOT, FOLDER)
    PAGE.write_text(filled(PAGE.read_text(), kept()))
    print(f"{PAGE} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
