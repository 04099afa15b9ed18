"""Keys: those whose jobs are done one after the other (OrderBy), and those whose jobs take turns in lines (FairBy).

Called by `restbroker keys` and the pages. Always holds: the jobs of one key keep their order, whatever is done here;
each change of a held key is for a key in a certain state; it is written to the audit log before it is made; jobs return
to the list of a queue only while it is paused.
"""

import shlex
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import StoreRefused, UsageError
from restbroker.job import hiding
from restbroker.job.fairness import BETWEEN, fold
from restbroker.operate import act, find
from restbroker.operate.act import Action, Progress
from restbroker.operate.act_set import SetJobs
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import lines_of
from restbroker.operate.job import ShownJob
from restbroker.operate.names import SHOWN_BETWEEN, display_name, exact, keys_command, suggestion
from restbroker.operate.queues import BATCH, in_steps, place_of
from restbroker.store import line_jobs, lines, old_order
from restbroker.store import order as store
from restbroker.store import queues as queue_store
from restbroker.store.client import Client
from restbroker.store.line_jobs import Line
from restbroker.store.order import HeldKey, KeyAction, State
from restbroker.store.server import time_s

_ORDER: Final[Sequence[State]] = ("stopped", "due", "in_progress", "ready")
_PAGES: Final = 10
_MOST: Final = 10_000
"""So many keys are read; more are only counted."""
_NOTED_KEYS: Final = 5
STATES: Final = {"stopped": "stopped", "due": "put off", "in_progress": "in progress", "ready": "ready"}
"""The states of held keys, for people."""
_HEADS: Final = 200
"""Of so many keys, those with the most jobs, the age of the first job is read."""
NO_KEY: Final = "(none)"
"""How the line of the jobs is called that have no key."""


@attrs.frozen
class OrderKey:
    """A key whose next job may not start, or could start now and waits for a worker.

    `waiting`: how many of its jobs wait. `at_s` (epoch seconds): when the next one is due, or since when it is stopped;
    None otherwise. `jid`: of the job that died, if it is stopped; "" if unknown, or otherwise. `drops`: what waits now
    is to die.
    """

    target: str
    name: str
    state: State
    waiting: int
    at_s: float | None = None
    jid: str = ""
    drops: bool = False


