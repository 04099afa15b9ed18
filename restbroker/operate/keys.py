"""Keys: those whose jobs are done one after the other (OrderBy), and those whose jobs take turns (FairBy).

Called by `restbroker keys` and the pages. Always holds: the jobs of one key keep their order, whatever is done here;
each change of a held key is for a key in a certain state; it is written to the audit log before it is made; jobs return
to the list of a queue only while it is paused.
"""

import re
import shlex
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.fairness import BEFORE_ORDER, BETWEEN, fold
from restbroker.job.job import digest
from restbroker.job.order import made_by
from restbroker.light import frozen
from restbroker.operate import act, act_waiting, dead_copies, find
from restbroker.operate.act import Action, Progress
from restbroker.operate.act_set import SetJobs
from restbroker.operate.audit import AuditEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.job import ShownJob
from restbroker.operate.names import SHOWN_BETWEEN, display_name, exact, keys_command, suggestion
from restbroker.operate.order_wait import first_job
from restbroker.operate.queues import in_steps, place_of
from restbroker.store import key_queues
from restbroker.store import order as store
from restbroker.store import queues as queue_store
from restbroker.store.client import Client
from restbroker.store.key_queues import KeyQueue
from restbroker.store.order import BusyKey, KeyAction, State
from restbroker.store.server import time_s

_ORDER: Final[Sequence[State]] = ("stopped", "due", "in_progress", "ready")
_MOST: Final = 10_000
"""So many keys are read; more are only counted."""
_SEEN: Final = re.compile(r"\d{1,9}(?=[,-])", re.ASCII)
STATES: Final = {"stopped": "stopped", "due": "put off", "in_progress": "in progress", "ready": "ready"}
"""The states of held keys, for people."""
_HEADS: Final = 200
"""Of so many keys, those with the most jobs, the age of the first job is read."""
NO_KEY: Final = "(none)"
"""How the line of the jobs is called that have no key."""


@frozen
class OrderKey:
    """A key whose next job may not start, or could start now and waits for a worker.

    `waiting`: how many of its jobs wait. `at_s` (epoch seconds): when the next one is due, or since when it is stopped;
    None otherwise. `jid`: of the job that died, if it is stopped; "" if unknown, or otherwise.
    """

    target: str
    name: str
    state: State
    waiting: int
    at_s: float | None = None
    jid: str = ""

    @property
    def state_text(self) -> str:
        """Its state for people."""
        return STATES[self.state]


