"""Makes an event's entry for Redis: the job, the mark that identifies a duplicate, and the record for display.

Called by `deliver`. Always holds: pure; a job is what a Ruby client would push, so that any Sidekiq process takes it;
the record holds no text of a message.
"""

import hashlib
from collections.abc import Mapping

from restbroker.config.events import EventSource, Route, Shape
from restbroker.job import rubyjson
from restbroker.job.event import ServerEvent, as_json, mark_of_sent, mark_of_test
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional
from restbroker.store.events import IncomingEvent


def route_of(source: EventSource, event: ServerEvent) -> Route | None:
    """Return where the event goes, or None if the source's `Only`, `Except` and `Routes` drop it."""
    if not source.only.fits(event) or source.excluded.touches(event):
        return None
    if not source.routes:
        return Route(source.queue, source.job_class, shape=source.shape)
    fits = (route for route in source.routes if route.only.fits(event) and not route.excluded.touches(event))
    return next(fits, None)


def incoming_event(source: EventSource, event: ServerEvent, jid: str) -> IncomingEvent | None:
    """Return the entry to push for this event, or None if the source's filters drop it and it belongs to no test.

    Raise `ValueError` for what no JSON can hold.
    """
    route, test = route_of(source, event), mark_of_test(event.body)
    if route is None:
        if test is None:
            return None
        route = Route()
    # Without a window each is new, and known only while its push may be repeated.
    mark = None if source.window_s is None else _mark(source, event)
    own = source.own_s is not None and None not in (event.sender, event.receiver, event.body)
    return IncomingEvent(
        queue=route.queue,
        payload=_payload(route, event, jid),
        record=rubyjson.dumps(_note_of(route, event, jid)),
        jid=jid,
        mark=mark or jid,
        window_ms=_ms(source.window_s),
        sent_mark=mark_of_sent(event.sender or "", event.receiver or "", event.body or "") if own else None,
        sent_ms=_ms(source.own_s),
        test_mark=test,
    )


def _ms(duration_s: float | None) -> int:
    return 0 if duration_s is None else max(1, round(duration_s * 1000))


def _payload(route: Route, event: ServerEvent, jid: str) -> bytes:
    moment_s = fractional(event.received_at_s)
    fields: dict[str, Json] = {
        "class": route.job_class,
        "args": [_apply_shape({**as_json(event), "received_at": moment_s}, route.shape)],
        "jid": jid,
        "queue": route.queue,
        "retry": True,
        "created_at": moment_s,
        "enqueued_at": moment_s,
    }
    return rubyjson.dumps(fields)


def _apply_shape(members: dict[str, Json], shape: Shape) -> dict[str, Json]:
    if not (shape.fields or shape.names or shape.omit):
        return members
    kept = {shape.names.get(name, name): value for name, value in members.items() if name not in shape.omit}
    return {**kept, **shape.fields}


def _note_of(route: Route, event: ServerEvent, jid: str) -> dict[str, Json]:
    fields = as_json(event)
    del fields["raw"], fields["body"]
    return {**fields, "queue": route.queue, "jid": jid}


def _mark(source: EventSource, event: ServerEvent) -> str | None:
    """Return what names an event that comes again; None: it cannot be distinguished from a new one.

    Where a kind's events have no ids, those of the same content are one. Not so a presence: a user who goes and comes
    back sends the same twice, and means it.
    """
    what: list[Json] = [event.source, event.type, event.sender, event.receiver]
    if event.id is not None:
        what.append(event.id)
    elif source.has_ids or event.type == "presence":
        return None
    else:
        what += [event.body, *_delivery_path(event.raw)]
    return hashlib.sha1(rubyjson.dumps(what), usedforsecurity=False).hexdigest()


def _delivery_path(raw: Json) -> list[str]:
    """Return by which way a broker's message came: one that was sent and one that was received are two events."""
    if not isinstance(raw, Mapping):
        return []
    exchange, key = raw.get("exchange"), raw.get("routing_key")
    return [exchange, key.rpartition(".")[2]] if isinstance(exchange, str) and isinstance(key, str) else []
