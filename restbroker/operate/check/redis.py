"""Checks Redis: the server, what it saves and forgets, and who else uses it; with `check.queues`, all of Redis.

Always holds: nothing is written, one question that Redis refuses does not end the others, and what a managed Redis
hides is a note, not a guess.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.operate.check import queues
from restbroker.operate.check.config import TEXTS, once_patterns
from restbroker.operate.connect import open_store
from restbroker.servers.findings import Finding, Level, ok
from restbroker.store import older_form, processes
from restbroker.store.client import Client
from restbroker.store.key_types import find_misused
from restbroker.store.processes import ProcessRecord
from restbroker.store.rewrite import may_rewrite
from restbroker.store.server import (
    NEWER_REDIS,
    TOO_OLD,
    ServerInfo,
    limit_name,
    mib,
    read_setting,
    redis_problems,
    server,
    time_s,
)

AREA: Final = "redis"
ONLY_ASKED_HERE = frozenset(
    {
        *("scan", "zcount", "xdel", "blpop", "lpos"),
        *("xlen", "ltrim", "lset", "lrem"),
        *("client|list", "client|info"),
    }
)
"""Commands that `run` never sends to Redis, and commands of the terminal do. Redis names what it refuses in quotes."""
RUBY_DEAD_LIMIT: Final = 9_999
"""How many jobs Ruby's Sidekiq leaves in the dead set (`dead_max_jobs` 10,000; versions 5 to 8)."""
_CLOCK_S: Final = 1.0
_SAVED: Final = {"always": "Saved", "everysec": "SavedEachSecond", "no": "SavedSometime"}
"""What is found, by `appendfsync`."""
_finding = partial(TEXTS.finding, AREA)


def check_store(config: Config, versions: Mapping[str, str | None] = MappingProxyType({})) -> list[Finding]:
    """Return all findings about Redis. Its errors that a person can fix are findings, too, and never raised.

    `versions`: those that servers just said, by target.
    """
    found: list[Finding] = []
    with open_store(config) as client:
        try:
            facts = server(client)
            found += check_redis(facts, client.address, _offset_s(client))
            if facts.cluster_enabled:
                return found
            found += _rewrite(client, facts)
            found += _at_most_once(config, facts)
            found += _failover(client, config)
            found += _each(
                [
                    lambda: _key_types(client, config),
                    lambda: _older_form(client, config),
                    lambda: _neighbours(client, config),
                    lambda: queues.check_queues(client, config, facts),
                    # A Redis that takes no writes says so to all of them: its finding is there already.
                    lambda: () if any(redis_problems(facts)) else queues.check_hands(client, config),
                    lambda: queues.check_unfinished(client),
                    lambda: queues.check_due(client, config),
                    lambda: queues.check_now(client, config, versions),
                ]
            )
            asked_here = [lambda: queues.check_signatures(client), lambda: queues.check_original(client, config)]
            found += _each(asked_here, used_by_run=False)
        except StoreUnavailable as error:
            found.append(_finding("Unreachable", message=error.message, hint=error.hint))
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
        return _finding("Refused", message=error.message, hint=error.hint)
    hint = error.hint
    if "permission" in error.message:
        hint = 'What to grant this Redis user for them: docs/sidekiq.md, "A Redis user", the second command.'
    return _finding("NotLookedAt", message=error.message, hint=hint)


def _offset_s(client: Client) -> float:
    """Return how many seconds Redis' clock is ahead of ours, at least: the time of the question is in its favour."""
    before_s = time.time()
    redis_s = time_s(client)
    after_s = time.time()
    return min(0.0, redis_s - before_s) if redis_s < after_s else redis_s - after_s


