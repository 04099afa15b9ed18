"""What a job waits for whose target does the jobs of one key one after the other: which job, why, and what to do.

Used by `explain`, by `enqueue --wait`, by a job's page, and by what takes dead jobs from their keys. Always holds: it
changes nothing, and reads a few records, however many jobs wait; secrets are masked.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs

from restbroker.config.target import Target
from restbroker.errors import StoreRefused
from restbroker.job import hiding
from restbroker.job.crashes import crash_text
from restbroker.job.order import is_ordered, key_in
from restbroker.light import frozen
from restbroker.operate import dead_copies, find
from restbroker.operate.context import ConfigContext
from restbroker.operate.find import LinePlace
from restbroker.operate.job import CHECK_FIRST, ShownJob, StoredJob, retry_options
from restbroker.operate.names import display_name, keys_command
from restbroker.store import identities, in_progress, queues
from restbroker.store import order as store
from restbroker.store.client import Client
from restbroker.store.order import BusyKey, State
from restbroker.store.tickets import queue_of, ticket_key

_SEARCH_S: Final = 2.0
"""For so long at most a dead job is looked for."""
NO_RETRY: Final = frozenset({"BadArguments", "AlreadyExists"})
"""Codes of dead jobs that a retry does not help: no form that is read, or what they wanted is there already."""
_MOST: Final = 10_000
"""So many stopped keys are looked at."""
_NOTED: Final = 5
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}


@frozen
class OrderWait:
    """Why a job of a held key waits. `jid`, `command`, `error`: of the first job of this key; "" if unknown.

    By `state` the first one is in progress at `process`, put off until `at_s`, dead since `at_s`, or may start.
    `is_own`: it is the job itself. `number`: the job's place among the `jobs` of its key that are not done, 1 is the
    next or in progress; None: no broker has looked at it yet. `is_hopeless`: neither a retry nor a copy of it helps.
    `crashes`: how many processes died with the first one in progress. `more`: what a command needs besides the key,
    `options`: what a retry needs besides.
    """

    key: str
    state: State
    jobs: int
    jid: str = ""
    command: str = ""
    error: str = ""
    at_s: float | None = None
    process: str = ""
    number: int | None = None
    is_own: bool = False
    is_hopeless: bool = False
    crashes: int = 0
    more: str = ""
    options: str = ""

    @property
    def place(self) -> str:
        """Where the job stands: "3rd of 5"; "" if no broker has looked at it yet."""
        return "" if self.number is None else f"{_ordinal(self.number)} of {self.jobs:,}"

    def text(self, moment: Callable[[float], str]) -> str:
        """Return in one sentence what the job waits for. `moment` writes a time."""
        if self.is_own and self.state == "stopped":
            waiting = "1 job waits" if self.jobs == 1 else f"{self.jobs:,} jobs wait"
            return f"It stopped the key {self.key}: {waiting} behind it."
        if self.is_own:
            return f"It is the next job of the key {self.key}{self._why(moment)}."
        return f"It is held {self.behind(moment)}."

    def behind(self, moment: Callable[[float], str]) -> str:
        """Return behind which job it waits, and why that one is not done: the second half of a sentence."""
        first = f"{self.jid or 'another job'}{f' ({self.command})' if self.command else ''}"
        return f"behind {first} of the key {self.key}{self._why(moment, ', which ')}"

    def _why(self, moment: Callable[[float], str], link: str = ", and ") -> str:
        at = "" if self.at_s is None else moment(self.at_s)
        error = self.error.removesuffix(".")
        match self.state:
            case "in_progress":
                return f"{link}{self.process or 'a process'} has in progress"
            case "due" if self.crashes:
                return f"{link}{crash_text(self.crashes, f'until {at}')}"
            case "due":
                failed = f", since it failed ({error})" if error else ""
                return f"{link}is tried again{f' at {at}' if at else ''}{failed}"
            case "stopped":
                return f"{link}died{f' at {at}' if at else ''}{f' ({error})' if error else ''}"
            case "ready":
                return f"{link}is done as soon as a process takes it"

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What a person can do so that the key goes on."""

        def hint(verb: str) -> str:
            return keys_command(verb, self.key, self.more)

        match self.state:
            case "due":
                return (f"To try {'it' if self.is_own else 'that one'} now: {hint('retry')}",)
            case "stopped":
                which, skip = "it" if self.is_own else "that one", f"To go on without it: {hint('skip')}"
                if self.is_hopeless:
                    return (skip,)
                if self.command or self.error:
                    retry = f"{CHECK_FIRST} If it was not" if self.options else f"To retry {which}"
                    return (f"{retry}: {hint('retry')}{self.options}", skip)
                # It is not among the dead jobs any more.
                back = f"To put {which} back: restbroker dead restore {shlex.quote(self.jid)}"
                return (back, skip) if self.jid else (skip,)
            case _:
                return ()


