"""What a crash test found, in the words of Jepsen's total-queue checker.

Used by `verify.run` and by the fault tests. Always holds: "ran" is taken in the strictest sense. A sending that was
not answered counts as one that ran, so duplicates are never too few.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import attrs


class Sending(Protocol):
    """One request for a job, as the server's side saw it."""

    @property
    def status(self) -> int | None:
        """The status of the answer; None without one."""

    @property
    def maybe_run(self) -> bool:
        """Whether the server got it and gave no answer."""

    @property
    def done(self) -> bool:
        """Whether the server says that it did it, now or before."""


@attrs.frozen
class Verdict:
    """Numbers of jobs.

    `attempted` were pushed, `acknowledged` of these by Redis; `ok` were done according to the server; `lost` were
    acknowledged and are neither done nor in Redis; `duplicated` ran or may have run more than once, `twice_for_sure`
    were answered with success more than once; `unexpected` were done and never pushed; `recovered` were done though
    their push was not acknowledged; `parked` wait in the dead set for an operator.
    """

    attempted: int
    acknowledged: int
    ok: int
    lost: int
    duplicated: int
    twice_for_sure: int
    unexpected: int
    recovered: int
    parked: int

    def table(self) -> str:
        """One line of names and one of numbers."""
        fields = attrs.asdict(self)
        widths = [max(len(name), len(str(value))) for name, value in fields.items()]
        names = "  ".join(name.rjust(width) for name, width in zip(fields, widths, strict=True))
        values = "  ".join(str(value).rjust(width) for value, width in zip(fields.values(), widths, strict=True))
        return f"{names}\n{values}"


def judge(
    attempted: Collection[str],
    acknowledged: Collection[str],
    sendings: Mapping[str, Sequence[Sending]],
    places: Mapping[str, int],
    parked: Collection[str],
) -> Verdict:
    """All collections hold job ids; `places` says in how many places of Redis a job is."""
    pushed, safe = set(attempted), set(acknowledged)
    done = {job for job, sent in sendings.items() if any(one.done for one in sent)}
    twice = [job for job, sent in sendings.items() if sum(one.done or one.maybe_run for one in sent) > 1]
    for_sure = [job for job, sent in sendings.items() if sum(one.status == 200 for one in sent) > 1]
    return Verdict(
        attempted=len(pushed),
        acknowledged=len(safe),
        ok=len(done & pushed),
        lost=len(safe - done - set(places)),
        duplicated=len(twice),
        twice_for_sure=len(for_sure),
        unexpected=len(done - pushed),
        recovered=len(done & (pushed - safe)),
        parked=len(set(parked)),
    )
