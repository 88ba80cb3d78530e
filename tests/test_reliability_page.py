"""The figures of docs/reliability.md are those of the runs kept beside it."""

from tests.documented import FOLDER, PAGE, PLOT, RUNS, filled, kept


def test_the_page_has_the_figures_of_its_runs() -> None:
    page = PAGE.read_text()
    assert filled(page, kept()) == page
    assert page.count("<!-- results: ") == len(RUNS)


def test_its_plot_is_there() -> None:
    assert (FOLDER / PLOT).stat().st_size > 10_000