def of_job(client: Client, view: StoredJob, line: LinePlace | None, *, is_dead: bool = False) -> OrderWait | None:
    """Return why the job of a queue, at `line`, waits; of a dead one, what waits behind it. None: nothing of the kind.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    place = _place_of(view)
    found = None if place is None else of_key(client, view.context, *place, jid=view.jid)
    if found is None or (is_dead and not (found.is_own and found.state == "stopped")):
        return None
    if is_dead or line is None:
        return found
    # What is in progress is in no line.
    before = found.state == "in_progress"
    return attrs.evolve(found, number=line.number + before, jobs=line.jobs + before)


def _place_of(view: StoredJob) -> tuple[Target, str] | None:
    """Return the target and the key of a job that waits for others of its key; None if it waits for none."""
    target = view.context.targets.get(view.queue or "")
    if target is None or target.order is None:
        return None
    key = key_in(target.order, target.fairness, view.fields or {})
    return None if key is None or not is_ordered(key) else (target, key)


def has_key(view: StoredJob, target: str, busy: BusyKey) -> bool:
    """Tell whether a job has this key of this target, which an edit may have changed."""
    place = _place_of(view)
    return place is not None and (place[0].name, place[1].encode()) == (target, busy.key)


def stoppers(client: Client, known: ConfigContext) -> Mapping[str, tuple[str, BusyKey]]:
    """Return {id of a job that died: its target, and the key that it stopped}, of the first stopped keys.

    None where Redis does not show them. Raise `StoreUnavailable`.
    """
    ordered = sorted({target.name for target in known.targets.values() if target.order is not None})
    with suppress(StoreRefused):
        stopped = store.read_stopped(client, ordered, _MOST)
        return {key.jid: (target, key) for target, found in stopped.items() for key in found.keys if key.jid}
    return {}


def notes_on_left(left: Sequence[tuple[str, BusyKey]], known: ConfigContext) -> tuple[str, ...]:
    """Return a sentence for each of the first keys that the job left which had stopped them: how to open them."""
    several = len({target.name for target in known.targets.values() if target.order is not None}) > 1
    notes = [
        f"the key {(key := display_name(busy.name, known))} stays stopped, and its jobs wait. To let it go on: "
        + keys_command("skip", key, f" --target {target}" if several else "")
        for target, busy in left[:_NOTED]
    ]
    more = [f"{len(left) - _NOTED:,} more keys stay stopped: restbroker keys list"] if left[_NOTED:] else []
    return (*notes, *more)


def of_key(client: Client, known: ConfigContext, target: Target, key: str, jid: str | None) -> OrderWait | None:
    """Return why the job `jid` of this key waits, without its place; None if the key is free.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    busy = store.read_key(client, target.name, target.queues, key.encode())
    if busy is None:
        return None
    process, first = first_job(client, target, known, busy)
    is_gone = first is None and busy.state == "stopped" and not dead_copies.may_be_lost(client, busy.jid)
    others = any(other.order is not None and other.name != target.name for other in known.targets.values())
    return OrderWait(
        display_name(busy.name, known),
        busy.state,
        jobs=sum(store.waiting_of(client, target.queues, [busy.key])),
        jid=hiding.mask_secrets(busy.jid, known.secrets) if first is None else first.jid or "",
        command=(first and first.command) or "",
        error=": ".join(text for text in (first.error_class, first.message) if text) if first is not None else "",
        at_s=busy.at_s if busy.state in ("due", "stopped") else None,
        process=process,
        is_hopeless=is_gone or (first is not None and first.error_class in NO_RETRY),
        crashes=0 if first is None else first.crashes,
        is_own=bool(jid) and jid == (busy.jid if first is None else first.jid),
        more=f" --target {target.name}" if others else "",
        options=str(retry_options(first)) if first is not None and busy.state == "stopped" else "",
    )


def first_job(client: Client, target: Target, known: ConfigContext, busy: BusyKey) -> tuple[str, ShownJob | None]:
    """Return the process that has a key's first job, "" if none has; and that job, None if it is nowhere.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    if busy.state == "stopped":
        member = find.locate(client, "dead", busy.jid, _SEARCH_S).member if busy.jid else None
        view = None if member is None else StoredJob(*member, known)
        return "", view.shown() if view is not None and has_key(view, target.name, busy) else None
    if busy.state == "in_progress":
        return _in_progress(client, target, known, busy)
    heads = queues.jobs_at(client, [(queues.key_queue_of(client.keys, queue, busy.key), -1) for queue in target.queues])
    found = ((raw, queue) for raw, queue in zip(heads, target.queues, strict=True) if isinstance(raw, bytes) and raw)
    return "", next((find.view_of_waiting(raw, queue, known).shown() for raw, queue in found), None)


def _in_progress(client: Client, target: Target, known: ConfigContext, busy: BusyKey) -> tuple[str, ShownJob | None]:
    key, dying = busy.key.decode("utf-8", "replace"), identities.fenced_identities(client)
    of_target = [name for name in {*identities.live_identities(client), *dying} if name.endswith(f":{target.name}")]
    for identity in sorted(of_target):
        tickets = in_progress.read_tickets(client, identity).tickets
        for found in in_progress.pieces(client, identity, [other for other in tickets if ticket_key(other) == key]):
            for ticket, raw in found.items():
                queue = queue_of(ticket, target.queues) or target.queues[0]
                first = find.view_of_waiting(raw, queue, known).shown() if isinstance(raw, bytes) else None
                return ":".join(identity.split(":", 2)[:2]), first
    return "", None


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 13 else _ENDINGS.get(number % 10, "th")
    return f"{number:,}{ending}"
