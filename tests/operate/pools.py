"""Processes as Redis knows them: a pool with its snapshot, and a record for Sidekiq."""

import json
from collections.abc import Mapping, Sequence

from restbroker.job.json_types import Json
from restbroker.store import heartbeats, jobs, processes, queues
from restbroker.store.client import Client
from restbroker.store.identities import ProcessInfo
from restbroker.store.jobs import FetchRequest
from tests.operate.conftest import job
from tests.support.store_calls import fetch

SNAPSHOT: Mapping[str, Json] = {
    "kind": "ejabberd", "gate": "open", "concurrency": 20, "limit": 20, "at_work": 3, "ahead": 4, "workers": 20,
    "rate_per_s": 10.0, "p50_ms": 5.0, "p99_ms": 9.0, "delivered": 100, "failed": 1, "server_version": "24.12",
}  # fmt: skip

IDENTITY = "web1:7:abc:ejabberd"


def take(client: Client, *jids: str) -> None:
    """Has the pool `IDENTITY` take these new jobs of the queue rest."""
    assert jobs.register(client, IDENTITY, ProcessInfo(7, "web1", "boot", "ns", 1, "ejabberd"), ["rest"])
    queues.push(client, "rest", [job(jid) for jid in jids])
    fetch(client, FetchRequest(IDENTITY, "ejabberd", ("rest",), 0, len(jids), len(jids)))


def serve(client: Client, target: str, pid: int, queues: Sequence[str], **changed: Json) -> None:
    """Registers a pool of the process `node:pid`, with a beat."""
    identity = f"node:{pid}:abc:{target}"
    facts = ProcessInfo(pid, "node", "boot", "ns", 1, target)
    assert jobs.register(client, identity, facts, queues)
    beat(client, target, pid, **changed)


def beat(client: Client, target: str, pid: int, **changed: Json) -> None:
    """Writes another heartbeat of a pool."""
    identity = f"node:{pid}:abc:{target}"
    assert heartbeats.write_heartbeats(
        client, [(identity, 1)], {identity: json.dumps({**SNAPSHOT, **changed}).encode()}
    ) == [True]


def record(client: Client, name: str, work: Mapping[str, Json] | None = None, **info: Json) -> None:
    """Writes a process' record, as Sidekiq or the broker does."""
    host, pid, _ = name.split(":")
    fields = {"hostname": host, "pid": int(pid), "started_at": 1_700_000_000.5, "concurrency": 5, **info}
    shown = {thread: json.dumps(work).encode() for thread, work in (work or {}).items()}
    raw = json.dumps(fields).encode()
    written = processes.Record(name, raw, shown, quiet=False, rss_kib=4096, rtt_us=90, concurrency=5)
    assert processes.write(client, written)[0] is None
