"""Dead jobs that are no longer in the dead set: whether one may be lost, and putting one back from its copy.

Called by `restbroker dead`, and by what offers that. Always holds: reads page by page, shows no token, and puts a job
back where it is seen, not where it is run, and never beside itself.
"""

from math import inf
from typing import Final

import attrs

from restbroker.errors import UsageError
from restbroker.job import rubyjson
from restbroker.job.job import MAY_HAVE_RUN_FIELD
from restbroker.operate import audit, find
from restbroker.operate.audit import AuditEntry
from restbroker.operate.find import PAGE
from restbroker.store import dead_copies, history
from restbroker.store.client import Client
from restbroker.store.dead_copies import DeadCopy

_LOOKED_AT: Final = 1000
"""So many of the newest entries of the audit log, and of the History, are looked at."""


def may_be_lost(client: Client, jid: str) -> bool:
    """Tell whether a job that is dead no more may be put back: no person sent it on, and it did not end delivered.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    acts = (written.note.action for written in audit.entries(client, _LOOKED_AT) if jid in written.note.jids)
    ends = (history.read(entry.record) for entry in history.newest(client, _LOOKED_AT))
    is_sent_on = next(acts, "delete") not in ("delete", "restore")
    return not is_sent_on and not any(end is not None and (end.jid, end.code) == (jid, None) for end in ends)


def restore(client: Client, jid: str, who: str, why: str = "") -> None:
    """Put the newest copy of a job back into the dead set, and write `who` and `why` to the audit log.

    The restored job is marked as one that may have run: it may have been retried and delivered since it died. Raise
    `UsageError` if there is no copy, or if the job is in the dead set or waits for a retry (it could run twice). Raise
    `StoreRefused`, and `StoreUnavailable` if Redis does not answer: the job may be back even so.
    """
    if find.of_jid(client, "retry", jid, inf).member is not None:
        raise UsageError(
            f"The job {jid} waits for its next try. If it were restored, it could run twice.",
            "`restbroker retries` lists it. If it fails for good, it becomes dead again.",
        )
    is_dead = find.of_jid(client, "dead", jid, inf).member is not None
    if not is_dead and (found := _copy_of(client, jid)) is not None:
        audit.write(client, AuditEntry(who=who, action="restore", place="dead", where=jid, why=why, jids=(jid,)))
        fields = rubyjson.object_of(found.payload)
        if fields is not None:
            found = attrs.evolve(found, payload=rubyjson.dumps({**fields, MAY_HAVE_RUN_FIELD: True}))
        if dead_copies.restore(client, found):
            return
    raise UsageError(
        f"There is no copy of the job {jid}, or it is in the dead set already.",
        "The last 100,000 or so dead jobs have a copy.",
    )


def _copy_of(client: Client, jid: str) -> DeadCopy | None:
    page = dead_copies.newest(client, PAGE)
    while page:
        for copy in page:
            if find.jid_of(copy.payload) == jid:
                return copy
        page = dead_copies.newest(client, PAGE, before=page[-1].entry)
    return None
