"""The causes of failed jobs for all pages: each set is counted in one place, and what was read is kept there.

`web.sets` and `web.watch` call it, each in the thread of its own connection. Always holds: one caller at a time counts,
and gives way to deliveries; what was read is used only as long as the configuration does not change.
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
    """The causes of failed jobs, one object for a process; `context` may read files."""

    context: Callable[[], ConfigContext]
    _kept: dict[SortedSet, Summaries] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def now(self, client: Client, zset: SortedSet, seconds: float, *, wait: bool = True) -> Summary | None:
        """Return the causes of a set after reading on for `seconds`; None if another caller reads and `wait` is false.

        Raise `StoreUnavailable`, `StoreRefused`, or `ConfigError` if a secret's file cannot be read.
        """
        known = self.context()
        if not self._lock.acquire(blocking=wait):
            return None
        try:
            kept = self._kept.get(zset)
            if kept is None or kept.context != known:
                kept = self._kept[zset] = Summaries(zset, known, gives_way=True)
            return kept.now(client, seconds)
        finally:
            self._lock.release()
