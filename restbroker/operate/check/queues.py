"""Checks the queues and what waits: is each known and served, is it paused, and are there jobs that no one takes?

Called by `check.redis`. Always holds: no job moves but out of a hand, as with each fetch; of very many keys only the
first are looked at, and each question takes some seconds at most. Each raises `StoreUnavailable` or `StoreRefused`.
"""

import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias

import attrs

from restbroker.broker.tokens import Tokens, unlike
from restbroker.config.core import Config
from restbroker.config.tokens import Token
from restbroker.job import arguments, rubyjson, signing
from restbroker.job.command import Command
from restbroker.job.unserved_queues import OVERDUE_S, counts_text, unserved_queue
from restbroker.operate import migrate
from restbroker.operate.check.config import TEXTS
from restbroker.operate.names import listed, nearest
from restbroker.operate.problems import problems, server_versions, unfit_command
from restbroker.operate.request import access_of, allowing_token
from restbroker.operate.system import Queue, Snapshot, stopped_keys, system, target_state, unless_refused
from restbroker.operate.written_commands import unfit_commands
from restbroker.servers import registry
from restbroker.servers.findings import Finding, ok
from restbroker.store import migration, sets, survey
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.paging import members_with_word
from restbroker.store.server import ServerInfo

_Zset: TypeAlias = Literal["retry", "schedule"]

AREA: Final = "redis"
_STORED: Final[tuple[SortedSet, ...]] = ("retry", "schedule", "dead")
_SETS: Final[dict[_Zset, str]] = {"retry": "retries", "schedule": "scheduled"}
_DUE_PAGE: Final = 100
_LOOK_S: Final = 3.0
_OF_PROCESSES: Final = frozenset({"NotRunning", "ProcessGone"})
_finding = partial(TEXTS.finding, AREA)


def check_queues(client: Client, config: Config, info: ServerInfo) -> Iterator[Finding]:
    """Yield the findings for each queue of each target."""
    seen = system(client, config.queues)
    known = {queue.name: queue for queue in seen.queues if queue.name in seen.listed}
    for name in config.queues:
        if name in known:
            yield from _known_queue(known[name], seen)
    yield from _new_queues(client, config, info, known)
    yield from _left_keys(client, config, seen)
    yield from _mixed_tokens(config, seen)
    yield from _commands_of_events(config, seen)


def check_now(client: Client, config: Config, versions: Mapping[str, str | None]) -> Iterator[Finding]:
    """Yield the table of what is wrong now, without what `check.redis` sees itself: of Redis, and of its queues' keys.

    While no process of this configuration runs, its own queues are only noted; while none runs at all, that is not
    wrong, and what those left behind that are gone is told by `check_unfinished`. The commands of this configuration
    are read, too, for the version that a server just said (`versions`, by target), else for that which processes know.
    """
    seen = system(client, config.queues)
    own, living = {target.name for target in config.targets}, {pool.target for pool in seen.targets if not pool.is_gone}
    told = {problem.code for problem in seen.redis} | (set() if living else _OF_PROCESSES)
    for row in problems(seen, config, stopped_keys(client, config.targets), time.time()):
        is_own = row.subject in config.queues
        if row.code == "QueueUnserved" and is_own and own.isdisjoint(living):
            yield attrs.evolve(row.finding, level="note")
        elif row.code not in told and not (row.code == "WrongType" and is_own):
            yield row.finding
    for target in config.targets:
        known = server_versions(seen, target.name)
        version = versions.get(target.name) or next(iter(known), None)
        # Where processes know several, nothing is known of what it takes.
        unfit = unfit_commands(config, target, version) if len(known) < 2 else {}
        yield from (unfit_command(target.name, place, why).finding for place, why in unfit.items())


def check_hands(client: Client, config: Config) -> Sequence[Finding]:
    """Return none: a Redis user who may not put jobs back from hands, as each fetch does, is refused that here."""
    keys = client.keys
    client.commands([("LMOVE", keys.hand(name), keys.queue(name), "LEFT", "RIGHT") for name in config.queues])
    return ()


def _mixed_tokens(config: Config, seen: Snapshot) -> Iterator[Finding]:
    """Yield a finding for each queue that a process serves with other tokens than this configuration has."""
    mine = Tokens(config.tokens).digests(config.targets)
    found = {
        queue: pool.name
        for pool in seen.targets
        if not pool.is_gone
        for queue in unlike(mine, seen.registrations[pool.identity].facts)
    }
    for queue, process in found.items():
        yield _finding("TokensMixed", queue=queue, process=process)