def busy_keys(client: Client, targets: Iterable[Target], known: ConfigContext, most: int) -> tuple[list[OrderKey], int]:
    """Return the keys of these targets that are held, at most `most`, and how many there are.

    Stopped ones come first, then those that are due later, in progress, and ready; of these those with the most jobs.
    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found: list[OrderKey] = []
    count = 0
    for target in targets:
        unique: dict[bytes, BusyKey] = {}
        for page in store.read_keys(client, target.name, target.queues):
            count += len(page)
            if len(unique) < _MOST:
                unique |= {key.key: key for key in page if key.key not in unique}
        found += _display(client, target, list(unique.values()), known)
    return sorted(found, key=lambda one: (_ORDER.index(one.state), -one.waiting, one.name))[:most], count


def _display(client: Client, target: Target, busy: Sequence[BusyKey], known: ConfigContext) -> list[OrderKey]:
    waiting = store.waiting_of(client, target.queues, [key.key for key in busy])
    return [
        OrderKey(
            target.name,
            key_name(key.name, known),
            key.state,
            waiting=count,
            at_s=key.at_s if key.state in ("stopped", "due") else None,
            jid=hiding.mask_secrets(key.jid, known.secrets),
        )
        for key, count in zip(busy, waiting, strict=True)
    ]


def find_key(client: Client, targets: Sequence[Target], name: str, known: ConfigContext) -> tuple[Target, BusyKey]:
    """Return a key that is held, or of which jobs wait, and its target. `name`: as it is shown, or as a job has it.

    Raise `UsageError` if none of this name is, or if several of these targets have one.
    """
    try:
        keys = [key.encode() for key in _keys_named(name)]
    except UnicodeEncodeError:
        # Bytes of a command line arrive so; no job can hold them.
        raise UsageError("The key is not UTF-8.", "Give it as UTF-8.") from None
    found: dict[str, tuple[Target, BusyKey]] = {}
    for key in keys:
        for target in targets:
            busy = store.read_key(client, target.name, target.queues, key)
            if target.name not in found and busy is not None:
                found[target.name] = target, busy
    if len(found) > 1:
        raise UsageError(f"Several targets hold the key {name}.", f"Name it with --target: {', '.join(found)}.")
    for place in found.values():
        return place
    near = {key_name(near_key.name, known) for target in targets for near_key in _first(client, target)}
    why = suggestion(name, sorted(near)) if near else "No key is held: nothing waits for its predecessor."
    raise UsageError(f"There is no key {name}: no job of it waits or is in progress.", why)


def _keys_named(name: str) -> Iterable[str]:
    """Return the keys that a name may mean, such as `a@b` or `a | b`; it does not say where its order begins."""
    found = [""] if name == NO_KEY else []
    for parts in ([name], name.split(SHOWN_BETWEEN), name.split("@")):
        folded = [fold(part) for part in parts]
        split = (BETWEEN.join(folded[:n]) + BEFORE_ORDER + BETWEEN.join(folded[n:]) for n in range(len(folded)))
        found += [*split, BETWEEN.join(folded)]
    return dict.fromkeys(found)


def _first(client: Client, target: Target) -> Sequence[BusyKey]:
    return next((page for page in store.read_keys(client, target.name, target.queues) if page), ())


def shown_key(client: Client, target: Target, busy: BusyKey, known: ConfigContext) -> OrderKey:
    """Return a key as `busy_keys` does."""
    return _display(client, target, [busy], known)[0]


def jobs_of_key(client: Client, target: Target, busy: BusyKey, known: ConfigContext, limit: int) -> list[ShownJob]:
    """Return at most `limit` jobs that wait with a key, the next one of each queue first."""
    found: list[ShownJob] = []
    for queue in target.queues:
        (count,) = key_queues.count_each(client, queue, [busy.key])
        places = key_queues.by_turn([KeyQueue(busy.key, count)], key_queues.equal_cost)
        for piece in key_queues.pieces(client, queue, islice(places, limit - len(found)), min(limit, _HEADS)):
            found += [find.view_of_waiting(raw, queue, known).shown() for _, _, raw in piece]
    return found


@frozen
class KeyView:
    """A key for a page: what holds it, and the first jobs that wait with it.

    `first`: the job that holds it, None if that is unknown. `counts`: how many jobs wait in each queue. `seen`: these,
    and a digest of its state, for a form.
    """

    target: Target
    busy: BusyKey
    key: OrderKey
    first: ShownJob | None
    jobs: list[ShownJob]
    counts: list[int]
    seen: str


def view_key(client: Client, known: ConfigContext, target: str, name: str, limit: int, seen: str = "") -> KeyView:
    """Return a key of this target with at most `limit` of the jobs that wait.

    With `seen` of an earlier view the counts are those of then, and `seen` is the same text again only if the key still
    has that state, because of the same job, and none of those that waited has left: the last of them is then at the
    same place, counted from the next one. Raise `UsageError` if the key is free.
    """
    place, busy = find_key(client, [meant for meant in known.targets.values() if meant.name == target][:1], name, known)
    counts = [int(count) for count in _SEEN.findall(seen)]
    counts = counts or [store.waiting_of(client, [queue], [busy.key])[0] for queue in place.queues]
    each = zip(place.queues, counts, strict=False)
    lines = [(queue_store.key_queue_of(client.keys, queue, busy.key), -count) for queue, count in each if count]
    last = queue_store.jobs_at(client, lines) if lines else ()
    state = digest(repr((busy.score, busy.jid, *last)).encode())
    return KeyView(
        place,
        busy,
        shown_key(client, place, busy, known),
        first=first_job(client, place, known, busy)[1],
        jobs=jobs_of_key(client, place, busy, known, limit),
        counts=counts,
        seen=f"{','.join(map(str, counts))}-{state}",
    )


def steer(
    client: Client, target: Target, what: KeyAction, busy: BusyKey, *, known: ConfigContext, who: str, why: str
) -> Generator[Progress]:
    """Do this with a key, if its state is the same still; yield the progress, which counts keys.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    name, place = key_name(busy.name, known), f"target:{target.name}"
    entry = AuditEntry(who=who, action=f"keys {what}", place=place, where=name, why=why)
    done = (sum(store.steer(client, target.name, target.queues, what, [key])) for key in [busy])
    return in_steps(client, entry, 1, ((count, 0) for count in done))


def drop(
    client: Client,
    target: Target,
    busy: BusyKey,
    config: Config,
    action: Action,
    known: ConfigContext,
    counts: Sequence[int | None] = (),
    limit: int | None = None,
) -> Generator[Progress]:
    """Kill the jobs that wait with a key now, and let it go on if it is stopped; yield the progress. `action`: a kill.

    At most `counts` of each queue die, and `limit` in all, next ones first. With a `limit`, if some have to stay, or
    if a person stops it, a stopped key stays stopped. Raise `StoreUnavailable` or `StoreRefused`.
    """
    so_far = Progress(0)
    each = zip(target.queues, counts or [None] * len(target.queues), strict=False)
    # The page of the action shows the first.
    for queue, count in sorted(each, key=lambda one: -(one[1] or 0)):
        left = None if limit is None else limit - so_far.done
        most = min((bound for bound in (count, left) if bound is not None), default=None)
        before, meant = so_far, act_waiting.select(client, queue, (), config, most, job_keys=[busy.key])
        for last in act.perform(client, meant, action, known):
            so_far = attrs.evolve(last, done=before.done + last.done, refused={**before.refused, **last.refused})
            yield so_far
        if not so_far.ended:
            return
        action = attrs.evolve(action, begins_at_once=False)
    if busy.state == "stopped" and limit is None and not so_far.refused:
        [*steer(client, target, "skip", busy, known=known, who=action.who, why=action.why)]


