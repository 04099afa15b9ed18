"""Jobs in a form that has gone: this version cannot hand them out, and must not overtake them.

Asked at a start, before anything is taken, before a reload, and by `check`. Always holds: nothing is written; what is
asked for has names that are known, so that a large Redis costs no more than a small one.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.errors import StoreRefused
from restbroker.store import identities
from restbroker.store.client import Client, integer

MESSAGE: Final = "Redis has jobs in a form that restbroker no longer reads, in {keys}."
WHY: Final = "restbroker starts no configuration while they are there: jobs that are pushed now would overtake them."
HINT: Final = (
    "Have the version that wrote them finish these jobs, and stop it; or, if no one needs them, delete these keys "
    "(redis-cli UNLINK). Then start this version, or reload it."
)


def find(client: Client, targets: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the keys that have jobs of these targets (with their queues) in a form that has gone.

    Those of a process that wrote it are named by its record. Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    pools = {**identities.live_identities(client), **identities.fenced_identities(client)}
    waiting = [keys.old_hold(target) for target in targets]
    waiting += [of(queue) for queues in targets.values() for queue in queues for of in (keys.old_lines, keys.old_due)]
    asked: list[tuple[str, ...]] = [("EXISTS", key) for key in waiting]
    asked += [("HEXISTS", keys.info(pool), "fairness") for pool in pools]
    replies = client.commands(asked) if asked else []
    return [key for (_, key, *_), there in zip(asked, replies, strict=True) if integer(there)]


def require_none(client: Client, targets: Mapping[str, Sequence[str]]) -> None:
    """Raise `StoreRefused`, which names them, if there are such keys; or `StoreUnavailable`."""
    if found := find(client, targets):
        raise StoreRefused(f"{MESSAGE.format(keys=', '.join(found))} {WHY}", HINT)
