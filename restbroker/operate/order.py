"""The keys whose jobs are done one after the other, as an operator sees them, and what they make of one that waits.

Called by `restbroker order` and the pages. Always holds: the jobs of one key keep their order, whatever is done
here; each change is for a key in a certain state, and is written to the audit log first.
"""

import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import StoreRefused, UsageError
from restbroker.job import hiding
from restbroker.job.fairness import BETWEEN, fold
from restbroker.operate import act, find
from restbroker.operate.act import Action, Selection
from restbroker.operate.audit import AuditedAction, AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.entry import Entry
from restbroker.operate.names import suggestion
from restbroker.store import line_jobs, old_order
from restbroker.store import order as store
from restbroker.store.client import Client
from restbroker.store.order import HeldKey, KeyAction, State
from restbroker.store.server import time_s

_SHOWN_BETWEEN: Final = " | "
_ORDER: Final[Sequence[State]] = ("stopped", "due", "in_progress", "ready")
_PAGES: Final = 10
_MOST: Final = 10_000
"""So many keys are read; more are only counted."""
_NOTED_KEYS: Final = 5


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


def display_name(name: str, known: ConfigContext) -> str:
    """Return the name of a key for people, with secrets masked."""
    return hiding.mask_secrets(name.replace(BETWEEN, _SHOWN_BETWEEN), known.secrets)


def command(verb: str, name: str, more: str = "") -> str:
    """Return what to type to have `restbroker order` do this with a key; `more`: what is needed besides the key.

    What terminals do not show is in the form that bash reads.
    """
    if name.isprintable():
        key = shlex.quote(name)
    else:
        plain = name.replace("\\", "\\\\").replace("'", "\\'")
        key = "$'" + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in plain) + "'"
    words = f"{more} -- {key}" if name.startswith("-") else f" {key}{more}"
    return f"restbroker order {verb}{words}"


def find_key(client: Client, targets: Sequence[Target], name: str) -> tuple[Target, HeldKey]:
    """Return a key that is held, and its target.

    Raise `UsageError` if none of this name is, or if several of these targets hold one.
    """
    try:
        keys = [fold(one).encode() for one in (name, name.replace(_SHOWN_BETWEEN, BETWEEN))]
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
    near = {one.name.replace(BETWEEN, _SHOWN_BETWEEN) for target in targets for one in _first(client, target)}
    why = suggestion(name, sorted(near)) if near else "No key is held: nothing waits for its predecessor."
    raise UsageError(f"The key {name} is free: its next job may start as soon as it comes.", why)


def _first(client: Client, target: Target) -> Sequence[HeldKey]:
    return next(iter(store.read_keys(client, target.name)), ())


def shown_key(client: Client, target: Target, held: HeldKey, known: ConfigContext) -> OrderKey:
    """Return a key as `held_keys` does."""
    return _display(client, target, [held], known)[0]


def jobs_of(client: Client, target: Target, held: HeldKey, known: ConfigContext, limit: int) -> Iterator[Entry]:
    """Yield at most `limit` jobs that wait with a key, the next one of each queue first."""
    for queue in target.queues:
        lines = [line for line in line_jobs.read_lines(client, queue) if line.key == held.key]
        places = line_jobs.by_finish_time(lines, known.cost(queue))
        for piece in line_jobs.pieces(client, queue, places, limit=min(limit, 200)):
            for _, _, raw in piece[:limit]:
                yield find.view_of_waiting(raw, queue, known).entry()
            limit -= len(piece)
            if limit <= 0:
                return


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
    place, action = f"target:{target.name}", f"order {_ACTIONS[what]}"
    with AuditedAction(client, AuditEntry(who=who, action=action, place=place, where=names, why=why)) as note:
        note.done = sum(store.steer(client, target.name, target.queues, what, keys=held))
        note.state = "ended"
    return note.done


def drop(client: Client, target: Target, held: Sequence[HeldKey], known: ConfigContext, who: str, why: str) -> int:
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
        raise UsageError(f"The key is not stopped: it is {STATES[held.state]}.", "restbroker order show KEY says more.")
    if not held.jid:
        return 0, ()
    if target.order is None or old_order.keys_by(client, target.name) != target.order.keys_by:
        raise UsageError(
            f"OrderBy of {target.name} was changed since the key was stopped: a retry would wait for the key itself.",
            "Go on without the job that died (order skip), have all die that wait (order drop), or undo the change.",
        )
    *_, last = act.perform(client, "dead", action, Selection((held.jid,)), known=known, dry_run=dry_run)
    return last.done, tuple(last.refused)


def stopped_since(client: Client, one: OrderKey) -> float:
    """Return for how many seconds a key has been stopped."""
    return max(0.0, time_s(client) - (one.at_s or 0.0))


def stopped_by(
    client: Client, targets: Iterable[Target], jids: Container[str], known: ConfigContext
) -> list[tuple[str, str]]:
    """Return the keys of these targets that the deaths of jobs of these ids stopped, each with what lets it go on.

    Of very many held keys only the first are looked at. Raise `StoreUnavailable` or `StoreRefused`.
    """
    places = [one.name for one in targets]
    found = store.read_stopped(client, places, _PAGES) if places else {}
    return [
        (name := display_name(one.name, known), command("skip", name, f" --target {target}" if places[1:] else ""))
        for target, stopped in found.items()
        for one in stopped.keys
        if one.jid and one.jid in jids
    ]


def stopped_notes(client: Client, jids: Container[str], known: ConfigContext) -> list[str]:
    """Return a sentence for each of the first keys that stay stopped though the jobs that did it are deleted.

    Raise `StoreUnavailable`.
    """
    # What was deleted is told also where Redis does not show the keys.
    with suppress(StoreRefused):
        ordered = {one.name: one for one in known.targets.values() if one.order is not None}
        stopped = stopped_by(client, ordered.values(), jids, known)
        notes = [
            f"the jobs behind it with the key {name} still wait. To have them done: {skip}"
            for name, skip in stopped[:_NOTED_KEYS]
        ]
        if stopped[_NOTED_KEYS:]:
            notes.append(f"{len(stopped) - _NOTED_KEYS:,} more keys are still stopped: restbroker order list")
        return notes
    return []


def all_keys(client: Client, target: Target) -> list[HeldKey]:
    """Return all keys of a target that are held."""
    return [one for page in store.read_keys(client, target.name) for one in page]


STATES: Final = {"stopped": "stopped", "due": "put off", "in_progress": "in progress", "ready": "ready"}
"""The states of keys, for people."""
_ACTIONS: Final = {"skip": "skip", "retry": "retry-now", "drop": "drop", "free": "free", "mend": "mend"}
