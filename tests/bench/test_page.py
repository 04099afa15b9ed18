"""The page on performance says what was measured, not what somebody remembers."""

import re
from typing import Any

import attrs

from benchmarks import plot
from benchmarks.figures import Results
from benchmarks.goals import GOALS, Goal, Measured
from benchmarks.page import PAGE, PART, filled
from benchmarks.peers import PEERS
from benchmarks.scenarios.names import SCENARIOS
from benchmarks.tables import PARTS

BY_HAND = re.compile(r"<!-- by hand: .*?<!-- end -->", re.DOTALL)
FIGURE = re.compile(r"\d[\d.,]* ?(µs|×|jobs/s|requests/s|MiB|MB\b)")


def test_the_page_has_the_figures_of_the_kept_results() -> None:
    page = PAGE.read_text("utf-8")
    assert page == filled(page, Results.read()), "run: .venv/bin/python -m benchmarks.page"


def test_the_page_has_every_part_once() -> None:
    assert sorted(found[2] for found in PART.finditer(PAGE.read_text("utf-8"))) == sorted(PARTS)


def test_nothing_but_the_filled_parts_and_those_marked_as_written_by_hand_has_measured_figures() -> None:
    assert not FIGURE.findall(BY_HAND.sub("", PART.sub("", PAGE.read_text("utf-8"))))


def test_the_pictures_are_of_the_kept_results() -> None:
    results = Results.read()
    for name, draw in (("drain", plot.drain), ("slow", plot.slow), ("latency", plot.latency)):
        assert (plot.IMAGES / f"{name}.svg").read_text("utf-8") == draw(results), "run: python -m benchmarks.plot"


def test_every_scenario_and_every_candidate_is_in_the_kept_results_and_each_table_names_its_commit() -> None:
    results, page = Results.read(), PAGE.read_text("utf-8")
    assert set(results.document["scenarios"]) == set(SCENARIOS)
    for rows in results.rows("drain").values():
        assert {peer.name for peer in PEERS} <= set(rows)
    for name in SCENARIOS:
        assert f"*Commit {results.scenario(name)['taken']['revision']}; " in page


def test_a_scenario_that_was_not_run_is_said_to_be_missing() -> None:
    kept = {"queue": Results.read().scenario("queue")}
    results = Results({"machine": Results.read().document["machine"], "scenarios": kept})
    page = filled("<!-- figures: slow -->\nold\n<!-- end -->\n<!-- figures: queue -->\nold\n<!-- end -->\n", results)
    assert "<!-- figures: slow -->\nNot measured: 'slow'.\n<!-- end -->" in page
    assert "old" not in page
    assert all("| not measured |" in goal.row(results) for goal in GOALS)


def test_a_goal_is_reached_at_its_bound_and_missed_beyond_it() -> None:
    def row(goal: Goal, value: float) -> str:
        return attrs.evolve(goal, measure=lambda _: Measured(value)).row(Results({}))

    at_least = Goal("jobs/s", 2.5, lambda _: Measured(0), "×")
    at_most = attrs.evolve(at_least, at_most=True)
    assert row(at_least, 2.5) == "| jobs/s | ≥ 2.5× | 2.5× | reached |"
    assert row(at_least, 2.4) == "| jobs/s | ≥ 2.5× | 2.4× | **not reached** |"
    assert row(at_most, 2.5) == "| jobs/s | ≤ 2.5× | 2.5× | reached |"
    assert row(at_most, 2.6) == "| jobs/s | ≤ 2.5× | 2.6× | **not reached** |"


def test_a_ratio_is_that_of_the_medians_of_the_same_rounds() -> None:
    def rounds(*rates: float) -> list[dict[str, Any]]:
        return [{"jobs_per_s": rate, "cpu_us_per_job": 10} for rate in rates]

    found = {"restbroker": rounds(300, 100, 200), "BullMQ + undici": rounds(50, 1000, 100)}
    results = Results({"scenarios": {"drain": {"cases": {"20": found}}}})
    goal = next(goal for goal in GOALS if goal.what == "jobs/s against BullMQ + undici")
    assert goal.measure(results).value == 2
