"""/stats: the fields that the original program had, and further metrics.

Read in the thread of their connection, so that neither Redis nor much JSON holds up deliveries. Always holds: jobs are
shown without secret arguments, without a token in any field and, unless configured, without message texts; what is
large is cut; `enqueued` has texts for numbers, since readers of the original expect them; a page of another site can
neither request it (no CORS header, host names are checked) nor learn a secret; an answer never waits for Redis longer
than a few seconds. The original answered any page with the tokens of running jobs, and hung up when Redis was away.
"""

import json
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias, cast

import trio
from quart import Response

from restbroker.broker.status.view import RunningJob
from restbroker.config.core import Config
from restbroker.errors import RestbrokerError
from restbroker.job import display, hiding, redact, rubyjson
from restbroker.job.command import CommandSpec
from restbroker.job.hiding import Spellings
from restbroker.job.json_types import Json
from restbroker.light import field, frozen
from restbroker.operate import processes as operated
from restbroker.operate import system
from restbroker.operate.context import ConfigContext
from restbroker.operate.processes import Process
from restbroker.operate.system import PoolState, Snapshot, TargetState, TargetStoppedKeys
from restbroker.serving.app import failure, text_answer
from restbroker.store import processes
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.web.route import page

VERSION = 1
"""Raised when a field changes its meaning or goes; new fields may come without."""
JobsInProgress: TypeAlias = Callable[[Client, Sequence[str]], dict[str, Json]]
"""Returns, for each of these queues, the list of its jobs in progress; in which processes, its maker decides."""
MOST_QUEUES = 1000
"""The most queues that pages read besides those that are served, since they read again and again."""
_WHOLE_BYTES = 65_536
"""A larger job is shown as in Sidekiq Web, in some kilobytes: a thousand may be in progress."""


def metrics(
    client: Client, served: Sequence[str], in_delivery: JobsInProgress, unready: str | None = None
) -> dict[str, Json]:
    """Return all metrics; `served` are this process's queues, `unready` is why no jobs are taken now, as on /readyz.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    seen = system.system(client, served)
    waiting = {queue.name: queue.size for queue in seen.queues}
    shown = seen.as_json()
    return {
        "processed": seen.totals["processed"],
        "failed": seen.totals["failed"],
        "jobs": in_delivery(client, served),
        "enqueued": {name: "unknown" if waiting[name] is None else str(waiting[name]) for name in served},
        "retries": seen.totals["retry"],
        "version": VERSION,
        "scheduled": seen.totals["schedule"],
        "dead": seen.totals["dead"],
        "queues": shown["queues"],
        "targets": shown["targets"],
        "processes": _processes(seen.targets),
        "sources": shown["sources"],
        "redis": shown["redis"],
        "unready": unready,
    }


@frozen
class Figures:
    """What the live pages show: the `system`, its targets over all processes, and every process, also those of Ruby.

    `unready` is why this process, which has this `config`, takes no jobs now. `starts`: it may not be in Redis yet.
    """

    system: Snapshot = field(factory=Snapshot)
    targets: Sequence[TargetState] = ()
    processes: Sequence[Process] = ()
    stopped: Sequence[TargetStoppedKeys] = ()
    config: Config = field(factory=Config)
    unready: str | None = None
    starts: bool = False


def live_figures(client: Client, config: Config, unready: str | None = None, *, starts: bool = False) -> Figures:
    """Return the figures for the live pages. Raise `StoreUnavailable` or `StoreRefused`."""
    found = system.system(client, config.queues, MOST_QUEUES)
    return Figures(
        system=found,
        targets=system.targets(client, found.targets),
        # Without its jobs nothing of a process comes from a producer.
        processes=operated.processes(client, with_jobs=False, seen=found),
        stopped=system.stopped_keys(client, config.targets),
        config=config,
        unready=unready,
        starts=starts,
    )


def in_this_process(running: Sequence[RunningJob], *, show_bodies: bool) -> JobsInProgress:
    """Return a function that lists what this process itself has in progress, from `running`."""
    return lambda _client, served: {queue: _jobs(queue, running, show_bodies=show_bodies) for queue in served}


def in_worker_processes(pids: Collection[int]) -> JobsInProgress:
    """Return a function that lists the jobs in progress of these processes of this host.

    They are in the records for Sidekiq Web, which are up to five seconds old.
    """
    return lambda client, served: _from_record(processes.work_of(client, pids), served, lambda message: message)


def in_all_processes(known: Callable[[], ConfigContext]) -> JobsInProgress:
    """Return a function that lists the jobs in progress of all processes on the same Redis; `known` may read files.

    The jobs are masked here, since processes of Ruby, which may serve these queues too, mask nothing.
    """

    def in_delivery(client: Client, served: Sequence[str]) -> dict[str, Json]:
        what = known()

        def shown(message: Json) -> Json:
            if not isinstance(message, dict):
                return hiding.MASK
            queue = message.get("queue")
            spec = what.spec(queue if isinstance(queue, str) else None, display.command_of(message))
            return _mask(message, spec, what.secrets, show_bodies=what.show_bodies)

        return _from_record(processes.work_of(client), served, shown)

    return in_delivery


def _from_record(works: Iterable[bytes], served: Sequence[str], shown: Callable[[Json], Json]) -> dict[str, Json]:
    found: dict[str, list[Json]] = {queue: [] for queue in served}
    for raw in works:
        # Others may write there too.
        with suppress(rubyjson.Unreadable, KeyError, TypeError):
            one = cast("Mapping[str, Json]", rubyjson.loads(raw))
            message = rubyjson.loads(str(one["payload"]).encode())
            found[str(one["queue"])].append({"message": shown(message), "started_at": one["run_at"]})
    return {**found}


def _jobs(queue: str, running: Sequence[RunningJob], *, show_bodies: bool) -> list[Json]:
    own = [job for job in running if job.queue == queue]
    # The jobs of a target share their secrets.
    known = {secrets: hiding.spellings_of(secrets) for secrets in {job.secrets for job in own}}
    return [
        {
            "message": _message(job, known[job.secrets], show_bodies=show_bodies),
            "started_at": int(job.started_at_s),
        }
        for job in own
    ]


def _message(one: RunningJob, secrets: Spellings, *, show_bodies: bool) -> Json:
    if len(one.job.raw) > _WHOLE_BYTES:
        fields = one.job.fields
        cut = display.payload(fields, one.command, one.queue, secrets=secrets, spec=one.spec, show_bodies=show_bodies)
        return rubyjson.loads(cut)
    return _mask(one.job.fields, one.spec, secrets, show_bodies=show_bodies)


def _mask(fields: Mapping[str, Json], spec: CommandSpec | None, secrets: Spellings, *, show_bodies: bool) -> Json:
    """Return a job's fields without secrets, which a producer may have written anywhere in it."""

    def shown() -> Json:
        hides = redact.hides_of(fields, redact.look(fields, spec, show_bodies=show_bodies)[1], secrets)
        return hiding.hide_everywhere(
            redact.job(fields, spec, show_bodies=show_bodies, hides=hides), hides[1], sys.maxsize
        )

    return display.show_or_explain(shown, lambda line: line)


