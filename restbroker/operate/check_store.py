"""Checks Redis: the server and who else uses it, and with the modules beside this one, all of Redis.

Called by `operate.check`. Always holds: nothing is written, and one question that Redis refuses does not end the
others.
"""

import fnmatch
import re
import time
from collections.abc import Callable, Iterable, Iterator

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.operate.check_due import check_due
from restbroker.operate.check_limits import check_dead, check_pauses
from restbroker.operate.check_order import check_order
from restbroker.operate.check_queues import check_queues
from restbroker.operate.check_redis import check_redis
from restbroker.operate.check_rewrite import check_rewrite
from restbroker.operate.check_unfinished import check_original, check_unfinished
from restbroker.operate.connect import open_store
from restbroker.servers import registry
from restbroker.servers.findings import Finding, ok
from restbroker.store import survey
from restbroker.store.client import Client
from restbroker.store.key_types import find_misused
from restbroker.store.server import ServerInfo, read_setting, server, time_s
from restbroker.store.survey import Process

AREA = "redis"
ONLY_ASKED_HERE = frozenset(
    {
        *("scan", "type", "lindex", "lrange", "zrevrange", "zcount", "zscan", "blpop", "lpos"),
        *("xlen", "xrange", "xrevrange", "ltrim", "lset", "lrem"),
        *("client|list", "client|info"),
    }
)
"""Commands that `run` never sends to Redis, and commands of the terminal do. Redis names what it refuses in quotes."""


def check_store(config: Config) -> list[Finding]:
    """Return all findings about Redis. Its errors that a person can fix are findings, too, and never raised."""
    found: list[Finding] = []
    with open_store(config) as client:
        try:
            facts = server(client)
            found += check_redis(facts, client.address, _offset_s(client))
            if facts.cluster_enabled:
                return found
            found += check_rewrite(client, facts)
            found += _at_most_once(config, facts)
            found += _failover(client, config)
            found += _each(
                [
                    lambda: _key_types(client, config),
                    lambda: _neighbours(client, config),
                    lambda: check_pauses(client, config),
                    lambda: check_queues(client, config, facts),
                    lambda: check_order(client, config),
                    lambda: check_unfinished(client),
                    lambda: check_due(client, config),
                ]
            )
            found += _each([lambda: check_original(client, config)], used_by_run=False)
        except StoreUnavailable as error:
            why = "Without Redis restbroker takes no jobs, and producers cannot push."
            found.append(
                Finding("problem", AREA, "Unreachable", message=error.message, why=why, hint=error.hint, cause="store")
            )
        except StoreRefused as error:
            found.append(_refusal(error))
    # Several questions may meet the same refusal.
    return list(dict.fromkeys(found))


def _each(questions: Iterable[Callable[[], Iterable[Finding]]], *, used_by_run: bool = True) -> Iterator[Finding]:
    for question in questions:
        try:
            yield from question()
        except StoreRefused as error:
            yield _refusal(error, used_by_run=used_by_run)


def _refusal(error: StoreRefused, *, used_by_run: bool = True) -> Finding:
    if used_by_run and ONLY_ASKED_HERE.isdisjoint(re.findall(r"'([\w|]+)'", error.message.lower())):
        why = "restbroker needs this command while it runs."
        return Finding("problem", AREA, "Refused", message=error.message, why=why, hint=error.hint)
    why = "Only operators' commands need this, never `restbroker run`. A part of Redis was not checked."
    hint = error.hint
    if "permission" in error.message:
        hint = 'What to grant this Redis user for them: docs/sidekiq.md, "A Redis user", the second command.'
    return Finding("note", AREA, "NotLookedAt", message=error.message, why=why, hint=hint)


def _offset_s(client: Client) -> float:
    """Return how many seconds Redis' clock is ahead of ours, at least: the time of the question is in its favour."""
    before_s = time.time()
    redis_s = time_s(client)
    after_s = time.time()
    return min(0.0, redis_s - before_s) if redis_s < after_s else redis_s - after_s


def _matching_patterns(target: Target) -> Iterator[str]:
    """Yield the patterns of `AtMostOnce` that a command may fit."""
    catalogue = registry.catalogue_of(target, None)
    for pattern in target.at_most_once:
        if not catalogue.is_whole or fnmatch.filter(catalogue.commands, pattern):
            yield pattern


def _at_most_once(config: Config, info: ServerInfo) -> Iterator[Finding]:
    saved = info.aof_enabled and info.appendfsync == "always"
    names = ", ".join(sorted({name for target in config.targets for name in _matching_patterns(target)}))
    if names and not saved:
        yield Finding(
            "note",
            AREA,
            "MarksNotSaved",
            message=f"AtMostOnce names commands ({names}), and Redis is not known to save each write before it"
            " answers.",
            why="A crash of Redis may lose the mark that a command is on its way: it can then be sent a second time.",
            hint="In redis.conf:\nappendonly yes\nappendfsync always",
        )


def _failover(client: Client, config: Config) -> Iterator[Finding]:
    if config.redis_sentinels and read_setting(client, "min-replicas-to-write") == "0":
        yield Finding(
            "note",
            AREA,
            "FailoverLoses",
            message="Redis accepts writes that no replica receives (min-replicas-to-write 0).",
            why="A failover loses what was not replicated. A master that was cut off or replaced accepts jobs for"
            " some seconds more and then discards them.",
            hint="With two replicas or more, in each redis.conf:\nmin-replicas-to-write 1\nmin-replicas-max-lag 10",
        )


def _key_types(client: Client, config: Config) -> Iterator[Finding]:
    """Yield the keys of another type than needed: Redis refuses every command on them."""
    for one in find_misused(client, [target.name for target in config.targets], config.queues):
        yield Finding(
            "problem",
            AREA,
            "WrongType",
            message=f"{one.message}.",
            why="Redis refuses every command on it: jobs are not taken, not settled or not counted.",
            hint=one.hint,
        )


def _neighbours(client: Client, config: Config) -> Iterator[Finding]:
    foreign = [one for one in survey.processes(client) if not one.is_restbroker]
    yield from check_dead(client, config, ruby=bool(foreign))
    if not foreign:
        yield ok(AREA, "Private", "No other Sidekiq process uses this database.")
        return
    thieves = [one for one in foreign if not set(config.queues).isdisjoint(one.queues)]
    if thieves:
        yield Finding(
            "problem",
            AREA,
            "QueueTaken",
            message=f"Sidekiq takes jobs from the same queue: {_join(thieves)}.",
            why="Its workers do not know these jobs' classes: what it takes fails there and never reaches the server.",
            hint=f"Remove {', '.join(sorted(config.queues))} from that process' queues (sidekiq.yml), or choose another"
            " RestQueue.",
        )
    yield Finding(
        "warning",
        AREA,
        "SharedDatabase",
        message=f"Other Sidekiq processes use this database: {_join(foreign)}.",
        why="They trim the dead set to 9,999 jobs and 180 days, restbroker's too; and a process of open-source"
        " Sidekiq that is killed while it moves a due job out of the retry or schedule set loses that job.",
        hint="Give restbroker and its producers a database of their own: RedisURL, its number after the last slash.",
    )


def _join(found: list[Process]) -> str:
    shown = [f"{one.identity} ({', '.join(one.queues[:5]) or 'no queues'})" for one in found[:3]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
