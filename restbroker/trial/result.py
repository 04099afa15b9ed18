"""The verdict of a run of `verify`, and whether restbroker kept its promises. Made by `verify`, shown by `cli.verify`.

`Verdict` has the words of Jepsen's total-queue checker; the fault tests use it too. Always holds: "ran" is taken in the
strictest sense. A request that was not answered counts as one that ran, so duplicates are never too few.
"""

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from restbroker.job.json_types import Json
from restbroker.light import frozen

_DONE = frozenset({200, 409})
"""The statuses by which the server says that it did it, now or before."""


@frozen
class Verdict:
    """Numbers of jobs.

    `attempted` were pushed, `acknowledged` of these by Redis; `ok` were done according to the server; `lost` were
    acknowledged and are neither done nor in Redis; `duplicated` ran or may have run more than once;
    `bound` of them may have, as many as broken processes had in progress; `unexpected` were done and never pushed;
    `recovered` were done though their push was not acknowledged; `dead` wait in the dead set for an operator;
    `unfinished` are still queued or in progress after nothing moved for a while.
    """

    attempted: int
    acknowledged: int
    ok: int
    lost: int
    duplicated: int
    bound: int
    unexpected: int
    recovered: int
    dead: int
    unfinished: int


def verdict_of(
    attempted: Collection[str],
    acknowledged: Collection[str],
    statuses: Mapping[str, Sequence[int | None]],
    places: Mapping[str, int],
    dead: Collection[str],
    bound: int = 0,
) -> Verdict:
    """Return the verdict on these jobs, which are all named by their ids.

    `statuses`: the statuses that answered the requests for a job, None: the server got it and did not answer. `places`
    says in how many places of Redis a job is.
    """
    pushed, safe = set(attempted), set(acknowledged)
    done = {job for job, given in statuses.items() if not _DONE.isdisjoint(given)}
    twice = [job for job, given in statuses.items() if sum(status in _DONE or status is None for status in given) > 1]
    return Verdict(
        attempted=len(pushed),
        acknowledged=len(safe),
        ok=len(done & pushed),
        lost=len(safe - done - set(places)),
        duplicated=len(twice),
        bound=bound,
        unexpected=len(done - pushed),
        recovered=len(done & (pushed - safe)),
        dead=len(set(dead)),
        unfinished=len(set(places) - set(dead)),
    )


_UNANSWERED = frozenset({"Uncertain", "ConnectionLost", "TimedOut", "CutOff"})
"""The error classes with which a command that must not run twice may die here."""


@frozen
class TrialResult:
    """The result of a run. `dead_by_code` is {error class: jobs}.

    `requeued_s` are seconds until the jobs of a killed or frozen process were back in their queue.
    """

    verdict: Verdict
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
        nothing_odd = found.lost == found.unexpected == found.unfinished == 0 and set(self.dead_by_code) <= _UNANSWERED
        return nothing_odd and found.duplicated <= found.bound

    @property
    def is_tested(self) -> bool:
        """Whether some broken process had a job in progress, or the run had no faults."""
        return self.verdict.bound > 0 or sum(self.faults.values()) == 0

    def recovery(self) -> Mapping[str, Mapping[str, float]]:
        """Return fault → count, min, median and max of the seconds until jobs were requeued, for kills and freezes.

        A fault after which no job had to be requeued is left out.
        """
        parts: Mapping[str, Callable[[Sequence[float]], float]] = {"min": min, "median": statistics.median, "max": max}
        return {
            name: {"count": len(times_s), **{part: round(of(times_s), 2) for part, of in parts.items()}}
            for name, times_s in self.requeued_s.items()
            if times_s
        }

    def as_json(self) -> Json:
        """Return everything as one object."""
        return {
            "kept": self.is_kept,
            "tested": self.is_tested,
            **attrs.asdict(self.verdict),
            "dead_reasons": dict(self.dead_by_code),
            "faults": dict(self.faults),
            "recovery_s": {name: dict(times) for name, times in self.recovery().items()},
            "took_s": round(self.took_s, 1),
            "seed": self.seed,
        }
