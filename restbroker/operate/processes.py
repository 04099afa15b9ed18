"""Processes as an operator sees and steers them: restbroker's and Ruby's Sidekiq on the same Redis.

Called by `restbroker processes` and the pages. Always holds: requests go the way of Sidekiq's own API, so that each
process takes them as if they came from Sidekiq Web; jobs in progress are shown without arguments and without a token.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

import attrs

from restbroker.errors import RestbrokerError
from restbroker.job import hiding, rubyjson
from restbroker.job.hiding import Spellings
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.operate import audit
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import ShownJob, StoredJob
from restbroker.operate.system import PoolState, Snapshot, system
from restbroker.store import processes as process_store
from restbroker.store.client import Client
from restbroker.store.identities import SILENT_S
from restbroker.store.processes import RUBY_SILENT_S, ProcessRecord, Request
from restbroker.store.queues import LEAST_MILLISECONDS

_NAMES = ("display_class", "wrapped", "class")
"""What Sidekiq Web shows of a job is the first of these that it has; the second is what an ActiveJob wraps."""
_WORD_LIMIT = 120
_LARGEST = 10**15
"""A higher number is none that processes write of themselves."""
Order: TypeAlias = Literal["quiet", "stop"]
_REQUESTS: Mapping[Order, Request] = {"quiet": "TSTP", "stop": "TERM"}


@frozen
class ProcessWork:
    """A job that a process is delivering.

    `name`: its command or class; None: unknown. `thread` identifies it within its process. `job.at_s`: since when.
    """

    thread: str
    queue: str
    name: str | None
    job: ShownJob


@frozen(kw_only=True)
class Process:
    """One process. `name` is `host:pid:nonce`, the address for requests.

    It is `host:pid` if the process wrote no record; then no request reaches it. `version` is the process's own word
    (`restbroker 1.2`, `7.3.0`; None before Sidekiq 7). `in_progress`: how many jobs Redis lists as its own (for Ruby's:
    its own count); `jobs` has at most a thousand. `heartbeat_age_s`: seconds since its last heartbeat.
    """

    name: str
    host: str
    pid: int | None
    tag: str | None = None
    version: str | None = None
    is_restbroker: bool
    has_record: bool
    started_at_s: float | None = None
    heartbeat_age_s: float | None
    quiet: bool = False
    concurrency: int = 0
    in_progress: int
    rss_kib: int | None = None
    rtt_us: int | None = None
    targets: tuple[str, ...]
    queues: tuple[str, ...]
    jobs: tuple[ProcessWork, ...] = field(default=(), repr=False)

    @property
    def state(self) -> Literal["running", "quiet", "silent"]:
        """The state. Silent: the process was killed, hangs, or cannot reach Redis."""
        if (self.heartbeat_age_s or 0.0) > (SILENT_S if self.is_restbroker else RUBY_SILENT_S):
            return "silent"
        return "quiet" if self.quiet else "running"


def processes(
    client: Client, secrets: Spellings = frozenset(), *, with_jobs: bool = True, seen: Snapshot | None = None
) -> list[Process]:
    """Return all live processes, by name, with `secrets` masked. `seen`: what was read before.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    # A snapshot leaves out what someone else spoiled; who asks for processes alone is told of it.
    records = process_store.read_all(client, with_work=with_jobs) if with_jobs or seen is None else seen.records
    seen = seen or system(client)
    pools: dict[str, list[PoolState]] = {}
    for pool in seen.targets:
        if pool.process is not None and not pool.dying:
            pools.setdefault(pool.process, []).append(pool)
    found = [_from_record(record, pools.pop(record.short_name, ()), seen.now_s, secrets) for record in records]
    found += [_without_record(name, own) for name, own in pools.items()]
    return sorted(found, key=lambda one: one.name)


def order(client: Client, process: str, verb: Order, who: str, why: str = "") -> None:
    """Order a process to take no more jobs until it is restarted (quiet), or to end (stop), within about five seconds.

    It finishes its jobs in progress; to end, within its time-out. The supervisor of `run --processes` restarts a
    worker, and so do most service managers. Raise `RestbrokerError` if there is no such process.
    """
    if not process_store.is_there(client, process):
        raise _no_process(process)
    audit.write(client, AuditEntry(who=who, action=verb, place=f"process:{process}", why=why))
    process_store.ask(client, process, _REQUESTS[verb])


