"""The kept results, read: medians, spreads and ratios. The page and the pictures are made of them.

Always holds: a ratio is that of two medians of the same rounds of one run.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results.json"
OURS: Final = "restbroker"
REFERENCES: Final = ("wrk", "the client alone")
"""Candidates of the scenario drain that have no queue."""

Rounds = Sequence[Mapping[str, float]]


@attrs.frozen
class Results:
    """What `results.json` holds. A scenario, row or candidate that it lacks is a KeyError."""

    document: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path = RESULTS) -> "Results":
        """As it was written last."""
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def scenario(self, name: str) -> Mapping[str, Any]:
        """All that is kept of it."""
        found: Mapping[str, Any] = self.document["scenarios"][name]
        return found

    def rows(self, scenario: str) -> Mapping[str, Mapping[str, Rounds]]:
        """Row → candidate → measurements."""
        found: Mapping[str, Mapping[str, Rounds]] = self.scenario(scenario)["cases"]
        return found

    def median(self, scenario: str, row: str, candidate: str, figure: str) -> float:
        """Of one figure."""
        return median(self.rows(scenario)[row][candidate], figure)


def median(rounds: Rounds, figure: str) -> float:
    """Over the rounds."""
    return statistics.median(one[figure] for one in rounds)


def spread(rounds: Rounds, figure: str, digits: int = 0) -> str:
    """The median, and the least and the most where there are several."""
    values = [one[figure] for one in rounds]
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def short(value: float) -> str:
    """With two digits that count."""
    if value >= 9.95:
        return f"{value:,.0f}"
    if value >= 0.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.2g}"