def _commands_of_events(config: Config, seen: Snapshot) -> Iterator[Finding]:
    """Yield for each source and route with a command whether a process takes that, and that its target is up.

    Of one that is not, the table of what is wrong tells.
    """
    for place, _, route in () if config.events is None else config.events.handovers:
        pools = [pool for pool in seen.targets if route.queue in pool.queues and pool.takes_jobs and not pool.is_gone]
        if not pools:
            yield TEXTS.finding("Events", "QueueUnserved-events", place=place, queue=route.queue)
        elif up := next((pool.name for pool in pools if target_state(pool) == "up"), None):
            what = f"{place}: {up} takes {route.handover.command}, which its token allows; {pools[0].target} is up."
            yield ok("Events", "Commands", what)


def _left_keys(client: Client, config: Config, seen: Snapshot) -> Iterator[Finding]:
    """Yield a finding if keys are held by a target that was renamed or taken away."""
    served = {pool.target for pool in seen.targets if not pool.is_gone}
    for name in sorted(survey.ordered_targets(client) - served - {target.name for target in config.targets}):
        yield _finding("OrderLeft", target=name, key=client.keys.busy_keys(name))


def _known_queue(queue: Queue, seen: Snapshot) -> Iterator[Finding]:
    pools = [pool for pool in seen.targets if not pool.is_gone and queue.name in pool.queues]
    served = any(pool.takes_jobs for pool in pools)
    quiet = sorted({pool.name for pool in pools if pool.quiet is True})
    # Anyone who replaces processes one by one makes each quiet first: then others take the jobs.
    of_quiet = "QuietProcess-of-several" if served else "QuietProcess"
    yield from (_finding(of_quiet, process=process, queue=queue.name, jobs=queue.size or 0) for process in quiet)
    # What is paused, untaken or no list, the table of what is wrong tells.
    if queue.pause is None and queue.size is not None and (served or not (quiet or queue.size)):
        yield ok(AREA, "Queue", f"The queue {queue.name} is known; {_waiting(queue)}.")


def _waiting(queue: Queue) -> str:
    lines = f" ({queue.in_lines} in lines, which Sidekiq Web does not show)" if queue.in_lines else ""
    return f"1 job waits{lines}" if queue.size == 1 else f"{queue.size} jobs wait{lines}"


def _new_queues(client: Client, config: Config, info: ServerInfo, known: Collection[str]) -> Iterator[Finding]:
    """Yield the findings for the queues that no job was ever pushed to; what one cause explains is told once."""
    new = []
    for name in config.queues:
        if name in known:
            continue
        meant = nearest(name, (other for other in known if other not in config.queues))
        if meant is None:
            new.append(name)
        else:
            yield _finding("QueueMisspelt", queue=name, meant=meant)
    if new:
        elsewhere = _pushed_elsewhere(client, config, info, new, has_known=bool(known))
        yield from (_new_queue(config, name) for name in new) if elsewhere is None else [elsewhere]


def _pushed_elsewhere(
    client: Client, config: Config, info: ServerInfo, new: Sequence[str], *, has_known: bool
) -> Finding | None:
    """Return the finding that producers may push to another namespace or database; None if nothing suggests it."""
    queues = f"the queue {new[0]}" if len(new) == 1 else f"the queues {listed(new)}"
    others = sorted(unless_refused(lambda: survey.namespaces(client), frozenset[str]()) - {config.namespace})
    if others and not has_known:
        shown = ", ".join(other or "none" for other in others[:5])
        key = f'"RedisNamespace": "{others[0]}"' if others[0] else 'Remove "RedisNamespace".'
        return _finding("OtherNamespace", queues=queues, others=shown, namespace=config.namespace, key=key)
    number = _database(config.redis_url)
    if info.databases and number not in info.databases:
        filled = ", ".join(f"{database} ({keys} keys)" for database, keys in sorted(info.databases.items()))
        return _finding("OtherDatabase", queues=queues, number=number, filled=filled)
    return None


