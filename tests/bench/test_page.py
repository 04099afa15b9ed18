"""The page on performance says what was measured, not what somebody remembers."""

from benchmarks import plot
from benchmarks.figures import Results
from benchmarks.page import PAGE, filled


def test_the_page_has_the_figures_of_the_kept_results() -> None:
    page = PAGE.read_text("utf-8")
    assert page == filled(page, Results.read()), "run: .venv/bin/python -m benchmarks.page"


def test_the_pictures_are_of_the_kept_results() -> None:
    results = Results.read()
    for name, draw in (("drain", plot.drain), ("slow", plot.slow), ("latency", plot.latency)):
        assert (plot.IMAGES / f"{name}.svg").read_text("utf-8") == draw(results), "run: python -m benchmarks.plot"
