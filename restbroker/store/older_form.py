"""Groups in the form of versions before lists: jobs that this version cannot hand out, and must not overtake.

Used by brokers in their first minute, and by `check`. Always holds: nothing is written. Such jobs are in a hash under
numbers, and tickets say how they were handed out: only the version that made them drains them.
"""

from collections.abc import Mapping, Sequence

from restbroker.store import identities
from restbroker.store.client import Client, integer

HINT = (
    "Start the version before this one until `restbroker keys list` is empty there and no job is in lines: pause the "
    "queues, `restbroker keys return` each, stop it, then start this one."
)


def find(client: Client, targets: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return those of these targets (with their queues) that have groups of the older form, and where.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys, found = client.keys, dict[str, str]()
    places = {
        key: target
        for target, queues in targets.items()
        for key in (keys.old_hold(target), *(of(queue) for queue in queues for of in (keys.old_lines, keys.old_due)))
    }
    for (key, target), there in zip(places.items(), client.commands([("EXISTS", key) for key in places]), strict=True):
        if integer(there):
            found.setdefault(target, f"the key {key}")
    for identity in {**identities.live_identities(client), **identities.fenced_identities(client)}:
        target = identity.rpartition(":")[2]
        if target in targets and client.command("HGET", keys.info(identity), "fairness"):
            found.setdefault(target, f"the process {identity}")
    return found
