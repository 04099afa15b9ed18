"""The connection to Redis for pages of jobs and for what people do; the causes of failed jobs, counted in one place.

Always holds: a visitor waits a few seconds at most, and then gets an error; the connection is neither the one that live
pages use nor one that delivers; one caller at a time counts causes, and gives way to deliveries, and what was read is
used only as long as the configuration does not change.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.errors import ConnectionEnded, StoreUnavailable
from restbroker.operate.context import ConfigContext
from restbroker.operate.summary import Summaries, Summary
from restbroker.store.client import Client
from restbroker.store.connection import Connection
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


T = TypeVar("T")
TIMEOUT_S = 8.0


@attrs.frozen(eq=False)
class AdminConnection:
    """A connection to Redis for visitors' requests; `causes` serves live pages too.

    `config` returns the configuration as it is now, `context` its facts for showing jobs. Both may read files of
    secrets, so call them in the connection's thread.
    """

    connection: Connection
    context: Callable[[], ConfigContext]
    config: Callable[[], Config]
    causes: Causes = attrs.field(init=False)

    @causes.default
    def _causes(self) -> Causes:
        return Causes(self.context)

    def tokens(self) -> Tokens:
        """Return the tokens that admit jobs; call it in the connection's thread, since it may read files."""
        return Tokens(self.config().tokens)

    async def ask(self, question: Callable[[Client], T]) -> T:
        """Run `question(client)` in the connection's thread and return its result; wait at most `TIMEOUT_S` seconds.

        Raise the error that it raises, and `StoreUnavailable` if other requests take too long. When cancelled, a
        question that has begun runs to its end.
        """
        with trio.move_on_after(TIMEOUT_S):
            try:
                return await self.connection.call(question)
            except ConnectionEnded:  # since the last question; nothing of this one was done
                return await self.connection.call(question)
        raise StoreUnavailable("Other requests keep Redis busy at the moment.", "Try again.")
