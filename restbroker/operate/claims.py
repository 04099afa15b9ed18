"""Gives up the locks and claims of jobs that a person deleted or killed, so that they can be pushed again.

Called by `operate.act`, `operate.act_waiting` and those who clear a queue, after the jobs have left. Always holds: what
another job holds by now stays; what is left by a crash in between ends by its time.
"""

from collections.abc import Iterable, Sequence

from restbroker.job import claims, rubyjson
from restbroker.operate.act_batch import Outcome
from restbroker.operate.act_job import Verb
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import JobView
from restbroker.store import claims as claim_store
from restbroker.store.client import Client
from restbroker.store.codes import Applied

_RELEASING: frozenset[Verb] = frozenset({"delete", "kill"})


def release(client: Client, verb: Verb, views: Sequence[JobView], outcomes: Sequence[Outcome]) -> None:
    """Release the locks and claims of those jobs that were deleted or killed; other verbs leave them.

    `outcomes`: of the `views`, in their order; `Applied` means that the verb was done. Raise `StoreUnavailable` or
    `StoreRefused`: some may be released.
    """
    if verb not in _RELEASING:
        return
    gone = [view for view, outcome in zip(views, outcomes, strict=True) if isinstance(outcome, Applied)]
    held = ((view.context.claims(view.queue, view.fields or {})) for view in gone)
    # As with any other death.
    _release(client, held, keeps_end=verb == "kill")


def release_cleared(client: Client, queue: str, raws: Sequence[bytes], context: ConfigContext) -> None:
    """Release the locks and claims of jobs that were deleted from this queue; `raws` are their bytes.

    Raise `StoreUnavailable` or `StoreRefused`: some may be released.
    """
    _release(client, (context.claims(queue, rubyjson.object_of(raw) or {}) for raw in raws), keeps_end=False)


def _release(client: Client, held: Iterable[claims.JobClaims | None], *, keeps_end: bool) -> None:
    claim_store.release(
        client, [(one.jid, claims.give_up_all(one, keeps_end=keeps_end)) for one in held if one is not None]
    )
