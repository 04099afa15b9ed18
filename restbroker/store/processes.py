"""The records of processes as Sidekiq's API and Sidekiq Web read them, and requests to processes.

Used by `broker.status.record`, which writes that of this process, and by `operate`, which reads all and leaves
requests. Always holds: it is for display only; nothing is decided by it, and jobs in progress are safe even if it is
lost (every read of Sidekiq's processes prunes those whose hash has expired). Forms: Sidekiq 5 to 8, read in their
sources and measured on 6.4.1.
"""

import math
import socket
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha1
from typing import Final, Literal, TypeAlias

from restbroker.job import rubyjson
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.store.client import Argument, Client, integer, items, mapping, names, raw

TTL_S = 60
"""Seconds for which Sidekiq shows a process that writes no more."""
_PRUNE_EVERY_S = 60
Request: TypeAlias = Literal["TSTP", "TERM", "TTIN"]
"""TSTP: take no more jobs; TERM: stop; TTIN: dump what every task waits for."""
CHANGES: Final = "queue_changes_per_s"
"""The member of `info` that Sidekiq does not know: {queue: jobs per second by which it grew in the last minute}."""
CANCEL: Final = "CANCEL "
"""The beginning of restbroker's own request; the name of the thread under which a job is shown follows."""
RUBY_SILENT_S: Final = 30.0
"""Three records of Ruby's that did not come, as `identities.SILENT_S` is for ours."""


@frozen
class Record:
    """What is shown of a process. `name` is `host:pid:nonce`; `info` and the values of `work` are JSON.

    `work` has the jobs in progress by the name of a thread that is made up for each. `queues` are those that the
    process serves: where jobs wait in one, it is put on the list of queues.
    """

    name: str
    info: bytes
    work: Mapping[str, bytes]
    quiet: bool
    rss_kib: int
    rtt_us: int
    concurrency: int
    queues: tuple[str, ...] = ()


def write(client: Client, record: Record) -> tuple[str | None, Mapping[str, int | None]]:
    """Write the record in one step, for the next minute, and return one request to this process; None: none.

    Also return how many jobs wait in each of its queues; None for one whose key is no list.

    Raise `StoreUnavailable`: a request may be lost then, as with Sidekiq; or `StoreRefused`.
    """
    keys = client.keys
    own = [keys.process(record.name), keys.work(record.name), keys.workers(record.name), keys.signals(record.name)]
    numbers = [record.rss_kib, record.rtt_us, record.concurrency]
    arguments: list[Argument] = [record.name, TTL_S, record.info, len(record.work)]
    arguments += ["true" if record.quiet else "false", *numbers, keys.queue(""), *record.queues]
    for thread, shown in record.work.items():
        arguments += [thread, shown]
    lists = [of(queue) for of in (keys.queue, keys.key_queue) for queue in record.queues]
    reply = client.run("record", [keys.processes, *own, keys.queues, keys.oldest_jobs, *lists], arguments)
    found, lengths = items(reply, 2)
    request = None if found is None else raw(found).decode("utf-8", "replace")
    known = [None if length is None else integer(length) for length in items(lengths)]
    return request, dict(zip(record.queues, known, strict=True))


def stays_s(client: Client, queues: Sequence[str], now_s: float) -> Mapping[str, float]:
    """Return for how many seconds the oldest job of each of these queues has been the same, as far as that is known.

    It is known while processes write records, and a minute later at the latest. Raise `StoreUnavailable` or
    `StoreRefused`.
    """
    keys = client.keys
    if not queues or not (noted := mapping(client.command("HGETALL", keys.oldest_jobs))):
        return {}
    jobs = client.commands([("LINDEX", keys.queue(queue), -1) for queue in queues])
    found: dict[str, float] = {}
    for queue, job in zip(queues, jobs, strict=True):
        mark, _, since_s = noted.get(queue, b"").partition(b" ")
        ends = job[:256] + job[-256:] if isinstance(job, bytes) else b""
        if sha1(ends, usedforsecurity=False).hexdigest().encode() == mark and since_s.isdigit():
            found[queue] = max(0.0, now_s - int(since_s))
    return found


def remove(client: Client, name: str) -> None:
    """Delete the record of the process of this name. Raise `StoreUnavailable` or `StoreRefused`."""
    keys = client.keys
    own = (keys.process(name), keys.work(name), keys.workers(name), keys.signals(name))
    client.commands([("SREM", keys.processes, name), ("UNLINK", *own)])


