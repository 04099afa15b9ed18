"""Pushes events to Redis: those that came while a call was under way in one. Every webhook and reader delivers so.

`app` makes one `Deliverer` for a process, and a `Receiver` that runs it beside the sources. Always holds: a job is what
a Ruby client would push, so that any Sidekiq process takes it; the record beside it, for display, holds no text of a
message; events that came by the time the process stops are still pushed and confirmed; an event with the verdict
"accepted" has a job in Redis; after `PATIENCE_S`, or the source's own time, no push is begun for an event of `deliver`,
and one that is on its way then is bounded by its connection; an event whose sender has stopped waiting is not pushed. A
push whose answer was lost is made again while its sender waits; Redis knows by then what it has.
"""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Final, TypeAlias

import trio

from restbroker.config.events import EventSource, Handover, Route, Shape
from restbroker.config.values import duration_text
from restbroker.errors import ConnectionEnded, StoreRefused, StoreUnavailable
from restbroker.job import rubyjson
from restbroker.job.event import ServerEvent, as_json, mark_of_sent, mark_of_test
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional
from restbroker.light import define, field
from restbroker.servers.event_contract import Delivery, EventReader, Verdict
from restbroker.serving.runner import Server
from restbroker.store import events as store
from restbroker.store.connection import Connection
from restbroker.store.events import IncomingEvent, PushResult

# Why: docs/design.md#events
PATIENCE_S: Final = 2.0
_AT_ONCE: Final = 200
"""The most events that go to Redis in one call."""
_AT_ONCE_BYTES: Final = 4 * 1024 * 1024
_LONGEST_NOTE: Final = 1024
"""The letters of each text that a note keeps: the list of recent events is bounded in entries."""
_PAUSE_S: Final = 0.1
"""Seconds before the next call after one that failed."""
_PATIENT_PAUSE_S: Final = 1.0
"""Seconds before jobs that could not be made dead are tried again."""
# How long a sender's repetition is known that would be a message to people, unless `DropDuplicates` says.
_ONCE_S: Final = 60.0
_REFUSAL_GAP_S: Final = 1.0
"""Of the refusals of a source in so many seconds, one is noted: strangers may cause them."""


@define(eq=False)
class _PendingEvent:
    """An event whose sender waits for it. `is_abandoned`: the sender waits no more."""

    incoming: IncomingEvent
    done: trio.Event = field(factory=trio.Event)
    result: PushResult | None = None
    error: Exception | None = None
    is_on_its_way: bool = False
    is_abandoned: bool = False
    is_alone: bool = False
    """Whether no other goes to Redis with it, since it, or one beside it, is no event that can."""


