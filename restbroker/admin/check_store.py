"""Looks at Redis: the server, who else uses it, the queues' names, and jobs that nobody works on.

Called by `admin.check`. Always holds: nothing is written, and one question that Redis refuses does not end the others.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches

import attrs

from restbroker.admin.check_keys import check_keys
from restbroker.admin.check_limits import check_dead, check_pauses
from restbroker.admin.connect import open_store
from restbroker.admin.judge_server import judge_server
from restbroker.config.core import Config
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.rules.findings import Finding, ok
from restbroker.store import survey
from restbroker.store.client import Client
from restbroker.store.server import ServerFacts, server, setting, time_s
from restbroker.store.stats import LaneView, Overview, QueueView, overview
from restbroker.store.survey import Orphan, Process

AREA = "redis"
SILENT_S = 30.0
"""A process that has not beaten for so long is dead: it beats every 2.5 s and is fenced after 20 s."""


def check_store(config: Config) -> list[Finding]:
    """Everything about Redis. Never raises what a person can act on: that is a finding."""
    client = open_store(config)
    found: list[Finding] = []
    try:
        facts = server(client)
        found += judge_server(facts, client.address, _offset_s(client))
        if facts.cluster_enabled:
            return found
        found += _at_most_once(config, facts)
        found += _failover(client, config)
        found += _each(
            lambda: check_keys(client, config),
            lambda: _neighbours(client, config),
            lambda: check_pauses(client, config),
            lambda: _lanes_and_queues(client, config, facts),
        )
    except StoreUnavailable as error:
        why = "Without Redis nothing is taken, and producers cannot push."
        found.append(Finding("problem", AREA, "Unreachable", error.message, why, error.cure, "store"))
    except StoreRefused as error:
        found.append(_refused(error))
    finally:
        client.close()
    # Several questions may meet the same refusal.
    return list(dict.fromkeys(found))


def _each(*questions: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    for question in questions:
        try:
            yield from question()
        except StoreRefused as error:
            yield _refused(error)


def _refused(error: StoreRefused) -> Finding:
    why = "restbroker asks Redis the same while it runs."
    return Finding("problem", AREA, "Refused", error.message, why, error.cure)


def _offset_s(client: Client) -> float:
    """How far Redis' clock is ahead of ours in seconds, at least: the time the question took is in its favour."""
    before_s = time.time()
    redis_s = time_s(client)
    after_s = time.time()
    return min(0.0, redis_s - before_s) if redis_s < after_s else redis_s - after_s


def _at_most_once(config: Config, facts: ServerFacts) -> Iterator[Finding]:
    saved = facts.aof_enabled and facts.appendfsync == "always"
    names = ", ".join(sorted({name for target in config.targets for name in target.at_most_once}))
    if names and not saved:
        yield Finding(
            "note",
            AREA,
            "MarksNotSaved",
            f"AtMostOnce names commands ({names}), and Redis is not known to save each write before it answers.",
            "A crash of Redis may lose the mark that a command is on its way: it can then be sent a second time.",
            "In redis.conf:\nappendonly yes\nappendfsync always",
        )


def _failover(client: Client, config: Config) -> Iterator[Finding]:
    if config.redis_sentinels and setting(client, "min-replicas-to-write") == "0":
        yield Finding(
            "note",
            AREA,
            "FailoverLoses",
            "Redis takes writes while no replica is there to have them (min-replicas-to-write 0).",
            "A failover loses what was not replicated. A master that was cut off or replaced takes jobs for seconds"
            " more and then forgets them.",
            "With two replicas or more, in each redis.conf:\nmin-replicas-to-write 1\nmin-replicas-max-lag 10",
        )


def _neighbours(client: Client, config: Config) -> Iterator[Finding]:
    ours = {identity for lane in overview(client).lanes for identity in _prefixes(lane.identity)}
    foreign = [one for one in survey.processes(client) if one.identity not in ours and one.tag != "restbroker"]
    yield from check_dead(client, config, ruby=bool(foreign))
    if not foreign:
        yield ok(AREA, "Private", "No other Sidekiq process uses this database.")
        return
    wanted = {queue for target in config.targets for queue in target.queues}
    thieves = [one for one in foreign if wanted.intersection(one.queues)]
    if thieves:
        yield Finding(
            "problem",
            AREA,
            "QueueTaken",
            f"Sidekiq takes jobs from the same queue: {_listed(thieves)}.",
            "Its workers do not know these jobs' classes: what it takes fails there and never reaches the server.",
            f"Remove {', '.join(sorted(wanted))} from that process' queues (sidekiq.yml), or choose another RestQueue.",
        )
    yield Finding(
        "warning",
        AREA,
        "SharedDatabase",
        f"Other Sidekiq processes use this database: {_listed(foreign)}.",
        "They trim the dead set to 9,999 jobs and 180 days, also parked commands; and a process of open-source"
        " Sidekiq that is killed while it moves a due job out of the retry or schedule set loses that job.",
        "Give restbroker and its producers a database of their own: RedisURL, its number after the last slash.",
    )


def _prefixes(identity: str) -> Iterator[str]:
    """host:pid:nonce:target and everything shorter: Sidekiq's record is one per process, an identity one per target."""
    parts = identity.split(":")
    return (":".join(parts[:length]) for length in range(1, len(parts) + 1))


