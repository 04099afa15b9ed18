"""Reads what Redis has of processes: which identities live, the record that each wrote at its start, and its jobs.

Used by `store.heartbeats`, which writes it, by the metrics and by `enqueue`. Always holds: nothing is changed here; the
error about a damaged record names it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from restbroker.errors import StoreRefused
from restbroker.job import rubyjson
from restbroker.job.format import ResponseQueue
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.store.client import Client, Reply, counts, mapping

_RESPONSE_FIELDS = ("response_queue", "response_class")
_MOST_DIGITS = 20
SILENT_S: Final = 15.0
"""Three records of ours that did not come: Redis keeps that of a killed process for a minute.

The one threshold for stats, pages, `processes`, `check`, `explain` and `enqueue`.
"""


@frozen
class ProcessInfo:
    """Where an identity's process runs. `started_at_ticks` is field 22 of /proc/PID/stat.

    `pid_namespace` is the inode of /proc/self/ns/pid: containers share host names, not pids.
    """

    pid: int
    hostname: str
    boot_id: str
    pid_namespace: str
    started_at_ticks: int
    target: str


@frozen
class Registration:
    """The record that an identity wrote at its start. `queues` are in the order of their indices, the first being 1.

    `heartbeat_at_s` (whole seconds, Redis' clock) and `snapshot` are of its last heartbeat, for display only.
    `responses`: where the reply jobs of its dead jobs go; None: nowhere.
    `key_rules`: what its target said of these (`job.order.key_rules`). `time_outs_s`, where its jobs are done in order:
    for how many seconds a request may be answered, "" being that of commands that have no longer time-out of their own.
    """

    process: ProcessInfo
    queues: tuple[str, ...]
    heartbeat_at_s: int | None
    snapshot: bytes | None
    responses: ResponseQueue | None = None
    key_rules: str = ""
    time_outs_s: Mapping[str, float] = field(factory=dict)

    @property
    def name(self) -> str:
        """`host:pid`, as people know the process."""
        return f"{self.process.hostname}:{self.process.pid}"

    @property
    def facts(self) -> Mapping[str, Json]:
        """The snapshot, read; empty if it cannot be. Another version may have written it: any field may be missing."""
        return rubyjson.object_of(self.snapshot or b"") or {}

    def time_out_of_s(self, endpoint: str) -> float:
        """Return for how many seconds a request for a job with this endpoint may be answered."""
        # As any kind reads it (`Catalogue.name_in`).
        names = {"", endpoint, endpoint.partition("/")[0], endpoint.replace("/", ".")}
        return max(self.time_outs_s.get(name, 0.0) for name in names)

    @property
    def takes_jobs(self) -> bool:
        """Whether it takes jobs, as the snapshot says; its target may be down even so."""
        facts = self.facts
        return facts.get("quiet") is not True and facts.get("finishing") is not True


def live_identities(client: Client) -> Mapping[str, int]:
    """Return every identity that may fetch, and its counter. Raise `StoreUnavailable` or `StoreRefused`."""
    return counts(client.command("HGETALL", client.keys.heartbeats))


def fenced_identities(client: Client) -> Mapping[str, int]:
    """Return every fenced identity that may still hold jobs, and its counter at that time.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    return counts(client.command("HGETALL", client.keys.fenced_identities))


def all_identities(client: Client) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return what `live_identities` and `fenced_identities` do, in one round trip."""
    live, fenced = client.commands([("HGETALL", client.keys.heartbeats), ("HGETALL", client.keys.fenced_identities)])
    return counts(live), counts(fenced)


def read(client: Client, identity: str) -> Registration | None:
    """Return the record of an identity; None if there is none. Raise `StoreRefused` if it is damaged."""
    fields = mapping(client.command("HGETALL", client.keys.info(identity)))
    return read_fields(fields) if fields else None


def read_fields(fields: Mapping[str, bytes]) -> Registration:
    """Return the record of an identity from the fields of its hash. Raise `StoreRefused` if some are missing."""
    try:
        words = {name: fields[name].decode() for name in ("hostname", "boot_id", "pid_namespace", "target")}
        found = ProcessInfo(pid=int(fields["pid"]), started_at_ticks=int(fields["started_at_ticks"]), **words)
        indices = sorted(int(name) for name in fields if name.isdigit())
        queues = tuple(fields[str(index)].decode() for index in indices)
        time_outs_s = {name.partition(":")[2]: float(fields[name]) for name in fields if name.startswith("quiet_s")}
    except (KeyError, ValueError) as error:
        raise StoreRefused(
            f"The record of a worker pool in Redis is incomplete ({error}).",
            "Another program wrote to restbroker:info:*. Its jobs stay in restbroker:ip:*.",
        ) from error
    at = fields.get("beat_at", b"")
    beat_at_s = int(at) if at.isdigit() and len(at) < _MOST_DIGITS else None
    return Registration(
        found,
        queues,
        beat_at_s,
        snapshot=fields.get("snapshot"),
        responses=_read_responses(fields),
        key_rules=fields.get("groups", b"").decode("utf-8", "replace"),
        time_outs_s=time_outs_s,
    )


def _read_responses(fields: Mapping[str, bytes]) -> ResponseQueue | None:
    # Only for answers: anyone who spoils them costs no job.
    name, job_class = (fields.get(field, b"").decode("utf-8", "replace") for field in _RESPONSE_FIELDS)
    return ResponseQueue(name, job_class) if name and job_class else None


def jobs_among(fields: Sequence[Reply]) -> int:
    """Count the jobs among an in-progress hash's fields."""
    return sum(field not in (b"last", b"hwm") for field in fields)