def cancel(client: Client, process: str, thread: str, who: str, why: str = "") -> None:
    """Order a process to end the delivery of the job with this `thread` (`ProcessWork`).

    It obeys within five seconds. The job dies as `Cancelled`, which says whether it may have run; if it ends before, it
    is settled as usual. Raise `RestbrokerError` if there is no such process, or if it is Ruby's.
    """
    found = next((record for record in process_store.read_all(client) if record.name == process), None)
    if found is None:
        raise _no_process(process)
    if not found.is_restbroker:
        raise RestbrokerError(
            f"The process {process} is not restbroker's: it cannot cancel a job.",
            "Stop it, or wait until the job ends.",
        )
    # As it is shown there, masked.
    shown_jobs = _jobs(
        {name: raw for name, raw in found.work.items() if name == thread}, frozenset(), is_restbroker=True
    )
    jids = tuple(job.job.jid for job in shown_jobs if job.job.jid is not None)
    place, where = f"process:{process}", f"thread {thread}"
    audit.write(client, AuditEntry(who=who, action="cancel", place=place, where=where, why=why, jids=jids))
    process_store.ask(client, process, f"{process_store.CANCEL}{thread}")


def _no_process(process: str) -> RestbrokerError:
    return RestbrokerError(f"There is no process {process} any more.", "`restbroker processes` lists them.")


def _from_record(one: ProcessRecord, pools: Sequence[PoolState], now_s: float, secrets: Spellings) -> Process:
    info = one.info
    version, pid = _text(info, "version"), info.get("pid")
    own = bool(pools) or one.is_restbroker
    return Process(
        name=one.name,
        host=_text(info, "hostname") or one.name.partition(":")[0],
        pid=pid if isinstance(pid, int) and not isinstance(pid, bool) and abs(pid) < _LARGEST else None,
        tag=_text(info, "tag"),
        version=version,
        is_restbroker=own,
        has_record=True,
        started_at_s=_number(info, "started_at"),
        heartbeat_age_s=None if one.heartbeat_at_s is None else max(0.0, now_s - one.heartbeat_at_s),
        quiet=one.quiet,
        concurrency=int(_number(info, "concurrency") or 0),
        in_progress=sum(pool.in_progress for pool in pools) if pools else one.busy,
        rss_kib=one.rss_kib,
        rtt_us=one.rtt_us,
        targets=_targets(pools),
        queues=one.queues,
        jobs=tuple(_jobs(one.work, secrets, is_restbroker=own)),
    )


def _without_record(name: str, pools: Sequence[PoolState]) -> Process:
    """Return one that may not write for Sidekiq Web, or has just begun."""
    host, _, pid = name.rpartition(":")
    ages = [pool.heartbeat_age_s for pool in pools if pool.heartbeat_age_s is not None]
    return Process(
        name=name,
        host=host,
        pid=int(pid),
        is_restbroker=True,
        has_record=False,
        heartbeat_age_s=min(ages, default=None),
        in_progress=sum(pool.in_progress for pool in pools),
        targets=_targets(pools),
        queues=tuple(dict.fromkeys(queue for pool in pools for queue in pool.queues)),
    )


def _targets(pools: Sequence[PoolState]) -> tuple[str, ...]:
    return tuple(sorted({str(pool.target) for pool in pools}))


def _jobs(work: Mapping[str, bytes], secrets: Spellings, *, is_restbroker: bool) -> list[ProcessWork]:
    """Return the jobs, the oldest first. Others may write there too: what cannot be read is left out."""
    found: list[ProcessWork] = []
    known = ConfigContext({}, secrets)
    for thread, raw in work.items():
        with suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError):
            found.append(_work(thread, raw, known, is_restbroker=is_restbroker))
    return sorted(found, key=lambda one: one.job.at_s)


def _work(thread: str, raw: bytes, known: ConfigContext, *, is_restbroker: bool) -> ProcessWork:
    fields = rubyjson.object_of(raw) or {}
    payload = fields["payload"]
    # From Sidekiq 7 on it is a text in the text.
    job = payload.encode() if isinstance(payload, str) else rubyjson.dumps(payload)
    run_at = fields["run_at"]
    if isinstance(run_at, bool) or not isinstance(run_at, int | float):
        raise TypeError(run_at)
    at_s = run_at / 1000 if run_at >= LEAST_MILLISECONDS else run_at
    shown = StoredJob(job, at_s, known).shown()
    # What the arguments of a job for Ruby begin with is no command.
    command = shown.command if is_restbroker else None
    found = attrs.evolve(shown, command=command, arguments=None)
    named = rubyjson.object_of(job) or {}
    name = next((value for value in map(named.get, _NAMES) if isinstance(value, str) and value), None)
    return ProcessWork(
        thread, str(fields["queue"]), name and hiding.make_hide((), known.secrets)(name, _WORD_LIMIT), found
    )


def _text(fields: Mapping[str, Json], name: str) -> str | None:
    found = fields.get(name)
    return found[:_WORD_LIMIT] if isinstance(found, str) and found else None


def _number(fields: Mapping[str, Json], name: str) -> float | None:
    found = fields.get(name)
    if isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < _LARGEST:
        return float(found)
    return None