@define(eq=False)
class Deliverer:
    """Pushes all events of a process to Redis; `run` must be running."""

    connection: Connection
    command_job: "CommandJob | None" = None
    """What makes the job of an event that becomes a command."""
    patience_s: float = PATIENCE_S
    new_jid: Callable[[], str] = lambda: token_hex(12)
    _pending: deque[_PendingEvent] = field(factory=deque)
    _came: trio.Event = field(factory=trio.Event)
    _stopping: trio.Event = field(factory=trio.Event)
    _refused: set[str] = field(factory=set)
    """The sources of which Redis does not know yet that a request was refused."""
    _refused_at_s: dict[str, float] = field(factory=dict)

    async def deliver(self, source: EventSource, event: ServerEvent, /) -> Delivery:
        """Push the event and return what became of it when Redis has its job, or at once if the filters drop it.

        Raise `StoreUnavailable` or `StoreRefused` if Redis does not take it in time, though it may have the job all the
        same; raise what `incoming_event` raises, and whatever else the event leads to.
        """
        patience_s = self.patience_s if source.patience_s is None else source.patience_s
        offer = self.offer(source, [event])
        try:
            with trio.move_on_after(patience_s):
                await offer.wait()
        finally:
            # "Not taken" would be wrong as soon as one that is on its way arrives.
            await offer.withdraw()
        match offer.verdicts()[0]:
            case str(verdict):
                return Delivery(verdict, offer.pushed_jid)
            case None:
                raise StoreUnavailable(f"Redis did not accept an event within {duration_text(patience_s)}.")
            case error:
                raise error

    def offer(self, source: EventSource, events: Sequence[ServerEvent]) -> "EventOffer":
        """Queue these events for a push in this order, as `Intake.offer` promises, and return at once."""
        waiting = [self._make(source, event) for event in events]
        pending = [event for event in waiting if isinstance(event, _PendingEvent)]
        self._pending.extend(pending)
        self._came.set()
        return EventOffer(waiting, pending)

    def _make(self, source: EventSource, event: ServerEvent) -> "_PendingEvent | Verdict | Exception":
        try:
            what = incoming_event(source, event, self.new_jid(), self.command_job)
        # Whatever it is: one event must not cost the others.
        except Exception as error:  # noqa: BLE001
            return error
        return "ignored" if what is None else _PendingEvent(what)

    async def add_dead_jobs(self, jobs: Sequence[bytes]) -> None:
        """Put these jobs into the dead set, trying again for as long as Redis is away or refuses."""
        while True:
            try:
                await self.connection.call(store.add_dead_jobs, jobs)
            except (StoreUnavailable, StoreRefused):
                await trio.sleep(_PATIENT_PAUSE_S)
            else:
                return

    def record_refusal(self, source: str, /) -> None:
        """Record in Redis that a request to this source was refused as unauthorized, for `check --events`."""
        now_s = trio.current_time()
        if now_s >= self._refused_at_s.get(source, -math.inf) + _REFUSAL_GAP_S:
            self._refused_at_s[source] = now_s
            self._refused.add(source)
            self._came.set()

    def hurry(self) -> None:
        """From now on, do not try a failed push again, because the process stops."""
        self._stopping.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Push the events that wait, until cancelled; a call of Redis that has begun ends first."""
        task_status.started()
        while True:
            await self._came.wait()
            batch = self._next()
            if not batch:
                self._came = trio.Event()
                await self._push_refusals()
                continue
            if not await self._push(batch):
                with trio.move_on_after(_PAUSE_S):
                    await self._stopping.wait()
            await self._push_refusals()

    def _next(self) -> list[_PendingEvent]:
        """Return the events that came first and whose senders still wait, as many as fit in one call."""
        batch: list[_PendingEvent] = []
        size = 0
        while self._pending and size < _AT_ONCE_BYTES:
            if len(batch) >= (1 if self._pending[0].is_alone else _AT_ONCE):
                break
            one = self._pending.popleft()
            if not one.is_abandoned:
                batch.append(one)
                size += len(one.incoming.payload)
        return batch

    async def _push(self, batch: list[_PendingEvent]) -> bool:
        """Push these events; return False if Redis did not answer, and those with patience wait again."""
        for event in batch:
            event.is_on_its_way = True
        try:
            heard = await self._push_group([event.incoming for event in batch])
        except StoreRefused as error:
            _fail_all(batch, error)
            return True
        except StoreUnavailable as error:
            patient = [] if self._stopping.is_set() else [event for event in batch if not event.is_abandoned]
            _fail_all([event for event in batch if event not in patient], error)
            for event in patient:
                event.is_on_its_way, event.error = False, error
            self._pending.extendleft(reversed(patient))
            return False
        # Whatever it is: one event must not cost the others.
        except Exception as error:  # noqa: BLE001
            if len(batch) == 1:
                _fail_all(batch, error)
            else:
                for event in batch:
                    event.is_on_its_way, event.is_alone = False, True
                self._pending.extendleft(reversed(batch))
            return True
        for event, what in zip(batch, heard, strict=True):
            event.result = what
            event.done.set()
        return True

    async def _push_refusals(self) -> None:
        """Note the refusals in Redis, or forget them if that fails: no more than a hint is lost."""
        refused, self._refused = self._refused, set()
        for source in refused:
            with suppress(StoreUnavailable, StoreRefused):
                await self.connection.ask(store.record_refusal, source)

    async def _push_group(self, arrivals: list[IncomingEvent]) -> list[PushResult]:
        try:
            return await self.connection.push_events(arrivals)
        except ConnectionEnded:
            # It ended while it was idle; nothing was sent.
            return await self.connection.push_events(arrivals)


@define(eq=False)
class EventOffer:
    """The `Offer` of events to Redis that `Deliverer.offer` made."""

    _offered: Sequence[_PendingEvent | Verdict | Exception]
    """A verdict or an error stands for an event that is not pushed."""
    _pending: Sequence[_PendingEvent]
    """Those that are."""

    async def wait(self) -> None:
        """Wait until all events are decided, for as long as Redis is away."""
        for event in self._pending:
            # A wait for what is done would let each other task have its turn, once for each event.
            if not event.done.is_set():
                await event.done.wait()

    async def withdraw(self) -> None:
        """Withdraw the events that are not yet being sent to Redis; return within seconds, when the rest is decided."""
        for event in self._pending:
            event.is_abandoned = True
        for event in self._pending:
            if event.is_on_its_way and not event.done.is_set():
                await event.done.wait()

    @property
    def pushed_jid(self) -> str | None:
        """The id of the first job that was pushed; None if there is none."""
        return next((event.incoming.jid for event in self._pending if event.result == "pushed"), None)

    def verdicts(self) -> list[Verdict | Exception | None]:
        """Return for each event, in order, its verdict or error so far; None: nothing is known yet."""
        return [_verdict(event) if isinstance(event, _PendingEvent) else event for event in self._offered]


def _verdict(one: _PendingEvent) -> Verdict | Exception | None:
    match one.result:
        case "pushed":
            return "accepted"
        case "duplicate" | "own":
            return one.result
        case "unwanted":
            return "ignored"
        case "refused":
            queue = one.incoming.queue
            message = f"Redis does not accept jobs for the queue {queue}: its key is not a list, or not writable."
            return StoreRefused(message, "`restbroker check` names the type of its key.")
        case None:
            return one.error


def _fail_all(batch: list[_PendingEvent], error: Exception) -> None:
    for event in batch:
        event.error = error
        event.done.set()


def route_of(source: EventSource, event: ServerEvent) -> Route | None:
    """Return where the event goes, or None if the source's `Only`, `Except` and `Routes` drop it."""
    if not source.only.fits(event) or source.excluded.touches(event):
        return None
    if not source.routes:
        return Route(source.queue, source.job_class, shape=source.shape, handover=source.handover)
    fits = (route for route in source.routes if route.only.fits(event) and not route.excluded.touches(event))
    return next(fits, None)


