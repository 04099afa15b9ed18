"""Checks the configured queues: is each known, served, not paused, or do producers push elsewhere?

Called by `operate.check_store`. Always holds: nothing is written.
"""

import shlex
from collections.abc import Iterator

from restbroker.broker import token_watch
from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.job.order import is_order, settled_text
from restbroker.operate import pauses
from restbroker.operate.check_unfinished import is_dead
from restbroker.operate.names import nearest
from restbroker.operate.snapshot import read_snapshot, takes_jobs
from restbroker.servers import registry
from restbroker.servers.findings import Finding, ok
from restbroker.store import survey, unadmitted
from restbroker.store.client import Client
from restbroker.store.pauses import Pause, paused_queues
from restbroker.store.server import ServerInfo
from restbroker.store.stats import Overview, QueueView, overview

AREA = "redis"


def check_queues(client: Client, config: Config, info: ServerInfo) -> Iterator[Finding]:
    """Yield the findings for each queue of each target. Raise `StoreUnavailable` or `StoreRefused`."""
    seen = overview(client, config.queues)
    known = {queue.name: queue for queue in seen.queues if queue.is_listed}
    paused = paused_queues(client)
    of_queue = {queue: target.lines_text for target in config.targets for queue in target.queues}
    for name in config.queues:
        if name in known:
            yield from _known_queue(known[name], paused.get(name), seen, of_queue[name])
        else:
            yield _new_queue(client, config, info, name=name, known=tuple(known))
    yield from _left_keys(client, config, seen)
    yield from _mixed_tokens(config, seen)


def _mixed_tokens(config: Config, seen: Overview) -> Iterator[Finding]:
    """Yield a finding for each queue that a process serves with other tokens than this configuration has."""
    mine = token_watch.digests(Tokens(config.tokens), config.targets)
    found = {
        queue: f"{known.process.hostname}:{known.process.pid}"
        for pool in seen.identities
        if not is_dead(pool) and (known := pool.registration) is not None
        for queue in token_watch.unlike(mine, read_snapshot(known.snapshot))
    }
    for queue, process in found.items():
        message = f"{process} serves the queue {queue} with other tokens than this configuration."
        why = "Which process takes a job decides whether it is done or dies."
        yield Finding("warning", AREA, "TokensMixed", message=message, why=why, hint=token_watch.HINT)


def _left_keys(client: Client, config: Config, seen: Overview) -> Iterator[Finding]:
    """Yield a finding if keys are held by a target that was renamed or taken away."""
    served = {
        pool.registration.process.target
        for pool in seen.identities
        if pool.registration is not None and not is_dead(pool)
    }
    for name in sorted(survey.ordered_targets(client) - served - {target.name for target in config.targets}):
        yield Finding(
            "warning",
            AREA,
            "OrderLeft",
            message=f"The target {name} holds keys, and is not in this configuration; no process serves it.",
            why="A target of another name does not know them: what waits with a stopped key is sent.",
            hint=f"Name the target {name} again until `restbroker keys list` is empty; else delete the key "
            f"{client.keys.order_hold(name)}.",
        )


def _known_queue(queue: QueueView, pause: Pause | None, seen: Overview, fairness: str) -> Iterator[Finding]:
    pools = [
        (pool.registration.process, read_snapshot(pool.registration.snapshot))
        for pool in seen.identities
        if not is_dead(pool) and pool.registration is not None and queue.name in pool.registration.queues
    ]
    yield from _mixed(queue, seen, fairness)
    served = any(takes_jobs(snapshot) for _, snapshot in pools)
    quiet = sorted({f"{facts.hostname}:{facts.pid}" for facts, snapshot in pools if snapshot.get("quiet") is True})
    yield from (_quiet(queue, process, served=served) for process in quiet)
    if pause is not None:
        message = pauses.of_queue(queue.name, pause)
        why = "Processes take no more jobs from this queue; jobs in progress finish."
        hint = f"restbroker queues resume {shlex.quote(queue.name)}, or resume it in Sidekiq Web with Sidekiq Pro."
        if pause.who == unadmitted.WHO:
            hint = "restbroker dead summary says what they are; find out who pushes them."
        yield Finding("warning", AREA, "QueuePaused", message=message, why=why, hint=hint)
    elif queue.size is None:
        return  # its key is named by `check_store`
    elif quiet and not served:
        return
    elif queue.size and not served:
        message = f"{_waiting(queue)} in the queue {queue.name} and no restbroker serves it."
        yield Finding(
            "note", AREA, "NotServed", message=message, why="They wait until one does.", hint="Start `restbroker run`."
        )
    else:
        yield ok(AREA, "Queue", f"The queue {queue.name} is known; {_waiting(queue)}.")


