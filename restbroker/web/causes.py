"""The causes of failed jobs, as their page shows them: at once those that are known, the others as they are counted.

`web.site` serves them, `web.pages` puts them on a page. Always holds: a page waits for `_FIRST_S` of counting at most,
however many jobs there are; the rest is counted by one task of the app, for as long as someone looks, in pieces between
which other visitors have their turn.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from math import inf
from typing import Final

import trio
from quart_trio import QuartTrio

from restbroker.errors import RestbrokerError
from restbroker.light import define, field, frozen
from restbroker.operate.summary import HOUR_S, Cause, Summary
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.web.charts import bars
from restbroker.web.connection import AdminConnection

_FIRST_S: Final = 0.02
"""Seconds of counting that a visitor waits for; what is counted behind the page goes in longer pieces."""
_PIECE_S: Final = 0.05
_VISITED_S: Final = 60.0
"""Counting ends so long after the last request: browsers without JavaScript send one every five seconds."""
_MOST_ROWS: Final = 20
_SPANS: Final = ((24, "24 hours", 1), (7 * 24, "7 days", 6), (30 * 24, "30 days", 24))
"""The spans of the small charts: in hours, in words, and how many hours a bar has."""


@frozen
class CauseTable:
    """The causes that a page shows: the `rows`, from all in `of`; `is_one`: only those that it filters by."""

    summary: Summary
    rows: Sequence[Cause]
    is_one: bool
    at_s: float

    @property
    def span(self) -> tuple[int, str, int]:
        """The span of all the small charts, the least one in which all jobs failed, or else the longest."""
        age_h = (self.at_s - min((cause.first_s for cause in self.rows), default=inf)) / HOUR_S
        return next((span for span in _SPANS if age_h < span[0]), _SPANS[-1])

    def bars(self, cause: Cause) -> str:
        """Return the path of a cause's small chart: when its jobs failed."""
        hours, _, width = self.span
        end = int(self.at_s // HOUR_S) + 1
        counts = [cause.hours.get(hour, 0) for hour in range(end - hours, end)]
        return bars([sum(counts[place : place + width]) for place in range(0, hours, width)])


@define(eq=False)
class CauseCounter:
    """Counts the causes of sets for visitors, as tasks of the `app`."""

    app: QuartTrio
    admin: AdminConnection
    _newest: dict[SortedSet, Summary] = field(factory=dict)
    _visited_at_s: dict[SortedSet, float] = field(factory=dict)
    _tasks: dict[SortedSet, trio.CancelScope] = field(factory=dict)

    async def table(self, zset: SortedSet, at_s: float, groups: Collection[str] = ()) -> CauseTable:
        """Return the causes of a set as far as they are known at once, or only those of `groups`; count on behind.

        Raise `StoreUnavailable`, or `StoreRefused` if the key is no sorted set.
        """
        self._visited_at_s[zset] = trio.current_time()
        # While a task counts, its pieces need not be waited for.
        found = self._newest[zset] if zset in self._tasks else await self._count(zset, wait=False)
        if not found.is_counted and zset not in self._tasks:
            self._tasks[zset] = trio.CancelScope()
            self.app.add_background_task(self._read_on, zset)
        rows = [cause for cause in found.causes if not groups or cause.group in groups]
        return CauseTable(found, rows[:_MOST_ROWS], bool(groups), at_s)

    async def aclose(self) -> None:
        """Have the tasks end. The app calls it before its connections end."""
        for scope in self._tasks.values():
            scope.cancel()

    async def _count(self, zset: SortedSet, *, wait: bool) -> Summary:
        def piece(client: Client) -> Summary:
            known = self.admin.causes.now(client, zset, _PIECE_S if wait else _FIRST_S, wait=wait)
            return known or Summary((), 0, 0, 1, is_counted=False)

        found = self._newest[zset] = await self.admin.ask(piece)
        return found

    async def _read_on(self, zset: SortedSet) -> None:
        try:
            # The next visitor sees what is wrong.
            with self._tasks[zset], suppress(RestbrokerError):
                while trio.current_time() - self._visited_at_s[zset] < _VISITED_S:
                    found = await self._count(zset, wait=True)
                    if found.is_counted:
                        break
        finally:
            del self._tasks[zset]