CommandJob: TypeAlias = Callable[[Handover, Mapping[str, Json], str, float], bytes]
"""Returns the job that an event of these members becomes, by its jid and time (epoch seconds).

It raises `UsageError` if there can be no such job, `UnfitEvent` if none can be made of these members.
"""


def incoming_event(
    source: EventSource, event: ServerEvent, jid: str, command_job: CommandJob | None = None
) -> IncomingEvent | None:
    """Return the entry to push for this event, or None if the source's filters drop it and it belongs to no test.

    None also if its command would answer itself. Raise `ValueError` for what no JSON can hold, `UsageError` for what no
    job of a command can hold, `UnfitEvent` if the event lacks what its `Arguments` need.
    """
    route, test = route_of(source, event), mark_of_test(event.body)
    if route is None:
        if test is None:
            return None
        route = Route()
    fields, moment_s = as_json(event), fractional(event.received_at_s)
    members = _apply_shape({**fields, "received_at": moment_s}, route.shape)
    if route.handover.speaks_as(event.sender, members):
        return None
    window_s = source.window_s or (_ONCE_S if route.handover.arguments else None)
    # Without a mark each is new, and known only while its push may be repeated.
    mark = None if window_s is None else _mark(source, event)
    mark, last = _once(source, event, mark) if route.handover.arguments else (mark, None)
    own = source.own_s is not None and None not in (event.sender, event.receiver, event.body)
    return IncomingEvent(
        queue=route.queue,
        payload=_payload(route, members, jid, moment_s, command_job),
        record=rubyjson.dumps({**_note_of(event, fields), "queue": route.queue, "jid": jid}),
        jid=jid,
        mark=mark or jid,
        window_ms=_ms(window_s if event.window_s is None else event.window_s),
        read_ms=_ms(event.received_at_s),
        sent_mark=mark_of_sent(event.sender or "", event.receiver or "", event.body or "") if own else None,
        sent_ms=_ms(source.own_s),
        test_mark=test,
        pair=None if event.pair is None or window_s is None else _pair(source, route, *event.pair),
        last=last,
    )


