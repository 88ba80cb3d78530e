"""Tables of long runs for docs/reliability.md and docs/security.md: `python -m tests.documented`, after those of RUNS.

No figure there is typed by hand. Each run keeps its table in build/; this puts them into the pages' marked places,
and keeps them beside the first, so that a test can see that they belong together.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FOLDER", "PAGES", "filled", "keep", "kept"]

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build"
PAGES: Final = (ROOT / "docs" / "reliability.md", ROOT / "docs" / "security.md")
FOLDER: Final = PAGES[0].with_suffix("")
RUNS: Final = {
    "chaos": "make chaos",
    "soak": "make soak",
    "fuzz": "make fuzz",
    "restarts": "make restarts",
    "memory": "python -m tests.adversary",
    "turns": "python -m tests.adversary",
    "door": "python -m tests.door",
    "kills": "make kills",
    "scale": "python -m tests.cli.scale",
}
"""What makes each table."""
PLOT: Final = "soak.svg"

WIDTH: Final = 120
"""Columns of the pages' paragraphs; tables cannot be broken."""
PLACE: Final = re.compile(r"(<!-- results: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(run: str, what: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """Keep a run's table. `what` says in a few words how long it was, and with which seed."""
    folder = BUILD / run
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    table = {"what": f"{what}, {date}", "head": list(head), "rows": {name: list(row) for name, row in rows.items()}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        print(f"the table could not be kept: {error}", file=sys.stderr)


def kept() -> dict[str, dict[str, Any]]:
    """The tables beside the pages."""
    return {run: json.loads((FOLDER / f"{run}.json").read_text()) for run in RUNS}


def filled(page: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with all its places filled."""

    def put(place: re.Match[str]) -> str:
        return f"{place[1]}\n{_table(tables[place['name']])}\n{place[3]}"

    return PLACE.sub(put, page)


def _table(table: Mapping[str, Any]) -> str:
    head = ["", *table["head"]]
    rows = [head, ["---", *("---:" for _ in table["head"])], *([name, *row] for name, row in table["rows"].items())]
    return f"{fill(table['what'] + ':', WIDTH, break_on_hyphens=False)}\n\n" + "".join(
        f"| {' | '.join(row)} |\n" for row in rows
    )


def main() -> int:
    """Put the latest runs into the pages."""
    latest = {run: BUILD / run / "result.json" for run in RUNS}
    absent = [run for run in RUNS if not latest[run].is_file() and not (FOLDER / f"{run}.json").is_file()]
    if absent:
        print(f"there is no whole run yet of: {', '.join(RUNS[run] for run in absent)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for run, path in latest.items():
        if path.is_file():
            shutil.copy(path, FOLDER / f"{run}.json")
    if (BUILD / "soak" / PLOT).is_file():
        shutil.copy(BUILD / "soak" / PLOT, FOLDER)
    for page in PAGES:
        page.write_text(filled(page.read_text(), kept()))
        print(f"{page} is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
