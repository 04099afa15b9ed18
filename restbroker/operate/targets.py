"""Targets as an operator sees and steers them, over all processes: how they are, what bounds them, who paused them.

Called by `restbroker targets` and the pages. Always holds: a pause holds in all processes, and jobs in progress still
run; what processes say of themselves is up to a heartbeat old, and perhaps another version's, so that any of it may be
missing.
"""

from collections.abc import Collection

from restbroker.operate import audit, system
from restbroker.operate.audit import AuditEntry
from restbroker.operate.queues import pause_length
from restbroker.operate.system import Target
from restbroker.store import pauses
from restbroker.store.client import Client
from restbroker.store.stats import overview


def targets(client: Client, wanted: Collection[str] = ()) -> list[Target]:
    """Return all targets that a process serves, that a person paused, or that are `wanted`.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return system.targets(client, system.pools(client, overview(client)), wanted)


def pause(client: Client, target: str, who: str, why: str, for_s: float | None = None) -> None:
    """Pause a target in all processes, for `for_s` seconds; None: until `resume`. It replaces an earlier pause.

    Jobs in progress still run. Raise `StoreUnavailable`: the target may be paused, and the call may be repeated.
    """
    audit.write(
        client, AuditEntry(who=who, action="pause", place=f"target:{target}", where=pause_length(for_s), why=why)
    )
    pauses.pause_target(client, target, who, why=why, for_s=for_s)


def resume(client: Client, target: str, who: str, why: str = "") -> bool:
    """End every pause of a target, also restbroker's own. Return False if there was none.

    Raise `StoreUnavailable`: the pause may have ended, and the call may be repeated. Raise `StoreRefused`.
    """
    audit.write(client, AuditEntry(who=who, action="resume", place=f"target:{target}", why=why))
    return pauses.resume_target(client, target)
