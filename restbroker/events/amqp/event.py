"""Makes an event of a message that MongooseIM published, and a dead job of one that is no event. Called by `reader`.

Always holds: pure; any message becomes an event or raises `MalformedEvent`. A dead job holds the message byte for byte,
as text or in base64, or, if it is longer than 1 MiB, its beginning; users who may not see message texts do not see it
(`raw`, see `job.redact`). MongooseIM publishes JSON without any AMQP
properties, so there is no id and no time in it:

| exchange | routing key | JSON |
|---|---|---|
| presence | bare JID | `{"user_id": full JID, "present": true or false}` |
| chat_msg | sender's, `.chat_msg_sent`; recipient's, `.chat_msg_recv` | `from_user_id`, `to_user_id`, `message` |
| groupchat_msg | sender's, `.groupchat_msg_sent`; an occupant's or the room's, `.groupchat_msg_recv` | the same |
"""

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, assert_never

from restbroker.config.events import EventSource
from restbroker.events.amqp.options import ExchangeContent
from restbroker.job import rubyjson
from restbroker.job.event import PRESENCE, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.job.repair import fractional
from restbroker.light import light
from restbroker.servers.event_contract import MalformedEvent

LIMIT_BYTES: Final = 1024 * 1024
"""The largest body that is read, more than any stanza that MongooseIM takes (64 KiB unless configured otherwise)."""
ERROR_CLASS: Final = "MalformedEvent"


@light
class Message:
    """A message from RabbitMQ. `tag`: its number on the channel. `redelivered`: it came before, perhaps to others."""

    tag: int
    exchange: str
    key: str
    body: bytes
    redelivered: bool


def read(message: Message, carries: Mapping[str, ExchangeContent], source: str, now_s: float) -> ServerEvent:
    """Return the message as an event of this source; raise `MalformedEvent` if it is not one.

    `carries` is {exchange: what is published there}; `now_s` (epoch seconds) becomes the time of the event.
    """
    if len(message.body) > LIMIT_BYTES:
        raise MalformedEvent(f"it has more than {LIMIT_BYTES} bytes")
    try:
        payload = rubyjson.loads(message.body)
    except rubyjson.Unreadable as error:
        # Its text quotes nothing but single characters and numbers.
        raise MalformedEvent(f"it is not JSON that Ruby can read ({error})") from None
    if not isinstance(payload, dict):
        raise MalformedEvent("it is not a JSON object")
    _require_depth(payload)
    what = carries.get(message.exchange) or _guess(message, payload)
    raw: dict[str, Json] = {"exchange": message.exchange, "routing_key": message.key, "payload": payload}
    make = partial(ServerEvent, id=None, source=source, received_at_s=now_s, raw=raw)
    match what:
        case "presence":
            return _presence(payload, make)
        case "chat" | "groupchat":
            return _message(payload, message.key, make, is_room=what == "groupchat")
        case _:
            assert_never(what)


def _require_depth(payload: Mapping[str, Json]) -> None:
    """Raise `MalformedEvent` if the payload is nested too deep.

    MongooseIM's own payloads are flat; a job nests what it holds deeper than it came, and Ruby reads only so deep.
    """
    if any(isinstance(value, dict | list) for value in payload.values()):
        try:
            rubyjson.dumps({"args": [{"raw": {"payload": payload}}]})
        except ValueError:
            raise MalformedEvent("it is nested too deeply") from None


def _guess(message: Message, payload: Mapping[str, Json]) -> ExchangeContent:
    """Return what a message of an exchange not configured carries, as others may bind the queue to more exchanges."""
    if "user_id" in payload:
        return "presence"
    return "groupchat" if _suffix(message.key).startswith("groupchat") else "chat"


def _presence(payload: Mapping[str, Json], make: Callable[..., ServerEvent]) -> ServerEvent:
    user = _text(payload, "user_id")
    is_present = payload.get("present")
    if not isinstance(is_present, bool):
        raise MalformedEvent("its present is neither true nor false")
    is_there = PRESENCE[is_present]
    return make(
        type="presence", sender=user, receiver=None, body=None, room=None, server=domain(user), presence=is_there
    )


def _message(payload: Mapping[str, Json], key: str, make: Callable[..., ServerEvent], *, is_room: bool) -> ServerEvent:
    sender, receiver = _text(payload, "from_user_id"), _text(payload, "to_user_id")
    room = None
    if is_room:
        # To the room itself, from its user; or from the room with the occupant's nickname, to the user.
        room = receiver if "/" not in receiver else bare(sender)
    kind, body, server = "groupchat" if is_room else "message", _text(payload, "message"), _host(key, sender, receiver)
    return make(type=kind, sender=sender, receiver=receiver, body=body, room=room, server=server)


def _host(key: str, sender: str, receiver: str) -> str | None:
    """Return the domain of the user on whose side the message was seen, sent or received, or None.

    The routing key begins with the bare JID of this user.
    """
    whose = key.rpartition(".")[0].lower()
    return next((domain(jid) for jid in (sender, receiver) if bare(jid).lower() == whose), None)


def _suffix(key: str) -> str:
    return key.rpartition(".")[2]


def _text(payload: Mapping[str, Json], member: str) -> str:
    value = payload.get(member)
    if not isinstance(value, str):
        raise MalformedEvent(f"its {member} is {'missing' if value is None else 'no text'}")
    return value


def dead_job(message: Message, source: EventSource, jid: str, why: str, now_s: float) -> bytes:
    """Return a job of the source's class and queue, encoded, whose one argument has the members of an event.

    Class and queue are those of the first route, if the source has only routes. `why` becomes its error message.
    """
    moment_s = fractional(now_s)
    queue, job_class = source.queue, source.job_class
    if not (queue and job_class):
        queue, job_class = source.routes[0].queue, source.routes[0].job_class
    raw: dict[str, Json] = {"exchange": message.exchange, "routing_key": message.key, **_body(message.body)}
    members: tuple[str, ...] = ("type", "from", "to", "id", "body", "room", "presence", "server")
    event: dict[str, Json] = dict.fromkeys(members)
    fields: dict[str, Json] = {
        "class": job_class,
        "args": [{**event, "source": source.name, "received_at": moment_s, "raw": raw}],
        "jid": jid,
        "queue": queue,
        "retry": True,
        "created_at": moment_s,
        "error_message": f"RabbitMQ delivered something that is not an event: {why}.",
        "error_class": ERROR_CLASS,
        "failed_at": moment_s,
        "retry_count": 0,
    }
    return rubyjson.dumps(fields)


def _body(body: bytes) -> dict[str, Json]:
    cut = body[:LIMIT_BYTES]
    size: dict[str, Json] = {} if len(cut) == len(body) else {"size": len(body)}
    try:
        return {"text": cut.decode(), **size}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(cut).decode(), **size}