def _waiting(queue: QueueView) -> str:
    lines = f" ({queue.in_lines} in lines, which Sidekiq Web does not show)" if queue.in_lines else ""
    return f"1 job waits{lines}" if queue.size == 1 else f"{queue.size} jobs wait{lines}"


def _mixed(queue: QueueView, seen: Overview, fairness: str) -> Iterator[Finding]:
    """Yield a finding if a process serves the queue with another fairness than this configuration has."""
    others = sorted(
        (f"{found.process.hostname}:{found.process.pid}", is_order(found.fairness))
        for pool in seen.identities
        if not is_dead(pool) and (found := pool.registration) is not None
        if queue.name in found.queues and settled_text(found.fairness) != fairness
    )
    if others:
        code, key, why = "FairMixed", "FairBy", "No job is lost, but keys do not get their shares; older versions take "
        why, same = f"{why}nothing that is in lines.", "FairBy and FairWeights"
        if is_order(fairness) or any(has_order for _, has_order in others):
            code, key, same = "OrderMixed", "OrderBy", "OrderBy"
            why = "One without OrderBy takes no jobs while another has it, but an older version does: out of order."
        yield Finding(
            "warning",
            AREA,
            code,
            message=f"{others[0][0]} serves the queue {queue.name} with another {key} than this configuration"
            + (f", and so do {len(others) - 1} more." if others[1:] else "."),
            why=why,
            hint=f"Give all processes the same {same}, reload them, and update older ones.",
        )


def _quiet(queue: QueueView, process: str, *, served: bool) -> Finding:
    # Anyone who replaces processes one by one makes each quiet first: then others take the jobs.
    return Finding(
        "note" if served else "warning",
        AREA,
        "QuietProcess",
        message=f"The process {process} is quiet: it takes no more jobs from the queue {queue.name} until it is"
        " restarted.",
        why="Others take them." if served else f"No other process takes its jobs; {queue.size or 0} wait.",
        hint="Restart it on its machine, e.g.: systemctl restart restbroker",
    )


def _new_queue(client: Client, config: Config, info: ServerInfo, name: str, known: tuple[str, ...]) -> Finding:
    message = f"No job was ever pushed to the queue {name} here."
    meant = nearest(name, (other for other in known if other not in config.queues))
    if meant is not None:
        why = f"There is a queue {meant}; the producers may use that one."
        return Finding(
            "warning", AREA, "QueueMisspelt", message=message, why=why, hint=f'Did you mean "RestQueue": "{meant}"?'
        )
    others = sorted(survey.namespaces(client) - {config.namespace})
    if others and not known:
        shown = ", ".join(other or "none" for other in others[:5])
        why = f'Other namespaces have queues ({shown}), and "{config.namespace}" has none.'
        hint = f'"RedisNamespace": "{others[0]}"' if others[0] else 'Remove "RedisNamespace".'
        return Finding(
            "warning", AREA, "OtherNamespace", message=message, why=why, hint=f"If the producers push there: {hint}"
        )
    number = _database(config.redis_url)
    if info.databases and number not in info.databases:
        filled = ", ".join(f"{one} ({keys} keys)" for one, keys in sorted(info.databases.items()))
        why = f"Database {number} is empty, and others are not: {filled}."
        hint = "If the producers push there, write its number after the last slash of RedisURL."
        return Finding("warning", AREA, "OtherDatabase", message=message, why=why, hint=hint)
    where = "" if len(config.targets) == 1 and name == config.targets[0].queues[0] else f" --queue {shlex.quote(name)}"
    target = next(target for target in config.targets if name in target.queues)
    command = "status" if "status" in registry.catalogue_of(target, None).commands else "COMMAND"
    hint = f"Push one: restbroker enqueue --wait {command}{where}"
    return Finding("note", AREA, "NewQueue", message=message, why="This is normal before the first job.", hint=hint)


def _database(url: str) -> int:
    # The loader writes every address in one of two forms: …/N and unix://…?db=N.
    tail = url.rpartition("db=")[2] if url.startswith("unix:") else url.partition("?")[0].rpartition("/")[2]
    return int(tail) if tail.isdigit() else 0
