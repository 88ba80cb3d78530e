"""Put the figures of a run into docs/performance.md: `python -m benchmarks.document build/bench`, or build/bench/part
for those of whole groups; the others keep the figures that they have.

No figure there is typed by hand. The page has a marked place for each group of measures; this fills them from
results.json, and keeps that file and the plots beside the page, so that a test can see that they belong together.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .measures import GROUPS, MEASURES
from .outcome import Outcome
from .plots import PLOTS
from .report import rows
from .units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .model import Entry, Figure

__all__ = ["PAGE", "filled", "load", "main"]

PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
FOLDER: Final = PAGE.with_suffix("")
"""Where the page's plots and samples are."""

WIDTH: Final = 120
"""Columns of the page's paragraphs; tables cannot be broken."""
PLACE: Final = re.compile(r"(<!-- results: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or not (source := Path(arguments[0]) / "results.json").is_file():
        print("usage: python -m benchmarks.document FOLDER, one with the results.json of a whole run", file=sys.stderr)
        return 2
    results = json.loads(source.read_text())
    groups = {part["group"] for part in results["measures"]}
    expected = {measure.name for measure in MEASURES if measure.group in groups}
    if absent := expected - {part["name"] for part in results["measures"]}:
        print(f"not a whole run, {len(absent)} measures are missing: {', '.join(sorted(absent))}", file=sys.stderr)
        return 2
    kept = FOLDER / "results.json"
    if groups != set(GROUPS):
        results = joined(json.loads(kept.read_text()), results)
    FOLDER.mkdir(exist_ok=True)
    if not source.parent.samefile(FOLDER):
        for plot, (group, _, _) in PLOTS.items():
            if group in groups:
                shutil.copy(source.parent / f"{plot}.svg", FOLDER)
    kept.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(filled(PAGE.read_text(), results))
    print(f"{PAGE} is up to date")
    return 0


def joined(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The results of a whole run, with those of later runs of some groups in place of its own."""
    later = {measure["name"]: measure for measure in part["measures"]}
    old = {measure["name"]: measure for measure in whole["measures"]}
    measures = [later.get(each.name) or old.get(each.name) for each in MEASURES]
    dates = {key: date for key, date in whole["machine"].items() if key.startswith("date")}
    later_date = "{} ({rounds} rounds of {seconds:g} s)".format(part["machine"]["date"], **part["options"])
    dates |= {f"date of {group}": later_date for group in sorted({each["group"] for each in part["measures"]})}
    known = {**dates, **{key: value for key, value in part["machine"].items() if not key.startswith("date")}}
    return {"machine": known, "options": whole["options"], "measures": [each for each in measures if each is not None]}


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with all its places filled."""
    outcomes = load(results)

    def fill(place: re.Match[str]) -> str:
        name = place["name"]
        lines = _machine(results) if name == "machine" else _group([o for o in outcomes if o.measure.group == name])
        return "".join((place[1], "\n", *(f"{line}\n" for line in lines), "\n", place[3]))

    return PLACE.sub(fill, page)


def load(results: dict[str, Any]) -> list[Outcome]:
    """The outcomes of a run, from its JSON."""
    known = {measure.name: measure for measure in MEASURES}
    return [
        Outcome(known[part["name"]], part["samples"], part["missing"], part["failed"]) for part in results["measures"]
    ]


def _machine(results: dict[str, Any]) -> Iterator[str]:
    yield from _table(("", ""), ((key, str(value)) for key, value in results["machine"].items() if value is not None))
    yield ""
    medians = (
        "Medians of {rounds} rounds of {seconds:g} s; of one round where each takes longer, which is so for the links "
        "(10 s at 100 ms, 5 s otherwise) and for the memory of streams."
    ).format(**results["options"])
    yield textwrap.fill(medians, WIDTH)


def _group(outcomes: list[Outcome]) -> Iterator[str]:
    """Those that come to one figure share a table, those that come to several have one each. A rate stands in the
    shared one even where there is more to say."""
    shared = [outcome for outcome in outcomes if len(_shared(outcome)) == 1]
    if shared or not outcomes:
        entries = list(dict.fromkeys(entry.name for outcome in shared for entry in outcome.measure.entries))
        heads = ("", *entries, "target")
        yield from _table(heads, (_matrix_row(outcome, entries) for outcome in shared))
    own = [(outcome, figures) for outcome in outcomes if (figures := _own(outcome))]
    for place, (outcome, figures) in enumerate(own):
        if shared or place:
            yield ""
        yield from _own_table(outcome, figures)


def _shared(outcome: Outcome) -> Sequence[Figure]:
    figures = outcome.measure.figures
    return figures[:1] if len(figures) == 1 or figures[0].key == "rate" else ()


def _own(outcome: Outcome) -> Sequence[Figure]:
    return outcome.measure.figures[len(_shared(outcome)) :]


def _matrix_row(outcome: Outcome, entries: Iterable[str]) -> list[str]:
    """One measure: a cell for each entry, with how many times as much the first has."""
    label = outcome.measure.figures[0].label
    first = [row for row in rows(outcome) if row.figure == label]
    cells = {row.entry: f"{row.median} ({row.ratio})" if row.ratio else row.median for row in first}
    return [outcome.measure.name, *(cells.get(entry, "") for entry in entries), _verdicts(outcome, _shared(outcome))]


def _own_table(outcome: Outcome, figures: Sequence[Figure]) -> Iterator[str]:
    """One measure: a line for each entry; without the last column if nothing is asked of these figures."""
    heads = (outcome.measure.name, *(figure.label for figure in figures), "target")
    lines = [_entry_row(outcome, entry, figures) for entry in outcome.measure.entries]
    width = len(heads) if any(line[-1] for line in lines) else len(heads) - 1
    yield from _table(heads[:width], [line[:width] for line in lines])


def _entry_row(outcome: Outcome, entry: Entry, figures: Sequence[Figure]) -> list[str]:
    medians = [(outcome.median(entry.name, figure.key), figure.unit) for figure in figures]
    cells = [show(median, unit) if median is not None else "" for median, unit in medians]
    return [entry.name, *cells, _verdicts(outcome, figures, entry.name)]


def _verdicts(outcome: Outcome, figures: Sequence[Figure], entry: str | None = None) -> str:
    """The targets of these figures and whether they are reached, for all entries or one."""
    keys = {figure.key for figure in figures}
    texts = []
    for verdict in outcome.verdicts():
        if entry in (None, verdict.target.entry) and verdict.target.figure in keys:
            whose = outcome.whose(verdict) if entry is None else ""
            beside = f" {verdict.beside}" if verdict.beside else ""
            texts.append(f"{whose}{verdict.text}{beside}: {'yes' if verdict.reached else '**no**'}")
    return ", ".join(texts)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for cells in lines:
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
