"""Reads and answers the stanzas that mod_rest posts (`rest_callback_url`), as JSON or XML, for a source of events.

`events.registry` opens it. Always holds: pure; an answer that is no success has a type that mod_rest does not read as a
stanza, or is one. mod_rest makes an iq of an answer's JSON, with the address of the query (measured on 0.12.3), also
where it posted XML: an answer is read by its own type (read in its source, and tried on 0.12.3). What else is said of
it was read in its source (Debian 13's prosody-modules, of April 2025, and a copy of January 2024), and of messages and
iqs measured with the former under Prosody 0.12.3 (tests/servers/nightly/test_prosody.py):

- 202 and 204 mean that the stanza is consumed. To an iq that asks, mod_rest then sends an empty result by itself, which
  tells its sender that all went well; so one that is not answered is refused with an error in a 200.
- Any other status: the body is read as a stanza if its type is one that mod_rest knows, text/plain included, which it
  would send to the user as a message; if not, the status decides (503: service-unavailable, of type cancel). JSON with
  a member `error` and without `type` becomes an error to the sender of a message or presence. With `"type": "error"` it
  would not, since Prosody replies to no error.
- OPTIONS is sent once, when the module is loaded; `Accept` in the answer to it chooses what is posted.
- Nothing is posted twice: the sender is told, and may try again.
"""

from collections.abc import Mapping
from typing import Final, Literal

import orjson

from restbroker.config.events import EventSource
from restbroker.config.key import key
from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json, as_text
from restbroker.light import frozen
from restbroker.servers.api.xml import UnreadableXml
from restbroker.servers.event_contract import Hook, HookRequest, MalformedEvent, PostAnswer, PostAnswers, PostedEvent
from restbroker.servers.event_json import object_of
from restbroker.servers.prosody import xml_stanza

CONTENT_TYPE: Final = "application/json"
TAKEN: Final = PostAnswer(202)
_FEATURES: Json = ["http://jabber.org/protocol/disco#info", "jabber:iq:version", "urn:xmpp:ping"]


@frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration."""

    name: str = key("Name", default="")
    """The host's name, e.g. a bot's: restbroker then answers ping, version and disco#info, unless IQ is accept."""
    xml: bool = key("XML", default=False)
    """The server may post stanzas as XML: events have the whole stanza in raw.xml."""
    version: str = key("Version", default="")
    """Its version, as the answer to version."""
    room: Literal["from", "to"] = key("Room", default="from")
    """Whose address is the room's in a groupchat: to, for ejabberd's mod_post_log."""


@frozen
class StanzaHook:
    """Reads and answers the stanzas of a source.

    With the option `name` it answers iqs that ask for name or version; other iqs that need an answer get an error.
    """

    options: Options

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802  as `Hook` has it
        """The media type that the server is to post: JSON, or XML if the source asks for that."""
        return xml_stanza.CONTENT_TYPE if self.options.xml else CONTENT_TYPE

    def read(self, posted: HookRequest, source: str, now_s: float) -> PostedEvent:
        """Return the stanza as an event; raise `MalformedEvent` if it is none."""
        room_in = self.options.room
        if not self.options.xml:
            return event_of(object_of(posted.body), source, now_s, room_in)
        try:
            return event_of(xml_stanza.members_of(posted.body), source, now_s, room_in)
        except UnreadableXml as error:
            raise MalformedEvent(f"it {error}") from None

    @property
    def answers(self) -> PostAnswers:
        """The answers to stanzas; the one to OPTIONS chooses what the server posts."""
        probe = PostAnswer(200, headers={"Accept": self.CONTENT_TYPE})
        return PostAnswers(probe, refused=self._refuse, not_now=_not_now)

    def _refuse(self, event: PostedEvent) -> PostAnswer:
        """Return the answer to `ping`, `version` and `disco#info` without a node, if there is a name; else an error."""
        if not self.options.name:
            return _refused(event)
        match event.event.raw:
            case {"type": "get", "ping": _}:
                return TAKEN  # mod_rest makes an empty result of it
            case {"type": "get", "version": _}:
                return _result({"version": {"name": self.options.name, "version": self.options.version}})
            case {"type": "get", "disco": True | {}}:
                identity: Json = {"category": "client", "type": "bot", "name": self.options.name}
                return _result({"disco": {"identities": [identity], "features": _FEATURES}})
            case _:
                return _refused(event)


def open_hook(source: EventSource) -> Hook:
    """Return the hook of this source."""
    return StanzaHook(source.options if isinstance(source.options, Options) else Options())


def _result(payload: dict[str, Json]) -> PostAnswer:
    body: dict[str, Json] = {"kind": "iq", "type": "result", **payload}
    return PostAnswer(200, orjson.dumps(body), CONTENT_TYPE)


def event_of(stanza: dict[str, Json], source: str, now_s: float, room_in: Literal["from", "to"]) -> PostedEvent:
    """Return the stanza of these members as an event; raise `MalformedEvent` if its kind is unknown.

    `room_in` is the attribute of a groupchat that has the address of the room.
    """
    kind = stanza.get("kind")
    if not isinstance(kind, str) or kind not in xml_stanza.KINDS:
        raise MalformedEvent(f"its kind is not one of {', '.join(xml_stanza.KINDS)}")
    sender, receiver, room = as_text(stanza.get("from")), as_text(stanza.get("to")), as_text(stanza.get(room_in))
    word = as_text(stanza.get("type"))
    event = ServerEvent(
        type=_type(kind, word),
        sender=sender,
        receiver=receiver,
        id=as_text(stanza.get("id")),
        body=as_text(stanza.get("body")),
        room=bare(room) if word == "groupchat" and room is not None else None,
        server=domain(receiver) if receiver is not None else None,
        source=source,
        received_at_s=now_s,
        raw=stanza,
        presence=word or PRESENCE[True] if kind == "presence" and word != "error" else None,
    )
    return PostedEvent(event, asks=kind == "iq" and word not in ("result", "error"))


def _refused(event: PostedEvent) -> PostAnswer:
    """Return the answer that has the sender of an iq get an error."""
    return _error(
        200, event, "cancel", condition="service-unavailable", text="This address does not answer such queries."
    )


def _not_now(event: PostedEvent, retry_after_s: int) -> PostAnswer:
    """Return the answer that sends the error (of type wait) that Prosody also sends if no one listens here.

    Its `Retry-After` is `retry_after_s` seconds.
    """
    answer = _error(
        503, event, "wait", condition="recipient-unavailable", text="This could not be accepted. Try again later."
    )
    return PostAnswer(answer.status, answer.body, answer.content_type, {"Retry-After": str(retry_after_s)})


def _error(status: int, event: PostedEvent, kind: str, condition: str, text: str) -> PostAnswer:
    stanza = event.event.raw
    name = stanza["kind"] if isinstance(stanza, Mapping) else "message"
    error = {"type": kind, "condition": condition, "text": text}
    return PostAnswer(status, orjson.dumps({"kind": name, "error": error}), CONTENT_TYPE)


def _type(kind: str, word: str | None) -> EventType:
    match kind, word:
        case _, "error":
            return "error"
        case "message", "groupchat":
            return "groupchat"
        case "message", _:
            return "message"
        case "presence", _:
            return "presence"
        case _:
            return "iq"
