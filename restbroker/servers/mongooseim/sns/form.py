"""Parses what MongooseIM publishes: a form with a topic and, as JSON, the event. Pure.

Called by `hook` once the signature is known to be right. Always holds: an event has the JIDs, text and topic that were
sent, and nothing is invented; the text of a refusal repeats nothing of what it refuses.

What is sent was measured with MongooseIM 6.8: `Action=Publish`, `Version`, `TopicArn`, `MessageStructure=json`,
`Message`, and `MessageAttributes.entry.N` if a `plugin_module` there adds some. JIDs are bare and have their host,
unless that module makes other names of them. A topic has one kind of event: nothing else tells a message from a room's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

import attrs

from restbroker.job import rubyjson
from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import MalformedEvent

CONTENT_TYPE: Final = "application/x-www-form-urlencoded"
_ARN: Final = re.compile(r"arn:[\w-]*:sns:[\w-]*:\w*:([\w-]{1,256}(?:\.fifo)?)", re.ASCII)
_ATTRIBUTE: Final = re.compile(r"MessageAttributes\.entry\.([0-9]{1,3})\.Name", re.ASCII)
_MOST_FIELDS: Final = 100


@attrs.frozen
class Notification:
    """One publication on a topic. `arn`: the topic's whole name, of which `topic` is the last part.

    `message`: the parsed JSON. `attributes`: what a `plugin_module` added, by name.
    """

    arn: str
    topic: str
    message: Mapping[str, Json] = attrs.field(repr=False)
    attributes: Mapping[str, Json] = attrs.field(repr=False)


def read(body: bytes) -> Notification:
    """Parse the form of a request's body. Raise `MalformedEvent` if it is not one that publishes on a topic."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        # Its text quotes what was sent.
        raise MalformedEvent("it is not a form, or not in UTF-8") from None
    fields = dict(pairs)
    if fields.get("Action") != "Publish":
        raise MalformedEvent("its Action is not Publish, the only supported action")
    arn = fields.get("TopicArn", "")
    named = _ARN.fullmatch(arn)
    if named is None:
        raise MalformedEvent("its TopicArn names no topic")
    return Notification(arn, named[1], _message(fields.get("Message", "")), dict(_attributes(fields)))


def event(published: Notification, kind: EventType, source: str, now_s: float) -> ServerEvent:
    """Return the published event as one of type `kind`. Raise `MalformedEvent` if it lacks what that type has.

    `source` is the source's name in the configuration, `now_s` the time of receipt in epoch seconds.
    """
    presence: str | None = None
    match kind, dict(published.message):
        case "presence", {"user_id": str(sender), "present": bool(is_present)}:
            receiver = text = None
            presence = PRESENCE[is_present]
        case (
            ("message" | "groupchat"),
            {"from_user_id": str(sender), "to_user_id": str(receiver), "message": str(text)},
        ):
            pass
        case _:
            raise MalformedEvent(f"it lacks what MongooseIM reports of a {kind}; check the Type of its topic")
    return ServerEvent(
        type=kind,
        sender=sender,
        receiver=receiver,
        id=None,
        body=text,
        room=bare(receiver) if kind == "groupchat" and receiver is not None else None,
        # It tells of what its own users sent.
        server=domain(sender) if "@" in sender else None,
        source=source,
        received_at_s=now_s,
        raw={
            "topic_arn": published.arn,
            "attributes": dict(published.attributes),
            "payload": dict(published.message),
        },
        presence=presence,
    )


def _message(text: str) -> Mapping[str, Json]:
    try:
        message = rubyjson.loads(text.encode())
    except rubyjson.Unreadable as error:
        # Its text quotes nothing but single characters and numbers.
        raise MalformedEvent(f"its Message is not JSON that Ruby can read ({error})") from None
    if not isinstance(message, dict):
        raise MalformedEvent("its Message is not a JSON object")
    return message


def _attributes(fields: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of what a `plugin_module` of MongooseIM adds; it writes everything as a text."""
    for field, name in fields.items():
        if found := _ATTRIBUTE.fullmatch(field):
            yield name, fields.get(f"MessageAttributes.entry.{found[1]}.Value.StringValue")