def _ms(duration_s: float | None) -> int:
    return 0 if duration_s is None else max(1, round(duration_s * 1000))


def _payload(route: Route, members: dict[str, Json], jid: str, now_s: float, command_job: CommandJob | None) -> bytes:
    if route.handover.target and command_job is not None:
        return command_job(route.handover, members, jid, now_s)
    fields: dict[str, Json] = {
        "class": route.job_class,
        "args": [members],
        "jid": jid,
        "queue": route.queue,
        "retry": True,
        "created_at": now_s,
        "enqueued_at": now_s,
    }
    return rubyjson.dumps(fields)


def _apply_shape(members: dict[str, Json], shape: Shape) -> dict[str, Json]:
    if not (shape.fields or shape.names or shape.omit):
        return members
    kept = {shape.names.get(name, name): value for name, value in members.items() if name not in shape.omit}
    return {**kept, **shape.fields}


def _note_of(event: ServerEvent, fields: Mapping[str, Json]) -> dict[str, Json]:
    hidden = {"raw", "body", *event.more}
    return {
        name: value[:_LONGEST_NOTE] if isinstance(value, str) else value
        for name, value in fields.items()
        if name not in hidden
    }


def _mark(source: EventSource, event: ServerEvent) -> str | None:
    """Return what names an event that comes again; None: it cannot be distinguished from a new one.

    Where a kind's events have no ids, those of the same content are one. Not so a presence: a user who goes and comes
    back sends the same twice, and means it.
    """
    what: list[Json] = [event.source, event.type, event.sender, event.receiver]
    if event.digest is not None and (source.has_ids or event.type != "presence"):
        if not event.digest:
            return None
        what[2:] = [event.digest]
    elif event.id is not None:
        what.append(event.id)
    elif source.has_ids or event.type == "presence":
        return None
    else:
        what += [event.body, *_delivery_path(event.raw)]
    return _hash(what)


def _once(source: EventSource, event: ServerEvent, mark: str | None) -> tuple[str | None, tuple[str, str] | None]:
    """Return the mark of an event that becomes a message to people, and what names the last one where it was posted.

    The sender's id names it, together with the address. Without an id it only repeats the last one: who goes down, up
    and down again within a minute says the same twice, and means it.
    """
    if event.id is not None:
        return _hash([mark, *event.place]), None
    return None, (_hash([source.name, event.place[0]]), event.digest or "")


def _pair(source: EventSource, route: Route, pair: str, copy: str) -> tuple[str, str]:
    """Return what names the two copies of a message, and which this is; those that routes part are none of one pair."""
    what: list[Json] = [source.name, route.queue, route.job_class, route.handover.target, route.handover.command, pair]
    return _hash(what), copy


def _hash(what: list[Json]) -> str:
    return hashlib.sha1(rubyjson.dumps(what), usedforsecurity=False).hexdigest()


def _delivery_path(raw: Json) -> list[str]:
    """Return by which way a broker's message came: one that was sent and one that was received are two events."""
    if not isinstance(raw, Mapping):
        return []
    exchange, key = raw.get("exchange"), raw.get("routing_key")
    return [exchange, key.rpartition(".")[2]] if isinstance(exchange, str) and isinstance(key, str) else []


@define(eq=False)
class Receiver:
    """The sources of a process, and the `deliverer`, which ends after them.

    `servers`: one for each address that servers post to. `readers` includes the `StatesInRedis`, which reports their
    states.
    """

    deliverer: Deliverer
    servers: Sequence[Server]
    readers: Sequence[EventReader] = ()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive events until cancelled; then push those that came by then."""
        async with trio.open_nursery() as nursery:
            pushing = trio.CancelScope(shield=True)
            nursery.start_soon(self._push, pushing)
            try:
                async with trio.open_nursery() as sources:
                    for server in self.servers:
                        await sources.start(server.run)
                    for reader in self.readers:
                        await sources.start(reader.run)
                    task_status.started()
            finally:
                pushing.cancel()

    async def _push(self, scope: trio.CancelScope) -> None:
        with scope:
            await self.deliverer.run()
        await self.deliverer.connection.aclose()
