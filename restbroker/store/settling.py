"""Executes settlements: what becomes of jobs in progress.

Used through `store.jobs`: by `broker.acker`, and through it by the intake and the recovery. Other files of the store
take only `Destinations`, for the replies of what a dead process had in progress. Always holds: a settlement is applied
at most once, together with its replies and what is written of the job; what is due later is due by Redis' own clock.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias, assert_never

import orjson

from restbroker.errors import StoreRefused
from restbroker.job import rubyjson
from restbroker.job.fairness import BEFORE_ORDER
from restbroker.job.format import PAYLOAD_LIMIT_BYTES, is_reply_key
from restbroker.job.settlement import Ack, ClaimChange, Dead, Drop, Fingerprint, Requeue, Retry, Schedule, Settlement
from restbroker.job.settlement import Reply as Answer
from restbroker.light import define, field, frozen_plain
from restbroker.store.client import Argument, Reply, ScriptCall, as_score, items, raw, text
from restbroker.store.codes import APPLIED, Code, Gone, Refused, as_code
from restbroker.store.history import Records
from restbroker.store.in_progress import FetchedJob
from restbroker.store.keys import RedisKeys
from restbroker.store.tickets import has_key, ticket_number, ticket_queue

TicketSettlement: TypeAlias = tuple[str, Settlement]
"""A ticket, and what becomes of its job."""
_GONE = Gone()
_DAY_S: Final = 86_400
_KNOWN: Final = 256
"""For how many targets the names of keys are kept."""


@frozen_plain
class TakeNext:
    """A settlement's request for the next jobs of the keys whose jobs are done, at most `count`.

    `base` as in `FetchRequest`; `max_dead`: the limit of the dead set, 0 for none. Only for a target with one queue,
    and where nothing else limits it.
    """

    base: int
    count: int
    max_dead: int = 0


@frozen_plain
class FinishRequest:
    """Tickets with the settlements of their jobs. `queues` as registered; `hwm` as in `FetchRequest`, 0 leaves it.

    `records`: the history records of the jobs that end; None: none are written. `key_rules` as in `FetchRequest`.
    `next`: what is taken with it; `hwm` then counts these jobs too. `may_be_marked`: jobs of this identity may have
    marks, or are counted because of a bound on those in progress. `is_ours`: Redis was not asked for them before, and
    no other process can have taken them over.
    """

    identity: str
    target: str
    queues: tuple[str, ...]
    hwm: int
    items: Sequence[TicketSettlement]
    records: Records | None = None
    key_rules: str = ""
    next: TakeNext | None = None
    may_be_marked: bool = True
    is_ours: bool = False


@define(eq=False)
class FinishSteps:
    """One request on its way: `calls`, the one call that it sends (none if no job needs Redis), and what it answers.

    Each job is settled by itself. Jobs that go back are pushed last, newest first, so that the oldest is taken first
    again. Where the reply is lost or refused, some may be settled all the same; the same request again answers `Gone`
    for those. `now_s` gives the day to count in.
    """

    keys: RedisKeys
    request: FinishRequest
    now_s: float
    calls: list[ScriptCall] = field(init=False)
    day: int = field(init=False)
    """The day to count in, in days since the epoch."""
    taken: tuple[FetchedJob, ...] = field(init=False, default=())
    """What came with the settlement, once its replies are read."""
    _codes: list[Code] = field(init=False)
    _places: Sequence[int] = field(init=False)
    """The jobs of the call, by their places in the request."""
    _next: TakeNext | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        """Set all codes to `Gone` (nothing is done until Redis answers), then make the call.

        Mostly all jobs are plain: done, with nothing else to write, so that to settle one means only to remove it.
        """
        request = self.request
        self.day, self._codes, tickets = int(self.now_s // _DAY_S), [_GONE] * len(request.items), list[str]()
        if not request.may_be_marked:
            for ticket, settlement in request.items:
                if not (isinstance(settlement, Ack) and settlement.is_plain) or BEFORE_ORDER in ticket:
                    break
                tickets.append(ticket)
        if not tickets or len(tickets) < len(request.items):
            self._ask_finish()
            return
        names = _done_keys(self.keys, request.identity, self.day)
        arguments: list[Argument] = [request.hwm, len(tickets), *tickets]
        if request.records is not None:
            names = [*names, self.keys.history]
            arguments += [request.records.keep_ms, *request.records.each]
        self._places, self.calls = range(len(tickets)), [("done", names, arguments)]

    def _ask_finish(self) -> None:
        """Make the call of the script that knows all: plain jobs come first.

        A job that is refused without asking Redis gets its code here.
        """
        request, has_keys = self.request, False
        order, others, back = list[int](), list[int](), list[tuple[int, int]]()
        for place, (ticket, settlement) in enumerate(request.items):
            # Whether a key goes on, or gets a job back; no other batch pays for it.
            has_keys = has_keys or BEFORE_ORDER in ticket or (isinstance(settlement, Requeue) and has_key(ticket))
            if isinstance(settlement, Ack) and settlement.is_plain:
                order.append(place)
            elif isinstance(settlement, Requeue):
                back.append((-ticket_number(ticket), place))
            elif (replies := _replies(settlement)) and (why := _refusal(replies)) is not None:
                self._codes[place] = Refused(why)
            else:
                others.append(place)
        plain = len(order)
        order += others
        if back:
            order += [place for _, place in sorted(back)]
        if has_keys and len(request.queues) == 1:
            self._next = request.next
        self._places, self.calls = order, [self._finish_call(order, plain, has_keys=has_keys)] if order else []

    def _finish_call(self, places: Sequence[int], plain: int, *, has_keys: bool) -> ScriptCall:
        """Return the call for the jobs at these places, the first `plain` of which are plain."""
        keys, request, wanted = self.keys, self.request, self._next
        destinations, weights = Destinations(keys), _weights(request.key_rules) if has_keys else ""
        recorded = 0 if request.records is None else len(places)
        arguments: list[Argument] = [request.identity, request.hwm, len(request.queues), plain, recorded, weights]
        if wanted is None:
            arguments += ["", ""]
        else:
            arguments += [wanted.base, wanted.count, request.queues[0], wanted.max_dead, PAYLOAD_LIMIT_BYTES]
        for number, place in enumerate(places):
            ticket, settlement = request.items[place]
            arguments.append(ticket)
            if number >= plain:
                arguments += destinations.describe(ticket, settlement)
        lists = [*list_keys(keys, request.queues), *destinations.lists]
        if weights:
            lists += places_of_keys(keys, request.target, request.queues)
        if wanted is not None:
            lists += _keys_of_next(keys, request.target)
        if request.records is not None:
            lists.append(keys.history)
            arguments += [request.records.keep_ms, *map(request.records.each.__getitem__, places)]
        return "finish", [*_common_keys(keys, request.identity, request.target, self.day), *lists], arguments

    def commands(self) -> list[Sequence[Argument]] | None:
        """Return what settles its one plain job in one step without a script, which costs more; None: only that can.

        The last reply has the job's code first. Only for jobs that are ours: each is counted, in progress or not. A
        full Redis refuses all of it, so that no count is lost.
        """
        request, (name, keys, _) = self.request, self.calls[0]
        if name != "done" or len(request.items) > 1 or request.hwm or request.records or not request.is_ours:
            return None
        in_progress, total, of_day = keys
        settled = ("HDEL", in_progress, request.items[0][0])
        return [("MULTI",), settled, ("INCRBY", total, 1), ("INCRBY", of_day, 1), ("EXEC",)]

    def read_replies(self, replies: Sequence[Reply | StoreRefused]) -> list[Code]:
        """Return one code per item, in order, from the replies to `calls`. Raise a `StoreRefused` among them."""
        for reply in replies:
            if isinstance(reply, StoreRefused):
                raise reply
            answers = items(reply, len(self._places)) if self._next is None else self._read_both(reply, self._next.base)
            for place, answer in zip(self._places, answers, strict=False):
                self._codes[place] = APPLIED if answer == 1 else as_code(answer)
        return self._codes

    def _read_both(self, reply: Reply, base: int) -> Sequence[Reply]:
        codes, found = items(reply, 2)
        queue, given, taken = self.request.queues[0], items(found), list[FetchedJob]()
        for key, job in zip(given[::2], given[1::2], strict=True):
            base += 1
            taken.append(FetchedJob(f"{base}:1:{text(key)}", base, queue, raw(job)))
        self.taken = tuple(taken)
        return items(codes)


def _refusal(replies: Sequence[Answer]) -> str | None:
    for reply in replies:
        if reply.queue is None and not is_reply_key(reply.key or ""):
            return f"{reply.key!r} is not a key for answers (restbroker:reply:NAME)"
    return None


@lru_cache(_KNOWN)
def _done_keys(keys: RedisKeys, identity: str, day: int) -> list[str]:
    return [keys.in_progress(identity), keys.stat("processed"), keys.stat_day("processed", _date(day))]


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).strftime("%Y-%m-%d")


@lru_cache(_KNOWN)
def _weights(key_rules: str) -> str:
    """Return the weights of fair keys that a target has (JSON)."""
    return json.dumps((rubyjson.object_of(key_rules.encode()) or {}).get("weights", {}))


@lru_cache(_KNOWN)
def list_keys(keys: RedisKeys, queues: tuple[str, ...]) -> list[str]:
    """Return the lists of these queues."""
    return [keys.queue(queue) for queue in queues]


@lru_cache(_KNOWN)
def places_of_keys(keys: RedisKeys, target: str, queues: tuple[str, ...]) -> list[str]:
    """Return the places of keys as scripts take them: the target's, then all turns, all lines, all `fair` of queues."""
    of_queues = [of(queue) for of in (keys.ready_keys, keys.key_queue, keys.fair) for queue in queues]
    return [keys.busy_keys(target), keys.keys_made_by(target), keys.stopped(target), *of_queues]