def _new_queue(config: Config, name: str) -> Finding:
    where = "" if len(config.targets) == 1 and name == config.targets[0].queues[0] else f" --queue {shlex.quote(name)}"
    target = next(target for target in config.targets if name in target.queues)
    spec = registry.catalogue_of(target, None).commands.get("status")
    may = spec and allowing_token(config.tokens, access_of(target, name, spec, Command("status", {})))
    command = "status" if isinstance(may, Token) else "COMMAND"
    return _finding("NewQueue", queue=name, words=f"{command}{where}")


def _database(url: str) -> int:
    # The loader writes every address in one of two forms: …/N and unix://…?db=N.
    tail = url.rpartition("db=")[2] if url.startswith("unix:") else url.partition("?")[0].rpartition("/")[2]
    return int(tail) if tail.isdigit() else 0


def check_due(client: Client, config: Config) -> Iterator[Finding]:
    """Yield a finding for each set with due jobs that stay there, since no target serves their queue."""
    for zset, command in _SETS.items():
        found, whole = _waiting_in(client, zset, frozenset(config.queues))
        if found:
            count = f"{found.total()}" if whole else f"At least {found.total()}"
            yield _finding("QueueNotServed", count=count, zset=zset, queues=counts_text(found), command=command)


def _waiting_in(client: Client, zset: _Zset, served: frozenset[str]) -> tuple[Counter[str], bool]:
    """Return how many wait for each queue, and whether there was time to read all that is due."""
    until_s = time.monotonic() + _LOOK_S
    found: Counter[str] = Counter()
    after = sets.BEGINNING
    while True:
        due = sets.due(client, zset, _DUE_PAGE, after)
        for member, score in due.members:
            queue = unserved_queue(rubyjson.object_of(member) or {}, served)
            if queue is not None and due.now_s - score >= OVERDUE_S:
                found[queue] += 1
        is_whole = len(due.members) < _DUE_PAGE
        if is_whole or time.monotonic() >= until_s:
            return found, is_whole
        after = after.behind([score for _, score in due.members])


def check_unfinished(client: Client) -> Iterator[Finding]:
    """Yield the jobs in progress of lost processes, unless another one runs and returns them, or no process knows."""
    pools = system(client).targets
    for pool in pools if all(pool.is_gone for pool in pools) else ():
        if pool.in_progress:
            jobs = "1 job is" if pool.in_progress == 1 else f"{pool.in_progress} jobs are"
            yield _finding("LeftBehind", jobs=jobs, process=pool.identity)
    for orphan in survey.orphans(client, {pool.identity for pool in pools}):
        key, fenced = client.keys.in_progress(orphan.identity), client.keys.fenced_identities
        case = "Orphans" if orphan.is_described else "Orphans-unnamed"
        yield _finding(case, jobs=orphan.jobs, key=key, fenced=fenced, identity=orphan.identity)


def check_signatures(client: Client) -> Iterator[Finding]:
    """Yield a finding if jobs in Sidekiq's sets have signatures of the form v1, with how many were seen in the time."""
    until_s, found = time.monotonic() + _LOOK_S, Counter[str]()
    for zset in _STORED:
        for page in members_with_word(client, zset, f"{signing.OLD_VERSION}:"):
            found[zset] += sum(_has_old_signature(raw) for raw, _ in page)
            if time.monotonic() >= until_s:
                break
    if found.total():
        yield _finding("OlderSignatures", jobs=", ".join(f"{found[zset]:,} in {zset}" for zset in +found))


def _has_old_signature(raw: bytes) -> bool:
    fields = rubyjson.object_of(raw) or {}
    signature = signing.read(arguments.token(fields.get("args")))
    return signature is not None and signature.version == signing.OLD_VERSION


def check_original(client: Client, config: Config) -> Iterator[Finding]:
    """Yield the Go program's jobs that are in progress or wait for a retry."""
    found, _ = migrate.lists_in_progress(client, config.queues)
    lists = [key for key, queue in found.items() if queue is not None]
    sizes = {key: size for key, (size, _) in zip(lists, migration.states(client, lists), strict=True)}
    sizes[client.keys.go_retry] = migration.retry_count(client)
    left = [f"{jobs} in {key}" for key, jobs in sizes.items() if jobs]
    if left:
        shown = ", ".join(left[:5]) + (f" and {len(left) - 5} more lists" if len(left) > 5 else "")
        yield _finding("OriginalLeft", left=shown)
