"""The result of a run, and whether it keeps restbroker's promises. Made by `crashtest.run`, shown by `cli.verify`."""

import statistics
from collections.abc import Mapping, Sequence

import attrs

from restbroker.crashtest.verdict import Verdict
from restbroker.job.json_types import Json

_UNANSWERED = frozenset({"Uncertain", "ConnectionLost", "TimedOut", "CutOff"})
"""The error classes with which a command that must not run twice may die here."""


@attrs.frozen
class Result:
    """The result of a run. `bound`: how many jobs broken processes had in progress, so that these may have run twice.

    `unfinished` are still queued or in progress after nothing moved for a while; `dead_by_code` is {error class: jobs};
    `requeued_s` are seconds until the jobs of a killed or frozen process were back in their queue.
    """

    verdict: Verdict
    bound: int
    unfinished: int
    dead_by_code: Mapping[str, int]
    faults: Mapping[str, int]
    requeued_s: Mapping[str, Sequence[float]]
    took_s: float
    seed: int

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept: no job is lost, unexpected or unfinished, at most `bound` ran twice.

        Nor may a job be dead, unless its command must not run twice and was not answered.
        """
        found = self.verdict
        nothing_odd = found.lost == found.unexpected == self.unfinished == 0 and set(self.dead_by_code) <= _UNANSWERED
        return nothing_odd and found.duplicated <= self.bound

    @property
    def is_tested(self) -> bool:
        """Whether some broken process had a job in progress, or the run had no faults."""
        return self.bound > 0 or sum(self.faults.values()) == 0

    def numbers(self) -> Mapping[str, int]:
        """Return the numbers of jobs under the names of `Verdict`'s fields, with `bound` and `unfinished`."""
        found: Verdict = self.verdict
        return {
            "attempted": found.attempted,
            "acknowledged": found.acknowledged,
            "ok": found.ok,
            "lost": found.lost,
            "duplicated": found.duplicated,
            "bound": self.bound,
            "unexpected": found.unexpected,
            "recovered": found.recovered,
            "dead": found.dead,
            "unfinished": self.unfinished,
        }

    def recovery(self) -> Mapping[str, Mapping[str, float]]:
        """Return fault → count, min, median and max of the seconds until jobs were requeued, for kills and freezes.

        A fault after which no job had to be requeued is left out.
        """
        return {
            name: {
                "count": len(times_s),
                "min": round(min(times_s), 2),
                "median": round(statistics.median(times_s), 2),
                "max": round(max(times_s), 2),
            }
            for name, times_s in self.requeued_s.items()
            if times_s
        }

    def as_json(self) -> Json:
        """Return everything as one object."""
        return {
            "kept": self.is_kept,
            "tested": self.is_tested,
            **self.numbers(),
            "dead_reasons": dict(self.dead_by_code),
            "faults": dict(self.faults),
            "recovery_s": {name: dict(times) for name, times in self.recovery().items()},
            "took_s": round(self.took_s, 1),
            "seed": self.seed,
        }
