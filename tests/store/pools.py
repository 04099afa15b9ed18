"""What the store's tests share: a server seen from both sides, and a pool on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.job.settlement import Dead, OrphanedJob, Settlement
from restbroker.store import heartbeats, identities, queues
from restbroker.store.client import Client, StoreSettings
from restbroker.store.codes import Code
from restbroker.store.heartbeats import Recovered
from restbroker.store.identities import ProcessInfo
from restbroker.store.jobs import FetchAnswer, FetchRequest, FetchResult
from restbroker.store.settling import FinishRequest
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.store_calls import fetch, finish
from tests.transport.authority import authority

QUEUES = ("a", "b")
NAMESPACE = "ns"
on_both = pytest.mark.parametrize("server", ["redis_server", "valkey_server"], indirect=True)
"""For a walk of each script and reader, and where the two could differ; the model runs on both as well."""
FACTS = ProcessInfo(pid=1, hostname="h", boot_id="b", pid_namespace="n", started_at_ticks=5, target="t")


def redis_over_tls(
    make_redis: Callable[..., RedisServer], folder: Path, name: str = "server"
) -> tuple[StoreSettings, RedisServer]:
    """A Redis that shows this certificate of an authority in the folder, and the way to it over TLS."""
    made, port = authority(folder), free_port()
    certificate, key = made.pair(name)
    own = make_redis(tls_port=str(port), tls_auth_clients="no", tls_cert_file=str(certificate), tls_key_file=str(key))
    return StoreSettings(f"rediss://127.0.0.1:{port}/0", ca_file=made.ca), own


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
    """A registered identity of the target "t", and the client that speaks for it."""

    client: Client
    identity: str

    def ask(self, count: int = 10, hwm: int = 0, base: int = 0, **more: Any) -> FetchAnswer:
        """One fetch."""
        return fetch(self.client, FetchRequest(self.identity, "t", QUEUES, base, count, hwm, **more))

    def take(self, count: int = 10, hwm: int = 0, base: int = 0, **more: Any) -> FetchResult:
        """One fetch that nothing hinders."""
        answer = self.ask(count, hwm, base, **more)
        assert isinstance(answer, FetchResult), answer
        return answer

    def start(self, count: int) -> list[str]:
        """Have this number of jobs, "job 0" and so on, in progress; return their tickets."""
        queues.push(self.client, "a", [b"job %d" % number for number in range(count)])
        return [job.ticket for job in self.take(count, hwm=count).jobs]

    def settle(self, *items: tuple[str, Settlement], hwm: int = 0, now_s: float = 1.0, **more: Any) -> list[Code]:
        return finish(self.client, FinishRequest(self.identity, "t", QUEUES, hwm, items, **more), now_s)


def as_dead(fallen: OrphanedJob) -> Dead:
    """How a marked job is dead, as the broker would say it."""
    return Dead(0.0, dead_payload(fallen.queue, fallen.raw))


def die(client: Client, identity: str, heartbeat: int = 0) -> Recovered:
    """Its process is dead, and its jobs go where they belong."""
    assert heartbeats.fence(client, identity, heartbeat)
    return heartbeats.recover(client, identity, as_dead)


def is_retired(client: Client, identity: str) -> bool:
    """Nothing of it is left to be recovered."""
    return identity not in identities.fenced_identities(client)


def dead_payload(queue: str, raw: bytes) -> bytes:
    """What the dead set holds of it then."""
    return b'{"queue":"%s","was":"%s"}' % (queue.encode(), raw.hex().encode())
