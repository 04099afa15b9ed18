"""Finds due jobs that stay in their set, since no target of this configuration serves their queue.

Called by `operate.check_store`. Always holds: nothing is written, and it takes some seconds at most.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from restbroker.config.core import Config
from restbroker.job import rubyjson
from restbroker.job.unserved_queues import OVERDUE_S, counts_text, unserved_queue
from restbroker.servers.findings import Finding
from restbroker.store import sets
from restbroker.store.client import Client

_Zset: TypeAlias = Literal["retry", "schedule"]

AREA = "redis"
_PAGE: Final = 100
_LOOK_S: Final = 3.0
_SETS: Final[dict[_Zset, str]] = {"retry": "retries", "schedule": "scheduled"}


def check_due(client: Client, config: Config) -> Iterator[Finding]:
    """Yield a finding for each set with due jobs that no target serves. Raise `StoreUnavailable` or `StoreRefused`."""
    for zset, command in _SETS.items():
        found, whole = _waiting(client, zset, frozenset(config.queues))
        if found:
            count = f"{found.total()}" if whole else f"At least {found.total()}"
            yield Finding(
                "warning",
                AREA,
                "QueueNotServed",
                message=f"{count} due jobs that restbroker wrote stay in {zset!r}, since no target of this"
                f" configuration serves their queue: {counts_text(found)}.",
                why="They wait until a restbroker that serves it runs.",
                hint="Start that one, or serve the queue here (RestQueue, or Queues of a target). Or look at them:"
                f" restbroker {command} list --where 'queue = NAME', and move or delete them.",
            )


def _waiting(client: Client, zset: _Zset, served: frozenset[str]) -> tuple[Counter[str], bool]:
    """Return how many wait for each queue, and whether there was time to read all that is due."""
    until_s = time.monotonic() + _LOOK_S
    found: Counter[str] = Counter()
    after = sets.BEGINNING
    while True:
        due = sets.due(client, zset, _PAGE, after)
        for member, score in due.members:
            queue = unserved_queue(rubyjson.object_of(member) or {}, served)
            if queue is not None and due.now_s - score >= OVERDUE_S:
                found[queue] += 1
        is_whole = len(due.members) < _PAGE
        if is_whole or time.monotonic() >= until_s:
            return found, is_whole
        after = after.behind([score for _, score in due.members])
