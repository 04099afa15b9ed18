"""Finds jobs that no process works on: those of processes that are gone, and what the Go original left.

Called by `operate.check_store`. Always holds: nothing is written, and no more keys are read than the store's own
searches do.
"""

from collections.abc import Iterator

from restbroker.config.core import Config
from restbroker.operate import migrate
from restbroker.servers.findings import Finding
from restbroker.store import migration, survey
from restbroker.store.client import Client
from restbroker.store.stats import IdentityView, overview
from restbroker.store.survey import Orphan

AREA = "redis"
SILENT_S = 30.0
"""A process without a heartbeat for so long is dead: it sends one every 2.5 s and is fenced after 20 s."""


def check_unfinished(client: Client) -> Iterator[Finding]:
    """Yield the jobs in progress of lost processes. Raise `StoreUnavailable` or `StoreRefused`."""
    seen = overview(client)
    living = any(not is_dead(pool) for pool in seen.identities)
    yield from (
        _unfinished_finding(pool, living=living) for pool in seen.identities if pool.in_progress and is_dead(pool)
    )
    dead = survey.orphans(client, {pool.identity for pool in seen.identities})
    yield from (_orphan(client, one) for one in dead)


def check_original(client: Client, config: Config) -> Iterator[Finding]:
    """Yield the Go program's jobs that are in progress or wait for a retry.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    where = migrate.sources(client, config.queues, ())
    states = migration.states(client, where.lists)
    sizes = {client.keys.go_in_progress(*one): state.size for one, state in zip(where.lists, states, strict=True)}
    sizes[client.keys.go_retry] = migration.retry_count(client)
    left = [f"{jobs} in {key}" for key, jobs in sizes.items() if jobs]
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more lists" if len(left) > 5 else "")
        yield Finding(
            "warning",
            AREA,
            "OriginalLeft",
            message=f"The Go original (ejabberd-restbroker) has jobs here: {shown}.",
            why="restbroker does not read these: while the original is stopped, nothing runs them.",
            hint="Stop the original, then: restbroker migrate (with --dry-run it only shows what would be moved)",
        )


def is_dead(pool: IdentityView) -> bool:
    """Tell whether a process cannot come back: it is fenced, or has been silent for too long."""
    return pool.is_fenced or pool.age_s is None or pool.age_s > SILENT_S


def _unfinished_finding(pool: IdentityView, *, living: bool) -> Finding:
    jobs = "1 job is" if pool.in_progress == 1 else f"{pool.in_progress} jobs are"
    message = f"{jobs} in progress of {pool.identity}, which is gone."
    if living:
        return Finding(
            "note",
            AREA,
            "Recovering",
            message=message,
            why="A running restbroker returns them to their queues within 25 s.",
            hint=None,
        )
    why = "They wait until a running restbroker returns them to their queues."
    return Finding(
        "warning", AREA, "LeftBehind", message=message, why=why, hint="Start `restbroker run`; it takes about 25 s."
    )


def _orphan(client: Client, orphan: Orphan) -> Finding:
    key = client.keys.in_progress(orphan.identity)
    message = f"{orphan.jobs} jobs are in {key}, which belongs to no process."
    why = "No process will find them: the owner's entry was removed by hand, by another program, or lost in a failover."
    hint = (
        f"Let a running restbroker return them: HSET {client.keys.fenced_identities} {orphan.identity} 0"
        if orphan.is_described
        else f"Push each job of HGETALL {key} (all fields but last and hwm) to its queue, then DEL {key}."
    )
    return Finding("warning", AREA, "Orphans", message=message, why=why, hint=hint)