def held_keys(client: Client, targets: Iterable[Target], known: ConfigContext, most: int) -> tuple[list[OrderKey], int]:
    """Return the keys of these targets that are held, at most `most`, and how many there are.

    Stopped ones come first, then those that are due later, in progress, and ready; of these those with the most jobs.
    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found: list[OrderKey] = []
    count = 0
    for target in targets:
        unique: dict[bytes, HeldKey] = {}
        for page in store.read_keys(client, target.name):
            count += len(page)
            if len(unique) < _MOST:
                unique |= {one.key: one for one in page}
        found += _display(client, target, list(unique.values()), known)
    return sorted(found, key=lambda one: (_ORDER.index(one.state), -one.waiting, one.name))[:most], count


def _display(client: Client, target: Target, held: Sequence[HeldKey], known: ConfigContext) -> list[OrderKey]:
    keys = [one.key for one in held]
    waiting, due = store.waiting_of(client, target.queues, keys), store.due_of(client, target.queues, keys)
    return [
        OrderKey(
            target.name,
            display_name(one.name, known),
            one.state,
            waiting=count,
            at_s=one.since_us / 1e6 if one.state == "stopped" else at_s,
            jid=hiding.mask_secrets(one.jid, known.secrets) if one.state == "stopped" else "",
            drops=one.drops > one.number,
        )
        for one, count, at_s in zip(held, waiting, due, strict=True)
    ]


def find_key(client: Client, targets: Sequence[Target], name: str) -> tuple[Target, HeldKey]:
    """Return a key that is held, and its target.

    Raise `UsageError` if none of this name is, or if several of these targets hold one.
    """
    try:
        keys = [fold(one).encode() for one in (name, name.replace(SHOWN_BETWEEN, BETWEEN))]
    except UnicodeEncodeError:
        # Bytes of a command line arrive so; no job can hold them.
        raise UsageError("The key is not UTF-8.", "Give it as UTF-8.") from None
    found: dict[str, tuple[Target, HeldKey]] = {}
    for key in dict.fromkeys(keys):
        for target in targets:
            if target.name not in found and (held := store.read_key(client, target.name, key)) is not None:
                found[target.name] = target, held
    if len(found) > 1:
        raise UsageError(f"Several targets hold the key {name}.", f"Name it with --target: {', '.join(found)}.")
    for one in found.values():
        return one
    near = {one.name.replace(BETWEEN, SHOWN_BETWEEN) for target in targets for one in _first(client, target)}
    why = suggestion(name, sorted(near)) if near else "No key is held: nothing waits for its predecessor."
    raise UsageError(f"The key {name} is free: its next job may start as soon as it comes.", why)


def _first(client: Client, target: Target) -> Sequence[HeldKey]:
    return next(iter(store.read_keys(client, target.name)), ())


def shown_key(client: Client, target: Target, held: HeldKey, known: ConfigContext) -> OrderKey:
    """Return a key as `held_keys` does."""
    return _display(client, target, [held], known)[0]


def jobs_of_key(client: Client, target: Target, held: HeldKey, known: ConfigContext, limit: int) -> list[ShownJob]:
    """Return at most `limit` jobs that wait with a held key, the next one of each queue first."""
    found: list[ShownJob] = []
    for queue in target.queues:
        of = [line for line in line_jobs.read_lines(client, queue) if line.key == held.key]
        found += islice(_jobs(client, queue, of, known, limit), limit - len(found))
    return found


def _jobs(client: Client, queue: str, of: Sequence[Line], known: ConfigContext, limit: int) -> Iterator[ShownJob]:
    """Yield the jobs of these lines in the order in which they will be handed out; no more are read than needed."""
    places = line_jobs.by_finish_time(of, known.cost(queue))
    for piece in line_jobs.pieces(client, exact(client, queue), places, limit=min(limit, _HEADS)):
        yield from (find.view_of_waiting(raw, queue, known).shown() for _, _, raw in piece)


def steer(
    client: Client,
    target: Target,
    what: KeyAction,
    held: Sequence[HeldKey],
    *,
    known: ConfigContext,
    who: str,
    why: str,
) -> int:
    """Do this with these keys, if their records are the same still (b"": any); return how many that was.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    names = ", ".join(display_name(one.name, known) for one in held[:3]) + (" …" if len(held) > 3 else "")
    place, action = f"target:{target.name}", f"keys {what}"
    with AuditedAction(client, AuditEntry(who=who, action=action, place=place, where=names, why=why)) as note:
        note.done = sum(store.steer(client, target.name, target.queues, what, keys=held))
        note.state = "ended"
    return note.done


def drop_key(client: Client, target: Target, held: Sequence[HeldKey], known: ConfigContext, who: str, why: str) -> int:
    """Have the jobs die that wait with these keys now; return how many that are. Audited.

    The keys may have gone on since they were read, as busy ones do. Raise `StoreUnavailable` or `StoreRefused`.
    """
    waiting = count_waiting(client, target, held)
    steer(client, target, "drop", [attrs.evolve(one, record=b"") for one in held], known=known, who=who, why=why)
    return waiting


def count_waiting(client: Client, target: Target, held: Sequence[HeldKey]) -> int:
    """Return how many jobs wait with these keys. Raise `StoreUnavailable` or `StoreRefused`."""
    return sum(store.waiting_of(client, target.queues, [one.key for one in held]))


