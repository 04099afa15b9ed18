"""What `restbroker ctl` does with Redis beyond pushing and waiting: takes back a job whose refusal it has shown.

Always holds: a job that may have run stays where it is; the removal is in the audit log before it is done.
"""

from typing import Final

from restbroker.job import rubyjson
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.store import paging, sets
from restbroker.store.client import Client
from restbroker.store.codes import Applied
from restbroker.store.sets import Placement

_NEWEST: Final = 100
"""The job died a moment ago; it is searched for among so many of the newest."""


def remove_refused(client: Client, jid: str, who: str) -> bool:
    """Remove a job that just died from the dead set, as the caller already has the reason.

    Return False if it was not found. Without this, a script that registers thousands of users, some of whom exist,
    would fill the set, passwords included. Raise `StoreUnavailable` or `StoreRefused`.
    """
    for raw, _ in paging.piece(client, "dead", None, _NEWEST, newest_first=True).members:
        fields = rubyjson.object_of(raw) if jid.encode() in raw else None
        if fields is not None and fields.get("jid") == jid:
            audit.write(client, AuditEntry(who=who, action="delete", place="dead", where="ctl", jids=(jid,)))
            return sets.place(client, "dead", [Placement(raw)]) == [Applied()]
    return False
