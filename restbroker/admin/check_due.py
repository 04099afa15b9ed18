"""Looks for due jobs that stay in their set, since no target of this configuration serves their queue.

Called by `admin.check_store`. Always holds: nothing is written, and it takes some seconds at most.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

from restbroker.config.core import Config
from restbroker.rules import rubyjson
from restbroker.rules.findings import Finding
from restbroker.rules.unserved import OVERDUE_S, listed, unserved
from restbroker.store import paging
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.server import time_s

AREA = "redis"
_PAGE: Final = 500
_LOOK_S: Final = 3.0
_SETS: Final[dict[SortedSet, str]] = {"retry": "retries", "schedule": "scheduled"}


def check_due(client: Client, config: Config) -> Iterator[Finding]:
    """The jobs of both sets. Raises `StoreUnavailable` or `StoreRefused`."""
    for zset, command in _SETS.items():
        found, whole = _waiting(client, zset, frozenset(config.queues))
        if found:
            count = f"{found.total()}" if whole else f"At least {found.total()}"
            yield Finding(
                "warning",
                AREA,
                "QueueNotServed",
                f"{count} due jobs that restbroker wrote stay in {zset!r}, since no target of this configuration"
                f" serves their queue: {listed(found)}.",
                "They wait until a restbroker that serves it runs.",
                "Start that one, or serve the queue here (RestQueue, or Queues of a target). Or look at them:"
                f" restbroker {command} list --where 'queue = NAME', and move or delete them.",
            )


def _waiting(client: Client, zset: SortedSet, served: frozenset[str]) -> tuple[Counter[str], bool]:
    """How many wait for each queue; False: there was no time to look at all that is due."""
    due_s, until_s = time_s(client) - OVERDUE_S, time.monotonic() + _LOOK_S
    found: Counter[str] = Counter()
    part = paging.piece(client, zset, None, _PAGE, newest_first=False)
    while part.members and part.members[0][1] <= due_s:
        for member, score in part.members:
            queue = unserved(rubyjson.object_of(member) or {}, served)
            if queue is not None and score <= due_s:
                found[queue] += 1
        if time.monotonic() >= until_s:
            return found, False
        part = paging.piece(client, zset, part.behind(), _PAGE, newest_first=False)
    return found, True