def resume(
    client: Client, target: Target, held: HeldKey, known: ConfigContext, action: Action, *, dry_run: bool = False
) -> tuple[int, tuple[str, ...]]:
    """Retry the dead job that stopped a key, which then goes on.

    Return how many jobs that are, 0 if it is not there or stays, and why it stays. Raise `UsageError` if the key is not
    stopped, or is of another `OrderBy`: no broker would take the job, which a retry puts into the list. Raise
    `StoreUnavailable` or `StoreRefused`.
    """
    if held.state != "stopped":
        raise UsageError(f"The key is not stopped: it is {STATES[held.state]}.", "restbroker keys show KEY says more.")
    if not held.jid:
        return 0, ()
    if target.order is None or old_order.keys_by(client, target.name) != target.order.keys_by:
        raise UsageError(
            f"OrderBy of {target.name} was changed since the key was stopped: a retry would wait for the key itself.",
            "Go on without the job that died (keys skip), have all die that wait (keys drop), or undo the change.",
        )
    *_, last = act.perform(client, SetJobs("dead", (held.jid,)), action, known, dry_run=dry_run)
    return last.done, tuple(last.refused)


def stopped_notes(client: Client, jids: Container[str], known: ConfigContext) -> list[str]:
    """Return a sentence for each of the first keys that stay stopped though the jobs that did it are deleted.

    Of very many held keys only the first are looked at. Raise `StoreUnavailable`.
    """
    ordered = sorted({one.name for one in known.targets.values() if one.order is not None})
    stopped: list[tuple[str, str]] = []
    # What was deleted is told also where Redis does not show the keys.
    with suppress(StoreRefused):
        for target, found in (store.read_stopped(client, ordered, _PAGES) if ordered else {}).items():
            keys = [display_name(one.name, known) for one in found.keys if one.jid and one.jid in jids]
            stopped += [(key, keys_command("skip", key, f" --target {target}" if ordered[1:] else "")) for key in keys]
    notes = [
        f"the jobs behind it with the key {key} still wait. To have them done: {skip}"
        for key, skip in stopped[:_NOTED_KEYS]
    ]
    if stopped[_NOTED_KEYS:]:
        notes.append(f"{len(stopped) - _NOTED_KEYS:,} more keys are still stopped: restbroker keys list")
    return notes


def all_keys(client: Client, target: Target) -> list[HeldKey]:
    """Return all keys of a target that are held."""
    return [one for page in store.read_keys(client, target.name) for one in page]


@attrs.frozen
class FairKey:
    """A key whose jobs wait in a line: how many, its weight, and its share of what is handed out while all these wait.

    `latency_s`: for how long the first of its jobs has been waiting; None: unknown, or not read. `is_named` False: its
    jobs have no key.
    """

    name: str
    jobs: int
    weight: int
    share: float
    latency_s: float | None
    is_named: bool = True


@attrs.frozen
class FairQueue:
    """A queue with its lines: how many jobs wait in its list and in lines; the `count` of keys, and the largest."""

    name: str
    in_list: int | None
    in_lines: int
    keys: tuple[FairKey, ...]
    count: int


def fair_queue(client: Client, queue: str, known: ConfigContext, most: int | None = None) -> FairQueue:
    """Return a queue with its keys, at most `most` of them. Raise `StoreUnavailable` or `StoreRefused`."""
    own = exact(client, queue)
    size = queue_store.waiting_of(client, {queue: client.keys.queue_of(own)})[queue]
    found = sorted(lines_of(client, own), key=lambda line: (-line.jobs, line.key))
    target = known.targets.get(queue)
    fairness = None if target is None else target.fairness
    weights = [1 if fairness is None else fairness.weight(line.name) for line in found]
    whole = sum(weights)
    shown = found[:most]
    waits = _waits(client, queue, shown[:_HEADS])
    keys = tuple(
        FairKey(
            line_name(line, known),
            line.jobs,
            weight=weight,
            share=weight / whole,
            latency_s=waits.get(line.key),
            is_named=bool(line.key),
        )
        for line, weight in zip(shown, weights, strict=False)
    )
    in_list = None if size is None else size.in_list
    return FairQueue(queue, in_list, in_lines=sum(line.jobs for line in found), keys=keys, count=len(found))