def check_redis(info: ServerInfo, address: str, offset_s: float) -> Iterator[Finding]:
    """Yield the findings about what this server says of itself. `address`: what messages call it.

    `offset_s`: how many seconds its clock is ahead of ours.
    """
    if info.is_supported:
        yield ok(AREA, "Version", f"{info.product} answers at {address}.")
    else:
        yield _finding("TooOld", product=info.product, address=address, why=TOO_OLD, hint=NEWER_REDIS)
    if info.cluster_enabled:
        yield _finding("Cluster")
        return
    found = list(redis_problems(info))
    for problem in found:
        level: Level = "problem" if problem.grave else "warning"
        yield Finding(level, AREA, problem.code, problem.message, why=problem.why, hint=problem.hint)
    yield _persistence(info)
    yield _policy(info)
    if not any(problem.code in ("Full", "NearlyFull") for problem in found):
        limit = info.maxmemory_bytes or info.total_memory_bytes
        yield ok(AREA, "Memory", f"Redis uses {mib(info.used_memory_bytes)} of {limit_name(info)} ({mib(limit)}).")
    yield _clock(offset_s)


def _persistence(info: ServerInfo) -> Finding:
    if not info.aof_enabled:
        case = "Unknown" if info.save is None else "SnapshotsOnly" if info.save else "NotSaved"
        return _finding(case, save=info.save)
    return _finding(_SAVED.get(info.appendfsync or "", "Unknown-how-often"))


def _policy(info: ServerInfo) -> Finding:
    if info.policy == "noeviction":
        return ok(AREA, "Policy", "Redis never removes jobs to free memory (maxmemory-policy noeviction).")
    if not info.policy.startswith("allkeys"):
        return _finding("Eviction", policy=info.policy)
    return _finding("Eviction-any" if info.maxmemory_bytes else "Eviction-any-later", policy=info.policy)


def _clock(offset_s: float) -> Finding:
    if abs(offset_s) <= _CLOCK_S:
        return ok(AREA, "Clock", "The clocks of Redis and of this machine agree.")
    return _finding("Clock", off=duration_text(abs(offset_s)), side="ahead of" if offset_s > 0 else "behind")


def _rewrite(client: Client, info: ServerInfo) -> Iterator[Finding]:
    """Yield whether Redis lets this user call for a rewrite; nothing if it writes no append-only file."""
    if info.aof_enabled:
        yield _finding("TornFile-rewritten" if may_rewrite(client) else "TornFile")


def _at_most_once(config: Config, info: ServerInfo) -> Iterator[Finding]:
    saved = info.aof_enabled and info.appendfsync == "always"
    names = ", ".join(sorted({name for target in config.targets for name in once_patterns(target)}))
    if names and not saved:
        yield _finding("MarksNotSaved", names=names)


def _failover(client: Client, config: Config) -> Iterator[Finding]:
    if config.redis_sentinels and read_setting(client, "min-replicas-to-write") == "0":
        yield _finding("FailoverLoses")


def _key_types(client: Client, config: Config) -> Iterator[Finding]:
    """Yield the keys of another type than needed: Redis refuses every command on them."""
    for misused in find_misused(client, [target.name for target in config.targets], config.queues):
        yield _finding("WrongType", fault=misused.message, hint=misused.hint)


def _older_form(client: Client, config: Config) -> Iterator[Finding]:
    found = older_form.find(client, {target.name: target.queues for target in config.targets})
    if found:
        message = older_form.MESSAGE.format(keys=", ".join(found))
        yield _finding("OlderForm", message=message, why=older_form.WHY, hint=older_form.HINT)


def _neighbours(client: Client, config: Config) -> Iterator[Finding]:
    foreign = [record for record in processes.read_all(client, with_work=False) if not record.is_restbroker]
    if not foreign:
        yield ok(AREA, "Private", "No other Sidekiq process uses this database.")
        return
    yield _finding("SharedDatabase", processes=_join(foreign))
    if config.dead_limit == 0 or config.dead_limit > RUBY_DEAD_LIMIT:
        copies, safe = client.keys.dead_copies, RUBY_DEAD_LIMIT // 1000 * 1000
        limit = config.dead_limit or "off"
        yield _finding("DeadTrimmed", most=RUBY_DEAD_LIMIT, limit=limit, copies=copies, safe=safe)


def _join(found: list[ProcessRecord]) -> str:
    shown = [f"{record.name} ({', '.join(record.queues[:5]) or 'no queues'})" for record in found[:3]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
