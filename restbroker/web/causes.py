"""The causes of failed jobs for all pages: those of a set are counted in one place, and what was read stays there.

`web.sets` and `web.watch` ask, each in the thread of its own connection. Always holds: one at a time counts, and gives
way to deliveries; what was read counts only as long as the configuration says the same of jobs.
"""

import threading
from collections.abc import Callable

import attrs

from restbroker.operate.context import ConfigContext
from restbroker.operate.summary import Summaries, Summary
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet


@attrs.define(eq=False)
class Causes:
    """One for a process. `known` may read files."""

    known: Callable[[], ConfigContext]
    _kept: dict[SortedSet, Summaries] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def now(self, client: Client, zset: SortedSet, seconds: float, *, wait: bool = True) -> Summary | None:
        """Return the causes of a set, read further for so long; None: another one reads, and this does not `wait`.

        Raises `StoreUnavailable`, `StoreRefused`, or `ConfigError` if a secret's file cannot be read.
        """
        known = self.known()
        if not self._lock.acquire(blocking=wait):
            return None
        try:
            kept = self._kept.get(zset)
            if kept is None or kept.known != known:
                kept = self._kept[zset] = Summaries(zset, known, gives_way=True)
            return kept.now(client, seconds)
        finally:
            self._lock.release()