def work_of(client: Client, pids: Collection[int] | None = None) -> list[bytes]:
    """Return the jobs in progress (JSON) in the records of all processes, or of those of this host with these pids.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    own = "" if pids is None else tuple(f"{socket.gethostname()}:{pid}:" for pid in pids)
    found = sorted(name for name in names(client.command("SMEMBERS", keys.processes)) if name.startswith(own))
    replies = client.commands([("HVALS", keys.work(name)) for name in found]) if found else []
    return [raw(shown) for reply in replies for shown in items(reply)]


@frozen
class ProcessRecord:
    """The record of a process as stored, by any version of Sidekiq.

    `heartbeat_at_s` is by Redis' clock or by the writer's. `work` has what it shows of its jobs in progress, as JSON,
    by the names of threads.
    """

    name: str
    info: Mapping[str, Json]
    quiet: bool
    busy: int
    heartbeat_at_s: float | None
    rss_kib: int | None
    rtt_us: int | None
    work: Mapping[str, bytes] = field(repr=False)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves, each once."""
        found = self.info.get("queues")
        return tuple(dict.fromkeys(str(name) for name in found)) if isinstance(found, list) else ()

    @property
    def changes_per_s(self) -> Mapping[str, Json]:
        """How fast each of its queues grew in the last minute, as far as the process says it: jobs per second."""
        found = self.info.get(CHANGES)
        return found if isinstance(found, dict) else {}

    @property
    def is_restbroker(self) -> bool:
        """Whether it is one of restbroker's own. Its tag does not tell: a Rails process takes its folder's name."""
        version = self.info.get("version")
        return isinstance(version, str) and version.startswith("restbroker ")

    @property
    def short_name(self) -> str:
        """`host:pid`, by which restbroker's worker pools name their process."""
        return self.name.rpartition(":")[0] or self.name


def read_all(client: Client, *, with_work: bool = True) -> list[ProcessRecord]:
    """Return every process that wrote its record within the last minute. Raise `StoreUnavailable` or `StoreRefused`.

    `with_work`: also read what it shows of its jobs in progress.
    """
    keys = client.keys
    found = sorted(names(client.command("SMEMBERS", keys.processes)))
    records = [mapping(reply) for reply in client.commands([("HGETALL", keys.process(name)) for name in found])]
    there = [(name, fields) for name, fields in zip(found, records, strict=True) if "info" in fields]
    if not with_work:
        return [_read_record(name, fields, {}) for name, fields in there]
    shown = client.commands([("HGETALL", keys.work(name)) for name, _ in there])
    # Sidekiq before 6.4.2 writes there alone.
    older = client.commands([("HGETALL", keys.workers(name)) for name, _ in there])
    work = [mapping(new) or mapping(old) for new, old in zip(shown, older, strict=True)]
    return [_read_record(name, fields, jobs) for (name, fields), jobs in zip(there, work, strict=True)]


def is_there(client: Client, name: str) -> bool:
    """Tell whether a process of this name wrote its record within the last minute.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    listed, written = client.commands([("SISMEMBER", keys.processes, name), ("HEXISTS", keys.process(name), "info")])
    return listed == written == 1


def ask(client: Client, name: str, request: Request | str) -> None:
    """Leave a request for a process, which takes it with its next record, as Sidekiq's API does.

    A request that is not taken within a minute is gone. Raise `StoreUnavailable`: it may be there.
    """
    signals = client.keys.signals(name)
    client.transaction([("LPUSH", signals, request), ("EXPIRE", signals, TTL_S)])


def _read_record(name: str, fields: Mapping[str, bytes], work: Mapping[str, bytes]) -> ProcessRecord:
    def number(field: str) -> float | None:
        try:
            found = float(fields[field])
        except (KeyError, ValueError):
            return None
        return found if math.isfinite(found) else None

    rss, rtt = number("rss"), number("rtt_us")
    return ProcessRecord(
        name=name,
        info=rubyjson.object_of(fields["info"]) or {},
        quiet=fields.get("quiet") == b"true",
        busy=int(number("busy") or 0),
        heartbeat_at_s=number("beat"),
        rss_kib=None if rss is None else int(rss),
        rtt_us=None if rtt is None else int(rtt),
        work=work,
    )


def prune(client: Client) -> None:
    """Remove the names of processes whose record has expired, as Sidekiq's API does, once a minute at most.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    if client.command("SET", keys.process_cleanup, 1, "NX", "EX", _PRUNE_EVERY_S) is None:
        return
    found = sorted(names(client.command("SMEMBERS", keys.processes)))
    shown = client.commands([("HEXISTS", keys.process(name), "info") for name in found])
    gone = [name for name, there in zip(found, shown, strict=True) if there == 0]
    if gone:
        client.command("SREM", keys.processes, *gone)