@lru_cache(_KNOWN)
def _keys_of_next(keys: RedisKeys, target: str) -> list[str]:
    return [keys.heartbeats, keys.paused_queues, keys.pause(target)]


@lru_cache(_KNOWN)
def _common_keys(keys: RedisKeys, identity: str, target: str, day: int) -> list[str]:
    """Return the keys of all calls of one target on one day (since the epoch): each call costs a dozen names."""
    date = _date(day)
    counters = [keys.stat("processed"), keys.stat("failed")]
    counters += [keys.stat_day("processed", date), keys.stat_day("failed", date)]
    sets = [keys.sorted_set("retry"), keys.sorted_set("dead"), keys.sorted_set("schedule")]
    own = [keys.send_marks(identity), keys.in_flight(target)]
    return [keys.in_progress(identity), *counters, *sets, keys.queues, keys.dead_copies, *own]


def _replies(settlement: Settlement) -> tuple[Answer, ...]:
    return () if isinstance(settlement, (Requeue, Schedule)) else settlement.replies


def claim_key(keys: RedisKeys, change: ClaimChange) -> str:
    """Return the key of the lock or claim that this changes."""
    return keys.lock(change.name) if change.kind == "unique" else keys.claim(change.name)


def fingerprint_set(one: Fingerprint) -> str:
    """Return which of its token's sets a fingerprint belongs to: those that are kept long push no others out."""
    return f"{'stored' if one.is_stored else 'first'}:{one.queue}"


