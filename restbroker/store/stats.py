"""The numbers that `restbroker stats` shows. Used by `operate` and the pages.

Always holds: everything comes from Redis, so every process shows the same; ages are by Redis' clock.
"""

from collections.abc import Collection, Mapping, Sequence

from restbroker.errors import StoreRefused
from restbroker.light import frozen
from restbroker.store.client import Client, Reply, counts, integer, items, mapping, names
from restbroker.store.identities import Registration, jobs_among, read_fields
from restbroker.store.keys import QueueName
from restbroker.store.queues import expired_s, keys_of, longest_wait_s, next_jobs, odd_names, waiting_of
from restbroker.store.server import time_s


@frozen
class QueueView:
    """A queue: jobs waiting, and how long the next one has been waiting (seconds; None: it does not say).

    `size` is None if the key is no list: then restbroker takes nothing from it. `is_listed`: a client has put it on the
    list of queues, a process serves it, or its key exists. `in_lines`: how many of the jobs are in lines (`FairBy`).
    `expired_s`: for how many seconds one of the next jobs has been past its `expiry`; None: none is.
    """

    name: str
    size: int | None
    latency_s: float | None
    paused: bool
    is_listed: bool
    in_lines: int = 0
    expired_s: float | None = None


@frozen
class IdentityView:
    """An identity: `age_s`, seconds since its last heartbeat (None: none yet), and jobs `in_progress`.

    `is_fenced`: its jobs are being given back. `registration`: what it wrote at its start, None when its record is
    missing or damaged.
    """

    identity: str
    is_fenced: bool
    age_s: float | None
    in_progress: int
    registration: Registration | None


@frozen
class Overview:
    """Totals since the beginning, sizes now, and what runs. `now_s` is Redis' clock, epoch seconds.

    `unread`: how many queues there are beside those in `queues`.
    """

    now_s: float
    processed: int
    failed: int
    retry: int
    schedule: int
    dead: int
    queues: tuple[QueueView, ...]
    identities: tuple[IdentityView, ...]
    unread: int = 0


def overview(client: Client, wanted: Collection[str] = (), most_queues: int | None = None) -> Overview:
    """Read all numbers, in seven round trips. The queues `wanted` are in the result in any case.

    `most_queues`: if there are more, those that are neither wanted nor served are only counted. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    keys = client.keys
    now_s = time_s(client)
    processed, failed, retry, schedule, dead, queues, paused, alive, dying = client.commands(
        [
            ("GET", keys.stat("processed")),
            ("GET", keys.stat("failed")),
            *(("ZCARD", keys.sorted_set(name)) for name in ("retry", "schedule", "dead")),
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.paused_queues),
            ("HGETALL", keys.heartbeats),
            ("HGETALL", keys.fenced_identities),
        ]
    )
    fenced = frozenset(counts(dying))
    identities = _identities(client, sorted(fenced.union(counts(alive))), fenced, now_s)
    # Also queues that are served or wanted but that no client has put on the list: a bare LPUSH does not.
    known = [identity.registration for identity in identities if identity.registration is not None]
    targets = {queue: record.process.target for record in known for queue in record.queues}
    named = names(queues) | targets.keys()
    first = {*targets, *wanted}
    others = sorted(named - first)
    kept = others if most_queues is None else others[: max(0, most_queues - len(first))]
    odd = odd_names([queues, paused])
    return Overview(
        now_s=now_s,
        processed=integer(processed),
        failed=integer(failed),
        retry=integer(retry),
        schedule=integer(schedule),
        dead=integer(dead),
        queues=_queues(
            client,
            keys_of(client, sorted(first.union(kept)), odd),
            named,
            paused=names(paused),
            targets=targets,
            now_s=now_s,
        ),
        identities=identities,
        unread=len(others) - len(kept),
    )


def _queues(
    client: Client,
    lists: Mapping[str, QueueName],
    named: frozenset[str],
    paused: frozenset[str],
    targets: Mapping[str, str],
    now_s: float,
) -> tuple[QueueView, ...]:
    waiting = waiting_of(client, lists)
    known = [name for name, size in waiting.items() if size is not None]
    jobs = next_jobs(client, {name: lists[name] for name in known}, targets)
    return tuple(
        QueueView(
            name,
            None if size is None else size.total,
            longest_wait_s(jobs[name], now_s) if name in jobs else 0.0,
            paused=name in paused,
            is_listed=name in named or size is None or size.total != 0,
            in_lines=0 if size is None else size.in_lines,
            expired_s=expired_s(jobs.get(name, ()), now_s),
        )
        for name, size in waiting.items()
    )


def _identities(
    client: Client, identities: Sequence[str], fenced: frozenset[str], now_s: float
) -> tuple[IdentityView, ...]:
    infos = client.commands([("HGETALL", client.keys.info(identity)) for identity in identities])
    in_progress = client.commands([("HKEYS", client.keys.in_progress(identity)) for identity in identities])
    return tuple(
        _identity(identity, mapping(info), items(tickets), now_s, is_fenced=identity in fenced)
        for identity, info, tickets in zip(identities, infos, in_progress, strict=True)
    )


def _identity(
    identity: str, info: Mapping[str, bytes], fields: Sequence[Reply], now_s: float, *, is_fenced: bool
) -> IdentityView:
    try:
        known = read_fields(info)
    except StoreRefused:
        known = None
    at_s = None if known is None else known.heartbeat_at_s
    age_s = None if at_s is None else max(0.0, now_s - at_s)
    return IdentityView(identity, is_fenced, age_s, in_progress=jobs_among(fields), registration=known)
