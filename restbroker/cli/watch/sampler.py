"""Read the stats from Redis repeatedly; used by `loop`.

Always holds: that Redis is away is reported, never raised; the next read connects again by itself.
"""

import time
from collections.abc import Callable, Mapping

import attrs

from restbroker.cli.watch.trend import Trend, TrendHistory
from restbroker.config.core import Config
from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.operate.overview import SystemStats, stopped_counts, system_stats
from restbroker.store.client import Client
from restbroker.store.server import product

TIMEOUT_S = 2.0
"""The time-out of one read in seconds; a key that is pressed meanwhile has to wait as long."""


@attrs.frozen
class Sample:
    """The result of one read; with an `error`, `stats` is that of the last good read, `age_s` seconds ago.

    `stats` is None if there are none yet. `server` is product, version and address of Redis. `stopped_keys` has what
    `stopped_counts` returned.
    """

    server: str
    stats: SystemStats | None
    trend: Trend
    error: RestbrokerError | None
    age_s: float
    stopped_keys: Mapping[str, str]


@attrs.define
class Sampler:
    """Reads the stats and keeps the last ones; `clock` returns seconds and never goes back."""

    client: Client
    settings: Config
    clock: Callable[[], float] = time.monotonic
    _past: TrendHistory = attrs.field(factory=TrendHistory)
    _product: str | None = None
    _seen: SystemStats | None = None
    _seen_at_s: float = 0.0
    _stopped_keys: Mapping[str, str] = attrs.field(factory=dict)

    def sample(self) -> Sample:
        """Read the stats once, and return them with the trend; if Redis is away, return the last ones with the error.

        Raise `StoreRefused` if the very first read is refused, since waiting would not help.
        """
        error: RestbrokerError | None = None
        try:
            self._ask()
        except StoreUnavailable as away:
            error = away
            # It may come back as another.
            self._product = None
        except StoreRefused as refused:
            if self._seen is None:
                raise
            error = refused
        server = f"{self._product or 'Redis'} at {self.client.address}"
        age_s = self.clock() - self._seen_at_s
        return Sample(server, self._seen, self._past.trend(), error=error, age_s=age_s, stopped_keys=self._stopped_keys)

    def _ask(self) -> None:
        try:
            seen = system_stats(self.client, self.settings.queues)
        except ConnectionEnded:
            # It ended since the last look, and nothing was asked: Redis may well be there.
            seen = system_stats(self.client, self.settings.queues)
        self._stopped_keys = stopped_counts(self.client, self.settings.targets)
        if self._product is None:
            self._product = product(self.client)
        self._seen, self._seen_at_s = seen, self.clock()
        self._past.add(self._seen_at_s, seen)
