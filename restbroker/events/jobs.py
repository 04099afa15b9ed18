"""Makes of an event what Redis is given: the job, the mark of a duplicate, and what is noted of it.

Called by `deliver`. Always holds: pure; a job is what a Ruby client would push, so that any Sidekiq process takes it;
what is noted holds no text of a message.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from restbroker.config.events import EventSource, Route, Shape
from restbroker.rules import rubyjson
from restbroker.rules.event import ServerEvent, as_json
from restbroker.rules.json_types import Json
from restbroker.rules.repair import fractional
from restbroker.store.events import Arrival

_AGAIN_S: Final = 10.0
"""For so long a job is known that is pushed again, since the answer to the first time was lost."""


def route_of(source: EventSource, event: ServerEvent) -> Route | None:
    """Where the event goes; None: nobody wants it."""
    if not source.only.fits(event) or source.excluded.touches(event):
        return None
    if not source.routes:
        return Route(source.queue, source.job_class, shape=source.shape)
    fits = (route for route in source.routes if route.only.fits(event) and not route.excluded.touches(event))
    return next(fits, None)


def arrival(source: EventSource, route: Route, event: ServerEvent, jid: str) -> Arrival:
    """What to push. Raises `ValueError` for what no JSON can hold."""
    mark, window_s = _mark(source, event), source.window_s
    if mark is None or window_s is None:
        mark, window_s = jid, _AGAIN_S
    return Arrival(
        queue=route.queue,
        payload=_payload(route, event, jid),
        noted=rubyjson.dumps(_noted(route, event, jid)),
        mark=mark,
        window_ms=max(1, round(window_s * 1000)),
    )


def _payload(route: Route, event: ServerEvent, jid: str) -> bytes:
    moment_s = fractional(event.received_at_s)
    fields: dict[str, Json] = {
        "class": route.job_class,
        "args": [_shaped({**as_json(event), "received_at": moment_s}, route.shape)],
        "jid": jid,
        "queue": route.queue,
        "retry": True,
        "created_at": moment_s,
        "enqueued_at": moment_s,
    }
    return rubyjson.dumps(fields)


def _shaped(members: dict[str, Json], shape: Shape) -> dict[str, Json]:
    if not (shape.fields or shape.names or shape.omit):
        return members
    kept = {shape.names.get(name, name): value for name, value in members.items() if name not in shape.omit}
    return {**kept, **shape.fields}


def _noted(route: Route, event: ServerEvent, jid: str) -> dict[str, Json]:
    fields = as_json(event)
    del fields["raw"], fields["body"]
    return {**fields, "queue": route.queue, "jid": jid}


def _mark(source: EventSource, event: ServerEvent) -> str | None:
    """What names an event that comes again; None: nobody can tell it from a new one.

    Where a kind's events have no ids, those of the same content are one. Not so a presence: who goes and comes says the
    same twice, and means it.
    """
    what = [event.source, event.type, event.sender, event.receiver]
    if event.id is not None:
        what.append(event.id)
    elif source.has_ids or event.type == "presence":
        return None
    else:
        what += [event.body, *_way(event.raw)]
    return hashlib.sha1(json.dumps(what).encode(), usedforsecurity=False).hexdigest()


def _way(raw: Json) -> list[str]:
    """By which way a broker's message came: what was sent and what was received are two events."""
    if not isinstance(raw, Mapping):
        return []
    exchange, key = raw.get("exchange"), raw.get("routing_key")
    return [exchange, key.rpartition(".")[2]] if isinstance(exchange, str) and isinstance(key, str) else []
