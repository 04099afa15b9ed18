"""Pause and resume a queue, a target or a periodic command: for `restbroker` and the pages.

Always holds: a pause holds in all processes, a queue's in Ruby's too (Sidekiq Pro's set), and jobs in progress still
run; what is due of a periodic command meanwhile is skipped; each is written to the audit log before it is done; a
queue's name that is not UTF-8 is passed as it is shown (`names.exact`).
"""

from typing import Literal, TypeAlias

from restbroker.config.values import duration_text
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.operate.names import exact
from restbroker.store import pauses
from restbroker.store.client import Client

Noun: TypeAlias = Literal["queue", "target", "periodic"]


def pause(client: Client, noun: Noun, name: str, who: str, why: str, for_s: float | None = None) -> None:
    """Pause it, for `for_s` seconds; None: until `resume`. It replaces an earlier pause.

    Raise `StoreUnavailable`: it may be paused, and the call may be repeated.
    """
    queue = exact(client, name) if noun == "queue" else name
    where = "until resumed" if for_s is None else f"for {duration_text(for_s)}"
    audit.write(client, AuditEntry(who=who, action="pause", place=f"{noun}:{name}", where=where, why=why))
    match noun:
        case "queue":
            pauses.pause_queue(client, queue, who, why=why, for_s=for_s)
        case "target":
            pauses.pause_target(client, name, who, why=why, for_s=for_s)
        case "periodic":
            pauses.pause_periodic(client, name, who, why=why, for_s=for_s)


def resume(client: Client, noun: Noun, name: str, who: str, why: str = "") -> bool:
    """End its pause, no matter who made it; of a target all, also restbroker's own. Return False if there was none.

    Raise `StoreUnavailable`: the pause may have ended, and the call may be repeated. Raise `StoreRefused`.
    """
    queue = exact(client, name) if noun == "queue" else name
    audit.write(client, AuditEntry(who=who, action="resume", place=f"{noun}:{name}", why=why))
    match noun:
        case "queue":
            return pauses.resume_queue(client, queue)
        case "target":
            return pauses.resume_target(client, name)
        case "periodic":
            return pauses.resume_periodic(client, name)
