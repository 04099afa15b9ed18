"""What the store's tests share: a server seen from both sides, and a pool on it."""

from typing import Any

import attrs
import pytest

from restbroker.job.settlement import Dead, OrphanedJob
from restbroker.store.client import Client, StoreSettings
from restbroker.store.identities import ProcessInfo
from tests.support.redis_server import RedisServer

QUEUES = ("a", "b")
NAMESPACE = "ns"
on_both = pytest.mark.parametrize("server", ["redis_server", "valkey_server"], indirect=True)
"""For a walk of each script and reader, and where the two could differ; the model runs on both as well."""
FACTS = ProcessInfo(pid=1, hostname="h", boot_id="b", pid_namespace="n", started_at_ticks=5, target="t")


@attrs.frozen
class Server:
    """A running server. `raw`, a redis.Redis, looks at it without the store, as Sidekiq would; its types are loose."""

    name: str
    process: RedisServer
    raw: Any

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(self.process.url, namespace=NAMESPACE)

    def now_us(self) -> int:
        """Epoch microseconds by its clock."""
        seconds, micros = self.raw.time()
        return int(seconds) * 1_000_000 + int(micros)


@attrs.frozen
class Pool:
    """A registered identity, and the client that speaks for it."""

    client: Client
    identity: str


def as_parked(fallen: OrphanedJob) -> Dead:
    """How a marked job is parked, as the broker would say it."""
    return Dead(0.0, parked_payload(fallen.queue, fallen.raw))


def parked_payload(queue: str, raw: bytes) -> bytes:
    """What the dead set holds of it then."""
    return b'{"queue":"%s","was":"%s"}' % (queue.encode(), raw.hex().encode())