def fingerprint_members(one: Fingerprint) -> tuple[str, str]:
    """Return what is in a set if the job was done, and what is in one if it was stored with a mark of acceptance."""
    return one.text, f"~{one.text}"


def arguments_of(change: ClaimChange) -> list[Argument]:
    """Return a script's arguments for a change, besides its key: value, milliseconds, values that it may have now."""
    return [change.becomes, round(change.keep_s * 1000), len(change.was), *change.was]


@define(eq=False)
class Destinations:
    """The keys of one call's replies, fingerprints, locks and claims: {key: its number among the script's keys}."""

    keys: RedisKeys
    lists: dict[str, int] = field(factory=dict)

    def number(self, name: str) -> int:
        """Return the number of the key of this name, from 1 on; a new key is added."""
        return self.lists.setdefault(name, len(self.lists) + 1)

    def of(self, reply: Answer) -> int:
        """Return the number of the key to which a reply is pushed."""
        return self.number(
            self.keys.queue(reply.queue) if reply.queue is not None else self.keys.reply(reply.key or "")
        )

    def make(self, replies: Sequence[Answer]) -> list[Argument]:
        """Return a script's arguments for the replies to one job: their number, then what each is.

        That is its destination's number, its queue ("": a key, not a queue), its time to live (seconds), and its
        payload.
        """
        arguments: list[Argument] = [len(replies)]
        for reply in replies:
            arguments += [self.of(reply), reply.queue or "", reply.ttl_s, reply.payload]
        return arguments

    def describe(self, ticket: str, settlement: Settlement) -> list[Argument]:
        """Return what `finish` takes of a job that is not plain, besides its ticket: what becomes of it, and bytes."""
        what: dict[str, Any]
        payload, bodies = b"", list[bytes]()
        match settlement:
            case Ack() | Drop():
                what = {"fate": "" if isinstance(settlement, Ack) else "zx", "effect": settlement.effect}
            case Retry() | Schedule():
                fate, payload = "zr" if isinstance(settlement, Retry) else "zs", settlement.payload
                what = {"fate": fate, "score": as_score(settlement.delay_s)}
            case Dead():
                what, payload = self._of_dead(settlement), settlement.payload
            case Requeue(payload):
                what = {"fate": "back"}
            case _:
                assert_never(settlement)
        what["qidx"] = ticket_queue(ticket)
        for reply in _replies(settlement):
            to = {"key": self.of(reply), "queue": reply.queue or "", "ttl_s": reply.ttl_s}
            what.setdefault("replies", []).append(to)
            bodies.append(reply.payload)
        for change in settlement.claims:
            kind = "prints" if isinstance(change, Fingerprint) else "claims"
            what.setdefault(kind, []).append(self._of_change(change))
        return [orjson.dumps(what), payload, *bodies]

    def _of_dead(self, died: Dead) -> dict[str, Any]:
        what: dict[str, Any] = {"fate": "zd", "score": as_score(died.at_s), "effect": died.effect}
        if died.unadmitted_in:
            what["count"] = {"key": self.number(self.keys.unadmitted_counts), "queue": died.unadmitted_in}
        if died.large:
            key, all_keys = self.number(self.keys.large(died.large)), self.number(self.keys.large_payloads)
            what["large"] = {"key": key, "jid": died.large, "all": all_keys}
        return what

    def _of_change(self, change: ClaimChange | Fingerprint) -> dict[str, Any]:
        keep_ms = round(change.keep_s * 1000)
        if isinstance(change, Fingerprint):
            name, sets = fingerprint_set(change), self.number(self.keys.done_sets(change.token))
            key, member = self.keys.done_jobs(change.token, name), fingerprint_members(change)[not change.is_done]
            return {"key": self.number(key), "text": member, "keep_ms": keep_ms, "sets": sets, "name": name}
        changed = {"key": self.number(claim_key(self.keys, change)), "was": change.was, "becomes": change.becomes}
        later = {} if change.later_s is None else {"later_ms": round(change.later_s * 1000)}
        return {**changed, "keep_ms": keep_ms, **later}