def _processes(pools: Sequence[PoolState]) -> list[Json]:
    """Return one row per process, with the names of its targets; processes that are gone are left out."""
    found: dict[str, list[PoolState]] = {}
    for pool in pools:
        if not pool.dying:
            found.setdefault(pool.name, []).append(pool)
    return [
        {
            "name": name,
            "targets": [pool.target for pool in own],
            "in_progress": sum(pool.in_progress for pool in own),
            "heartbeat_age_s": own[0].heartbeat_age_s,
            "quiet": own[0].quiet,
        }
        for name, own in found.items()
    ]


TIMEOUT_S = 2.0
"""How many seconds a request waits while others use Redis."""


Question: TypeAlias = Callable[[Client], Mapping[str, Json]]
"""Reads the figures for /stats from Redis, in the thread of the connection."""
Glance: TypeAlias = Callable[[Client], Figures]
"""Reads the figures for the live pages, in the same way."""


def stats_view(connection: Connection, question: Callable[[], Question]) -> Callable[[], Awaitable[Response]]:
    """Return the view for /stats.

    For each request, `question()` returns the function that reads the metrics over `connection`, which has a short
    time-out.

    The view answers 503 if Redis is away or busy.
    """

    @page("/stats", "[figures as JSON](stats-format.md#stats)")
    async def stats() -> Response:
        figures = question()

        def body(client: Client) -> str:
            # As ASCII: integers of any size and half surrogate pairs, which jobs may hold, do no harm.
            return json.dumps(figures(client), indent=2)

        try:
            with trio.move_on_after(TIMEOUT_S):
                return text_answer(await connection.ask(body))
        except RestbrokerError as error:
            return failure(503, type(error).__name__, error.message, error.hint)
        return failure(503, "Busy", "Other requests for these numbers are waiting for Redis.", "Try again later.")

    return stats
