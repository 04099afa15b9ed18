"""What counts as worse, and the table that says so: arithmetic alone.

Always holds: a figure is worse, or better, only if its median passes the limit and no round of one commit lies among
those of the other; a single round proves nothing. What one of the two cannot do is shown as "–".
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import attrs

LIMIT: Final = 1.05
_LEAST_ROUNDS: Final = 2
NOTHING: Final = "–"
Figures = Mapping[str, float]
"""What a measurement found, by the figure's name."""


class Verdict(Enum):
    """What became of a figure; the value is what the table says."""

    WORSE = "worse"
    BETTER = "better"
    SAME = ""
    UNKNOWN = NOTHING


@attrs.frozen
class Figure:
    """How a figure is called and judged.

    `limit`: as many times the other commit's median are no worse yet; `math.inf`: it is shown, and never worse.
    """

    title: str
    limit: float = LIMIT
    more_is_better: bool = False


FIGURES: Final[Mapping[str, Figure]] = {
    "cpu_us": Figure("CPU, µs"),
    "cpu_ms": Figure("CPU, ms"),
    "cpu_percent": Figure("CPU, % of a core"),
    "redis_us": Figure("Redis, µs"),
    "redis_ms": Figure("Redis, ms"),
    "redis_percent": Figure("Redis, % of a core"),
    "commands": Figure("commands"),
    "commands_per_s": Figure("commands/s"),
    "memory_mib": Figure("MiB"),
    # By the wall's clock, which all that runs on the machine disturbs.
    "jobs_per_s": Figure("jobs/s", limit=1.15, more_is_better=True),
    "p50_ms": Figure("p50, ms", limit=1.25),
    "p99_ms": Figure("p99, ms", limit=math.inf),
    "first_ms": Figure("to the first request, ms", limit=1.25),
    "exit_ms": Figure("to the exit, ms", limit=math.inf),
}


@attrs.frozen
class Compared:
    """A figure's rounds at the commit before and now, None where one could not be measured."""

    figure: Figure
    rounds: Sequence[tuple[float | None, float | None]]

    @property
    def before(self) -> Sequence[float]:
        """The rounds of the commit that is compared with."""
        return [before for before, _ in self.rounds if before is not None]

    @property
    def now(self) -> Sequence[float]:
        """The rounds of this commit."""
        return [now for _, now in self.rounds if now is not None]

    @property
    def ratio(self) -> float | None:
        """How many times the median of before the median of now is; None if one of them is not known."""
        if not self.before or not self.now:
            return None
        return _times(statistics.median(self.now), statistics.median(self.before))

    @property
    def ratios(self) -> Sequence[float]:
        """The same of each round by itself, in which both ran one after the other."""
        return [_times(now, before) for before, now in self.rounds if now is not None and before is not None]

    @property
    def bound(self) -> float:
        """The ratio beyond which it is worse, if the ranges do not overlap."""
        return 1 / self.figure.limit if self.figure.more_is_better else self.figure.limit

    @property
    def verdict(self) -> Verdict:
        """Return whether it is worse."""
        ratio = self.ratio
        if ratio is None or min(len(self.before), len(self.now)) < _LEAST_ROUNDS:
            return Verdict.UNKNOWN
        is_more = ratio > self.figure.limit and min(self.now) > max(self.before)
        is_less = ratio < 1 / self.figure.limit and max(self.now) < min(self.before)
        if not is_more and not is_less:
            return Verdict.SAME
        return Verdict.BETTER if is_more == self.figure.more_is_better else Verdict.WORSE


def compared(
    rounds: Sequence[tuple[Figures | None, Figures | None]], limits: Mapping[str, float]
) -> Mapping[str, Compared]:
    """Return what a row's rounds say of each of its figures; `limits` are the row's own."""
    names = dict.fromkeys(name for pair in rounds for found in pair for name in found or ())
    return {
        name: Compared(
            _figure(name, limits), [((before or {}).get(name), (now or {}).get(name)) for before, now in rounds]
        )
        for name in names
    }


def table(rows: Mapping[str, Mapping[str, Compared]], before: str, now: str) -> Iterator[str]:
    """Return the lines of a table in Markdown: medians, in brackets the ranges over the rounds."""
    yield f"| | | {before} | {now} | ratio | |"
    yield "|---" * 6 + "|"
    for row, figures in rows.items():
        if not figures:
            yield f"| {row} | {f' | {NOTHING}' * 4} |"
        for position, found in enumerate(figures.values()):
            cells = [found.figure.title, _spread(found.before), _spread(found.now), _ratio(found), found.verdict.value]
            yield f"| {'' if position else row} | {' | '.join(cells)} |"


def _figure(name: str, limits: Mapping[str, float]) -> Figure:
    known = FIGURES.get(name, Figure(name))
    return attrs.evolve(known, limit=limits.get(name, known.limit))


def _times(now: float, before: float) -> float:
    if before:
        return now / before
    return math.inf if now else 1.0


def _ratio(found: Compared) -> str:
    if found.ratio is None:
        return NOTHING
    return f"{found.ratio:.2f}" + (f" [{min(found.ratios):.2f}–{max(found.ratios):.2f}]" if found.ratios else "")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    return f"{_short(statistics.median(values))} [{_short(min(values))}–{_short(max(values))}]"


def _short(value: float) -> str:
    """Return a number with some three digits that count, or whole."""
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f}"
