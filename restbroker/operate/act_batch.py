"""Carries out what is planned for some jobs of a set, in one step. Called by `operate.act`.

Always holds: a job that cannot go where it should stays where it is, and the reason is returned.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias, assert_never

from restbroker.job import hiding
from restbroker.operate.act_job import FOREIGN_QUEUE, Action, Refusal, foreign_queue, home_queue
from restbroker.operate.entry import JobView
from restbroker.store import sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied, Clash, Code, Gone, Refused
from restbroker.store.keys import SortedSet
from restbroker.store.sets import Placement

Outcome: TypeAlias = Code | Refusal

_MOST_CLASHES: Final = 5
_TWIN: Final = "An identical job is there already."


def carry_out(
    client: Client,
    zset: SortedSet,
    views: Sequence[JobView],
    plan: Callable[[JobView], Placement | Refusal],
    before: Callable[[], None],
) -> list[Outcome]:
    """Carry out the plan for each job; return the jobs' outcomes, in their order.

    `plan` is called again, for different bytes, if the set that a job goes to already holds an equal one; `before` is
    called before anything is changed. A job that Redis refuses to change has the refusal as its outcome. Raise
    `StoreUnavailable` if Redis does not answer: any of the jobs may have been changed.
    """
    outcomes: dict[int, Outcome] = {}
    pending = list(range(len(views)))
    for _ in range(_MOST_CLASHES):
        going: list[tuple[int, Placement]] = []
        for number in pending:
            planned = plan(views[number])
            if isinstance(planned, Refusal):
                outcomes[number] = planned
            else:
                going.append((number, planned))
        if going:
            before()
        codes = sets.place(client, zset, [placing for _, placing in going])
        outcomes |= {number: code for (number, _), code in zip(going, codes, strict=True)}
        pending = [number for number, _ in going if isinstance(outcomes[number], Clash)]
    return [outcomes[number] for number in range(len(views))]


def foreign_queues_of(views: Sequence[JobView], outcomes: Sequence[Outcome], action: Action) -> Iterator[str]:
    """Yield the foreign queue of each job that was sent to one or taken from one, or that stayed because of it.

    A queue is foreign if no target of this configuration serves it. Tokens in queue names are masked.
    """
    for view, outcome in zip(views, outcomes, strict=True):
        is_met = isinstance(outcome, Applied) or outcome == FOREIGN_QUEUE
        queue = foreign_queue(view, action) or home_queue(view, action)
        if is_met and queue is not None:
            yield hiding.mask_secrets(queue, view.context.secrets)


def reason_left(outcome: Outcome) -> str | None:
    """Return why a job stayed in its place, "" if it already was where it should be; None if it did not stay."""
    match outcome:
        case Refusal(why):
            return why
        case Clash():
            return _TWIN
        case Refused(text):
            return f"Redis refused: {text}"
        case Applied() | Gone():
            return None
        case _:
            assert_never(outcome)
