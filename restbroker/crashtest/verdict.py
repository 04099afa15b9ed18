"""The verdict of a crash test, in the words of Jepsen's total-queue checker.

Used by `crashtest.run` and by the fault tests. Always holds: "ran" is taken in the strictest sense. A request that was
not answered counts as one that ran, so duplicates are never too few.
"""

from collections.abc import Collection, Mapping, Sequence

import attrs

_DONE = frozenset({200, 409})
"""The statuses by which the server says that it did it, now or before."""


@attrs.frozen
class Verdict:
    """Numbers of jobs.

    `attempted` were pushed, `acknowledged` of these by Redis; `ok` were done according to the server; `lost` were
    acknowledged and are neither done nor in Redis; `duplicated` ran or may have run more than once;
    `unexpected` were done and never pushed; `recovered` were done though their push was not acknowledged; `dead` wait
    in the dead set for an operator.
    """

    attempted: int
    acknowledged: int
    ok: int
    lost: int
    duplicated: int
    unexpected: int
    recovered: int
    dead: int


def verdict_of(
    attempted: Collection[str],
    acknowledged: Collection[str],
    statuses: Mapping[str, Sequence[int | None]],
    places: Mapping[str, int],
    dead: Collection[str],
) -> Verdict:
    """Return the verdict on these jobs, which are all named by their ids.

    `statuses`: the statuses that answered the requests for a job, None: the server got it and did not answer. `places`
    says in how many places of Redis a job is.
    """
    pushed, safe = set(attempted), set(acknowledged)
    done = {job for job, given in statuses.items() if not _DONE.isdisjoint(given)}
    twice = [job for job, given in statuses.items() if sum(one in _DONE or one is None for one in given) > 1]
    return Verdict(
        attempted=len(pushed),
        acknowledged=len(safe),
        ok=len(done & pushed),
        lost=len(safe - done - set(places)),
        duplicated=len(twice),
        unexpected=len(done - pushed),
        recovered=len(done & (pushed - safe)),
        dead=len(set(dead)),
    )