def _listed(found: list[Process]) -> str:
    shown = [f"{one.identity} ({', '.join(one.queues[:5]) or 'no queues'})" for one in found[:3]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _lanes_and_queues(client: Client, config: Config, facts: ServerFacts) -> Iterator[Finding]:
    seen = overview(client)
    known = {queue.name: queue for queue in seen.queues}
    for target in config.targets:
        for name in target.queues:
            if name in known:
                yield from _known_queue(known[name], seen)
            else:
                yield _new_queue(client, config, facts, name, tuple(known))
    living = any(not _is_dead(lane) for lane in seen.lanes)
    yield from (_left_by(lane, living=living) for lane in seen.lanes if lane.in_hand and _is_dead(lane))
    dead = survey.orphans(client, {lane.identity for lane in seen.lanes})
    yield from (_orphan(client, one) for one in dead)


def _is_dead(lane: LaneView) -> bool:
    return lane.dying or lane.age_s is None or lane.age_s > SILENT_S


def _known_queue(queue: QueueView, seen: Overview) -> Iterator[Finding]:
    served = any(
        lane.registered is not None and queue.name in lane.registered.queues
        for lane in seen.lanes
        if not _is_dead(lane)
    )
    if queue.paused:
        why = "restbroker honours Sidekiq's pause: nothing is taken from this queue."
        cure = f"Resume it in Sidekiq Web, or: SREM paused {queue.name}"
        yield Finding("warning", AREA, "QueuePaused", f"The queue {queue.name} is paused.", why, cure)
    elif queue.size is None:
        return  # its key is named by `check_keys`
    elif queue.size and not served:
        message = f"{queue.size} jobs wait in the queue {queue.name} and no restbroker serves it."
        yield Finding("note", AREA, "NotServed", message, "They wait until one does.", "Start `restbroker run`.")
    else:
        yield ok(AREA, "Queue", f"The queue {queue.name} is known; {queue.size} jobs wait.")


def _new_queue(client: Client, config: Config, facts: ServerFacts, name: str, known: tuple[str, ...]) -> Finding:
    found = Finding("note", AREA, "NewQueue", f"Nothing was ever pushed to the queue {name} here.")
    nearest = _nearest(name, known)
    if nearest is not None:
        return attrs.evolve(
            found,
            level="warning",
            code="QueueMisspelt",
            why=f"There is a queue {nearest}, so that the producers may mean another one.",
            cure=f'Did you mean "RestQueue": "{nearest}"?',
        )
    others = sorted(survey.namespaces(client) - {config.namespace})
    if others and not known:
        shown = ", ".join(other or "none" for other in others[:5])
        cure = f'"RedisNamespace": "{others[0]}"' if others[0] else 'Remove "RedisNamespace".'
        return attrs.evolve(
            found,
            level="warning",
            code="OtherNamespace",
            why=f'Other namespaces have queues ({shown}), and "{config.namespace}" has none.',
            cure=f"If the producers push there: {cure}",
        )
    number = _database(config.redis_url)
    if facts.databases and number not in facts.databases:
        filled = ", ".join(f"{one} ({keys} keys)" for one, keys in sorted(facts.databases.items()))
        return attrs.evolve(
            found,
            level="warning",
            code="OtherDatabase",
            why=f"Database {number} is empty, and others are not: {filled}.",
            cure="If the producers push there, write its number after the last slash of RedisURL.",
        )
    return attrs.evolve(found, why="That is so until the first job.", cure="Push one: restbroker enqueue status --wait")


def _database(url: str) -> int:
    # The loader writes every address in one of two forms: …/N and unix://…?db=N.
    tail = url.rpartition("db=")[2] if url.startswith("unix:") else url.partition("?")[0].rpartition("/")[2]
    return int(tail) if tail.isdigit() else 0


def _nearest(name: str, known: Iterable[str]) -> str | None:
    plain = {other.casefold(): other for other in known}
    wanted = name.casefold().removeprefix("queue:").strip()
    found = get_close_matches(wanted, plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else None


def _left_by(lane: LaneView, *, living: bool) -> Finding:
    message = f"{lane.in_hand} jobs are in the hands of {lane.identity}, which is gone."
    if living:
        return Finding("note", AREA, "Recovering", message, "A running restbroker gives them back within 25 s.", None)
    why = "They wait until a running restbroker gives them back to their queue."
    return Finding("warning", AREA, "LeftBehind", message, why, "Start `restbroker run`; it takes about 25 s.")


def _orphan(client: Client, orphan: Orphan) -> Finding:
    key = client.keys.in_progress(orphan.identity)
    message = f"{orphan.jobs} jobs are in {key}, which belongs to nobody."
    why = "No process looks there: its entry was removed by hand, by another program, or lost in a failover."
    cure = (
        f"Have them given back by a running restbroker: HSET {client.keys.dying} {orphan.identity} 0"
        if orphan.described
        else f"Push each job of HGETALL {key} (all fields but last and hwm) to its queue, then DEL {key}."
    )
    return Finding("warning", AREA, "Orphans", message, why, cure)
