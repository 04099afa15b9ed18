"""What `make bench` calls worse, and how it takes turns; one row on real parts. No speed is asserted."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dev.benchmarks.against.__main__ import Side, alternate, faults
from dev.benchmarks.against.measures import command, park
from dev.benchmarks.against.rows import ROWS, Row, chosen
from dev.benchmarks.against.verdict import Compared, Figure, Figures, Verdict, compared, table
from dev.benchmarks.peers import Load
from dev.benchmarks.run import Run
from dev.benchmarks.surroundings import surroundings

COST, SPEED = Figure("CPU"), Figure("jobs/s", more_is_better=True)


def verdict(figure: Figure, before: Sequence[float], now: Sequence[float]) -> Verdict:
    return Compared(figure, list(zip(before, now, strict=True))).verdict


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((10, 10, 10), (10.6, 10.7, 10.8), Verdict.WORSE),
        ((10, 10, 10.65), (10.6, 10.7, 10.8), Verdict.SAME),  # one round of before lies among those of now
        ((10, 10, 10), (10.4, 10.5, 10.5), Verdict.SAME),  # at the limit
        ((10, 10, 10), (9.1, 9.4, 9.5), Verdict.BETTER),
        ((10, 10, 9.2), (9.1, 9.4, 9.5), Verdict.SAME),
        ((10, 10, 10), (9.6, 9.6, 9.6), Verdict.SAME),
    ],
)
def test_worse_is_above_the_limit_with_ranges_apart(
    before: Sequence[float], now: Sequence[float], expected: Verdict
) -> None:
    assert verdict(COST, before, now) is expected


def test_a_rate_is_worse_when_it_falls_and_better_when_it_rises() -> None:
    assert verdict(SPEED, (100, 100), (90, 91)) is Verdict.WORSE
    assert round(Compared(SPEED, []).bound, 2) == 0.95
    assert verdict(SPEED, (100, 100), (110, 111)) is Verdict.BETTER
    assert verdict(SPEED, (100, 100), (96, 97)) is Verdict.SAME


def test_a_single_round_proves_nothing() -> None:
    assert verdict(COST, (10,), (20,)) is Verdict.UNKNOWN


def test_nothing_before_and_something_now_is_worse() -> None:
    assert Compared(COST, [(0, 0), (0, 0)]).verdict is Verdict.SAME
    assert verdict(COST, (0, 0), (1, 1)) is Verdict.WORSE


def test_a_figure_without_a_limit_is_never_worse() -> None:
    assert verdict(Figure("p99", math.inf), (1, 1), (100, 100)) is Verdict.SAME


def test_ratios_are_of_medians_and_of_each_round_by_itself() -> None:
    found = Compared(COST, [(10, 20), (20, 20), (40, 20), (None, 5)])
    assert found.ratio == 1
    assert found.ratios == [2, 1, 0.5]


def test_a_row_has_limits_of_its_own() -> None:
    rounds: list[tuple[Figures | None, Figures | None]] = [
        ({"cpu_us": 10, "redis_us": 10}, {"cpu_us": 12, "redis_us": 12})
    ] * 2
    found = compared(rounds, {"cpu_us": 1.3})
    assert {name: each.verdict for name, each in found.items()} == {"cpu_us": Verdict.SAME, "redis_us": Verdict.WORSE}


def test_what_a_commit_cannot_do_is_a_dash_in_the_table() -> None:
    rows = {
        "full": compared([({"cpu_us": 10}, {"cpu_us": 12.5})] * 2, {}),
        "find": compared([(None, {"cpu_ms": 130}), (None, {"cpu_ms": 140})], {}),
        "gone": compared([(None, None)], {}),
    }
    assert list(table(rows, "old", "new"))[2:] == [
        "| full | CPU, µs | 10.0 [10.0–10.0] | 12.5 [12.5–12.5] | 1.25 [1.25–1.25] | worse |",
        "| find | CPU, ms | – | 135 [130–140] | – | – |",
        "| gone |  | – | – | – | – |",
    ]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with surroundings(tmp_path) as around:
        yield Run(around, scale=0.01)


def row(name: str, answer: Callable[[str], float], rounds: int = 9) -> Row:
    return Row(name, "", lambda run: {"cpu_us": answer(run.executable)}, rounds=rounds)


def sides(run: Run) -> tuple[Side, Side]:
    return Side("old", Run(run.around, executable="old")), Side("new", Run(run.around, executable="new"))


def test_each_commit_is_the_first_one_in_every_second_round(run: Run) -> None:
    order = []

    def answer(name: str) -> float:
        order.append(name)
        return 1.0

    found = alternate([row("a", answer), row("seldom", answer, rounds=1)], *sides(run), rounds=3)
    assert order == ["old", "new", "old", "new", "new", "old", "old", "new"]
    assert [len(found[name]["cpu_us"].rounds) for name in ("a", "seldom")] == [3, 1]


def test_what_head_cannot_do_is_a_fault_and_tried_twice(run: Run) -> None:
    tried = []

    def refuse(name: str) -> float:
        if name == "new":
            tried.append(name)
            raise SystemExit("No such\ncommand")
        return 1.0

    old, new = sides(run)
    found = alternate([row("stats", lambda _: 1.0), row("find", refuse)], old, new, rounds=3)
    assert len(tried) == 2
    assert faults(found, new) == ["not done: find: No such command"] * 2
    assert faults(found, old) == []


def test_a_row_that_fails_once_goes_on_and_is_told(run: Run) -> None:
    is_busy = iter([False, True, False])

    def answer(name: str) -> float:
        if name == "new" and next(is_busy):
            raise SystemExit("too busy")
        return 1.0

    old, new = sides(run)
    found = alternate([row("full", answer)], old, new, rounds=3)
    assert found["full"]["cpu_us"].rounds == [(1.0, 1.0), (1.0, None), (1.0, 1.0)]
    assert faults(found, new) == ["not done: full: too busy"]


def test_a_worse_row_is_a_fault_with_its_limit(run: Run) -> None:
    old, new = sides(run)
    found = alternate([row("full", lambda name: 2.0 if name == "new" else 1.0)], old, new, rounds=2)
    assert faults(found, new) == ["worse: full, CPU, µs: 2.00 (limit 1.05)"]


def test_rows_are_chosen_by_name_and_by_pattern() -> None:
    assert list(chosen([])) == list(ROWS)
    assert [found.name for found in chosen(["full", "rate-5*"])] == [
        "full",
        "rate-50",
        "rate-500",
        "rate-500-history",
        "rate-50-eight",
    ]
    with pytest.raises(ValueError, match=r"no row is called ful; there are full, https, .*idle"):
        chosen(["ful"])


def test_no_two_rows_have_one_name() -> None:
    assert len({found.name for found in ROWS}) == len(ROWS)


def test_an_installed_program_gets_nothing_of_this_tree(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/a/tree")
    bench = Run(run.around, executable="/other/bin/restbroker").bench(Load(1))
    assert bench.program == ["/other/bin/restbroker"]
    assert "/a/tree" not in bench.environment["PYTHONPATH"]
    assert "/a/tree" in run.bench(Load(1)).environment["PYTHONPATH"]


def test_a_command_is_measured_on_real_parts(run: Run) -> None:
    assert command("--version", with_config=False)(run)["cpu_ms"] > 0
    with pytest.raises(SystemExit, match="exit 2"):
        command("no-such-command")(run)


def test_as_many_jobs_are_parked_as_were_asked_for(run: Run) -> None:
    for key, count in (("retry", 20_001), ("dead", 1)):
        park(run.around, key, count)
        assert run.around.redis.zcard(key) == count
