"""`python -m dev.benchmarks.page`: writes the figures of results.json into docs/appendix/performance.md.

Everything between `<!-- figures: SCENARIO -->` and `<!-- end -->` is written anew; the text around it stays. Medians
over the rounds, and for CPU in a full queue the range. Always holds: a ratio is of medians of the same rounds.
"""

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from dev.benchmarks.__main__ import RESULTS
from dev.benchmarks.peers import OURS
from dev.benchmarks.run import Found
from dev.benchmarks.scenarios import FULL
from dev.benchmarks.surroundings import SLOW_MS

PAGE: Final = Path(__file__).parents[2] / "docs" / "appendix" / "performance.md"
_PART: Final = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_CPU: Final = {"cpu_us": "CPU, µs", "redis_us": "Redis, µs"}
_TITLES: Final = {**_CPU, "jobs_per_s": "jobs/s", "memory_mib": "MiB"}
Rounds = Sequence[Mapping[str, float]]


def main() -> None:
    """Fill the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(text, results), encoding="utf-8")


def filled(text: str, results: Mapping[str, Any]) -> str:
    """Return the page with these figures; what nobody measured is named."""

    def part(found: re.Match[str]) -> str:
        name = found[2]
        if name not in results:
            return f"{found[1]}Not measured yet.\n{found[4]}"
        lines = _PARTS.get(name, _costs)(results[name]["rows"])
        return "\n".join([found[1].rstrip(), *lines, "", _taken(results[name]["taken"]), found[4]])

    return _PART.sub(part, text)


def _full(rows: Found) -> Sequence[str]:
    found = rows[FULL]
    ours = _median(found[OURS], "cpu_us")
    ordered = sorted(found, key=lambda name: _median(found[name], "cpu_us"))
    return _table(
        ["", "CPU, µs", "× restbroker's", "Redis, µs", "jobs/s", "MiB"],
        [
            [
                name,
                _range(found[name], "cpu_us"),
                # Of few jobs the clock of processes, which ticks every 10 ms, may show nothing.
                _short(_median(found[name], "cpu_us") / ours) if ours else "",
                *(_figure(found[name], figure) for figure in ("redis_us", "jobs_per_s", "memory_mib")),
            ]
            for name in ordered
        ],
    )


def _rates(rows: Found) -> Sequence[str]:
    rates = [row for row in rows if row != "idle"]
    names = dict.fromkeys(name for row in rates for name in rows[row])
    head = ["", *(f"{rate}: CPU, µs" for rate in rates), *(f"{rate}: p50/p99, ms" for rate in rates)]
    found = {name: [rows[rate].get(name) for rate in rates] for name in names}
    lines = [
        [name, *(_figure(every, "cpu_us") for every in found[name]), *map(_latency, found[name])] for name in names
    ]
    idle = _median(rows["idle"][OURS], "cpu_percent")
    return [*_table(head, lines), "", f"An idle broker uses {idle:.2f} % of a core."]


def _latency(every: Rounds | None) -> str:
    return f"{_figure(every, 'p50_ms')}/{_figure(every, 'p99_ms')}" if every else ""


def _kinds(rows: Found) -> Sequence[str]:
    head = ["", *(f"{row}: CPU, µs" for row in rows), *(f"{row}: Redis, µs" for row in rows)]
    figures = ("cpu_us", "redis_us")
    names = dict.fromkeys(name for found in rows.values() for name in found)
    return _table(head, [[name, *(_figure(rows[row][name], key) for key in figures for row in rows)] for name in names])


def _costs(rows: Found, titles: Mapping[str, str] = _TITLES) -> Sequence[str]:
    """Return a table of rows, each measured with restbroker alone."""
    lines = [[row, *(_figure(found[OURS], figure) for figure in titles)] for row, found in rows.items()]
    return _table(["", *titles.values()], lines)


def _slow(rows: Found) -> Sequence[str]:
    def reached(row: str, every: Rounds) -> str:
        return f"{_median(every, 'jobs_per_s') / (int(row.split(maxsplit=1)[0]) / SLOW_MS * 1000):.2f}"

    figures = ("cpu_us", "memory_mib")
    lines = [
        [row, name, reached(row, every), *(_figure(every, figure) for figure in figures)]
        for row, found in rows.items()
        for name, every in found.items()
    ]
    return _table(["", "", "of the most", "CPU, µs", "MiB"], lines)


_PARTS: Final[Mapping[str, Callable[[Found], Sequence[str]]]] = {
    "full": _full,
    "rates": _rates,
    "kinds": _kinds,
    "failures": _kinds,
    "order": partial(_costs, titles=_CPU),
    "slow": _slow,
    "posts": partial(_costs, titles={**_CPU, "jobs_per_s": "posts/s", "p50_ms": "p50, ms", "p95_ms": "p95, ms"}),
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    first, *others = (f"| {' | '.join(line)} |" for line in (head, *rows))
    return [first, "|---" * len(head) + "|", *others]


def _taken(taken: Mapping[str, Any]) -> str:
    rounds = f"{taken['rounds']} round{'s' * (taken['rounds'] > 1)}"
    return f"*{taken['on']}, commit {taken['code']}: {rounds}, scale {taken['scale']:g}, load {taken['load_before']}.*"


def _figure(every: Rounds | None, figure: str) -> str:
    return _short(_median(every, figure)) if every and figure in every[0] else ""


def _range(every: Rounds, figure: str) -> str:
    values = sorted(rounds[figure] for rounds in every)
    spread = f" ({_short(values[0])}–{_short(values[-1])})" if len(values) > 1 else ""
    return _short(_median(every, figure)) + spread


def _median(every: Rounds, figure: str) -> float:
    return statistics.median(rounds[figure] for rounds in every)


def _short(value: float) -> str:
    """Return a number with two digits that count, or whole."""
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


if __name__ == "__main__":
    main()