def jobs_of_line(client: Client, queue: str, key: str, known: ConfigContext, limit: int) -> list[ShownJob]:
    """Return at most `limit` jobs of a key's line, the next one first. Raise `UsageError` if none of this key wait."""
    line = _line_of(client, queue, key, known)
    return [*islice(_jobs(client, queue, [line], known, limit), limit)]


def count_jobs(client: Client, queue: str, key: str, known: ConfigContext) -> int:
    """Return how many jobs of a key wait in its line. Raise `UsageError` if none do."""
    return _line_of(client, queue, key, known).jobs


def drop_line(
    client: Client,
    queue: str,
    key: str,
    *,
    known: ConfigContext,
    who: str,
    why: str,
    release: Callable[[list[bytes]], object],
) -> Generator[Progress, None, None]:
    """Delete the jobs of a key that wait in its line now; yield the progress after each batch.

    It stops when the caller stops iterating. `release` as in `queues.clear_in_steps`. Raise `UsageError` if none of
    this key wait; raise `StoreUnavailable` or `StoreRefused`: the batches before are deleted, and perhaps one more.
    """
    own, line = exact(client, queue), _line_of(client, queue, key, known)

    def batches() -> Iterator[tuple[int, int]]:
        left = 1
        while left:
            deleted, left, held = queue_store.clear(client, own, b"", BATCH, lines=[(line.key, line.after)])
            release(held)
            yield deleted, left

    where = f"the key {line_name(line, known)}"
    entry = AuditEntry(who=who, action="drop", place=place_of(queue), where=where, why=why)
    yield from in_steps(client, entry, line.jobs, batches())


def give_back(client: Client, queue: str, who: str, why: str) -> Generator[Progress, None, None]:
    """Move the jobs of a queue's lines to the front of its list; yield the progress after each batch.

    Raise `UsageError` if the queue is not paused: running processes would move them into lines again. Raise
    `StoreUnavailable` or `StoreRefused`: the same call again goes on.
    """

    def batches() -> Iterator[tuple[int, int]]:
        left = 1
        while left:
            moved = lines.give_back(client, queue)
            if moved is None:
                raise UsageError(
                    f"The queue {queue} is not paused.", f"Pause it first: restbroker queues pause {shlex.quote(queue)}"
                )
            count, left = moved
            yield count, left
            if left and not count:
                return

    total = sum(line.jobs for line in lines_of(client, exact(client, queue)))
    entry = AuditEntry(who=who, action="return", place=place_of(queue), where="lines", why=why)
    yield from in_steps(client, entry, total, batches())


def line_name(line: Line, known: ConfigContext) -> str:
    """Return the name of a line's key for people, with secrets masked."""
    return display_name(line.name, known) or NO_KEY


def _line_of(client: Client, queue: str, key: str, known: ConfigContext) -> Line:
    """Return the line of a key, which may be written as it is shown. Raise `UsageError` if it has none."""
    found = {line_name(line, known): line for line in lines_of(client, exact(client, queue))}
    by_name = {line.name: line for line in found.values()}
    line = by_name.get(fold(key)) or found.get(fold(key)) or found.get(key)
    if line is None:
        near = suggestion(key, list(found)[:1000]) if found else "No job of this queue is in a line."
        raise UsageError(f"No job of the key {key} waits in a line of the queue {queue}.", near)
    return line


def _waits(client: Client, queue: str, found: Sequence[Line]) -> dict[bytes, float | None]:
    """Return for how long the first job of each of these lines has been waiting."""
    if not found:
        return {}
    now_s = time_s(client)
    heads = line_jobs.read_jobs(client, queue, [(line, line.head) for line in found])
    return {
        line.key: queue_store.latency_s(head, now_s) if head else None for line, head in zip(found, heads, strict=False)
    }