def resume(
    client: Client, target: Target, busy: BusyKey, known: ConfigContext, action: Action, *, dry_run: bool = False
) -> Generator[Progress]:
    """Retry the dead job that stopped a key, which then goes on; yield the progress.

    Raise `UsageError` if the key is not stopped, or is of another `OrderBy`: no broker would take the job, which a
    retry puts into the list; likewise if the job is gone, or has to stay. Raise `StoreUnavailable` or `StoreRefused`.
    """
    if busy.state != "stopped":
        raise UsageError(f"The key is not stopped: it is {STATES[busy.state]}.", "restbroker keys show KEY says more.")
    if target.order is None or store.made_by(client, target.name) != made_by(target.order, target.fairness):
        raise UsageError(
            f"OrderBy of {target.name} was changed since the key was stopped: a retry would wait for the key itself.",
            "Go on without the job that died (keys skip), have all die that wait (keys drop), or undo the change.",
        )
    _, job = first_job(client, target, known, busy)
    last = Progress(0)
    for last in act.perform(client, SetJobs("dead", (job.key,)), action, known, dry_run=dry_run) if job else ():
        yield last
    if not last.done:
        raise _not_resumed(client, busy, known, " ".join(last.refused))


def _not_resumed(client: Client, busy: BusyKey, known: ConfigContext, why: str) -> UsageError:
    """Return the error that says why the job that died stays, or that it is gone if `why` is empty."""
    jid = hiding.mask_secrets(busy.jid, known.secrets)
    gone = f"The job that died is not among the dead jobs any more, or has another key now: {jid}."
    if not jid:
        gone = "The id of the job that died is not known: if it is among the dead jobs, retry it there."
    hint = f"To go on without it: {keys_command('skip', key_name(busy.name, known))}"
    if jid and not why and dead_copies.may_be_lost(client, busy.jid):
        hint += f" To put it back first: restbroker dead restore {shlex.quote(jid)}"
    return UsageError(why or gone, hint)


@frozen
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


@frozen
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
    found = sorted(
        key_queues.read_key_queues(client, own, known.target(queue)), key=lambda line: (-line.jobs, line.key)
    )
    target = known.targets.get(queue)
    fairness = None if target is None else target.fairness
    weights = [1 if fairness is None else fairness.weight(line.fair_key) for line in found]
    whole = sum(weights)
    shown = found[:most]
    waits = _waits(client, queue, shown[:_HEADS])
    keys = tuple(
        FairKey(
            key_name(line.name, known),
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


def keys_in(client: Client, queue: str, target: Target, known: ConfigContext) -> tuple[list[bytes], list[str]]:
    """Return the keys of all lines of a queue but for stopped ones, and the names of these.

    This reads the names of all keys. Raise `StoreUnavailable` or `StoreRefused`.
    """
    stopped = {key.key for found in store.read_stopped(client, [target.name], -1).values() for key in found.keys}
    keys = store.all_keys(client, queue)
    names = [key_name(key.decode("utf-8", "backslashreplace"), known) for key in keys if key in stopped]
    return [key for key in keys if key not in stopped], names


def give_back(
    client: Client, queue: str, target: Target, keys: Sequence[bytes], who: str, why: str
) -> Generator[Progress, None, None]:
    """Move the jobs of these keys to the front of the queue's list; yield the progress after each batch.

    Raise `UsageError` if the queue is not paused: running processes would move them into lines again. Raise
    `StoreUnavailable` or `StoreRefused`: the same call again goes on.
    """
    left = list(keys)

    def batches() -> Iterator[tuple[int, int]]:
        while True:
            moved = store.give_back(client, queue, target.name, left)
            if moved is None:
                raise UsageError(
                    f"The queue {queue} is not paused.", f"Pause it first: restbroker queues pause {shlex.quote(queue)}"
                )
            count, ended = moved
            del left[:ended]
            yield count, len(left)
            if not left or not count + ended:
                return

    entry = AuditEntry(who=who, action="return", place=place_of(queue), where="lines", why=why)
    yield from in_steps(client, entry, sum(key_queues.count_each(client, queue, left)), batches())


def key_name(key: str, known: ConfigContext) -> str:
    """Return the name of a key for people, with secrets masked."""
    return display_name(key, known) or NO_KEY


def _waits(client: Client, queue: str, found: Sequence[KeyQueue]) -> dict[bytes, float | None]:
    """Return for how long the first job of each of these lines has been waiting."""
    if not found:
        return {}
    now_s = time_s(client)
    heads = queue_store.jobs_at(
        client, [(queue_store.key_queue_of(client.keys, queue, line.key), -1) for line in found]
    )
    return {
        line.key: queue_store.latency_s(head, now_s) if head else None for line, head in zip(found, heads, strict=True)
    }
