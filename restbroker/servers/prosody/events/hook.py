"""Reads and answers the stanzas that mod_rest posts, as JSON or XML. `events.registry` opens it for a source.

Always holds: pure. mod_rest makes an iq of an answer's JSON, with the address of the query (measured on 0.12.3), also
where it posted XML: an answer is read by its own type (read in its source, and tried on 0.12.3).
"""

from http import HTTPStatus

import attrs
import orjson

from restbroker.config.events import EventSource
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import Answer, Hook, HookRequest, IncomingEvent, MalformedEvent
from restbroker.servers.prosody import xml_stanza
from restbroker.servers.prosody.events import stanzas
from restbroker.servers.prosody.events.options import Options

_FEATURES: Json = ["http://jabber.org/protocol/disco#info", "jabber:iq:version", "urn:xmpp:ping"]


@attrs.frozen
class StanzaHook:
    """Reads and answers the stanzas of a source.

    With the option `name` it answers iqs that ask for name or version; other iqs that need an answer get an error.
    """

    options: Options

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802  as `Hook` has it
        """The media type that the server is to post: JSON, or XML if the source asks for that."""
        return xml_stanza.CONTENT_TYPE if self.options.xml else stanzas.CONTENT_TYPE

    def read(self, posted: HookRequest, source: str, now_s: float) -> IncomingEvent:
        """Return the stanza as an event; raise `MalformedEvent` if it is none."""
        if not self.options.xml:
            return stanzas.event_of(stanzas.read_json(posted.body), source, now_s)
        try:
            return stanzas.event_of(xml_stanza.members_of(posted.body), source, now_s)
        except xml_stanza.UnreadableStanza as error:
            raise MalformedEvent(f"it {error}") from None

    def answer_probe(self) -> Answer:
        """Return the answer that chooses what the server posts: mod_rest asks once, when it is loaded."""
        return Answer(200, headers={"Accept": self.CONTENT_TYPE, "Allow": "OPTIONS, POST"})

    def answer_accepted(self, event: IncomingEvent) -> Answer:  # noqa: ARG002  every stanza is confirmed in the same way
        """Return the answer that the stanza is consumed."""
        return stanzas.TAKEN

    def answer_refused(self, event: IncomingEvent) -> Answer:
        """Return the answer to `ping`, `version` and `disco#info` without a node, if there is a name; else an error."""
        if not self.options.name:
            return stanzas.answer_refused(event)
        match event.event.raw:
            case {"type": "get", "ping": _}:
                return stanzas.TAKEN  # mod_rest makes an empty result of it
            case {"type": "get", "version": _}:
                return _result({"version": {"name": self.options.name, "version": self.options.version}})
            case {"type": "get", "disco": True | {}}:
                identity: Json = {"category": "client", "type": "bot", "name": self.options.name}
                return _result({"disco": {"identities": [identity], "features": _FEATURES}})
            case _:
                return stanzas.answer_refused(event)

    def answer_not_now(self, event: IncomingEvent, retry_after_s: int) -> Answer:
        """Return the answer that has the sender get an error of the type wait."""
        return stanzas.not_now(event, retry_after_s)

    def problem(self, status: HTTPStatus, detail: str) -> Answer | None:  # noqa: ARG002  as `Hook` has it
        """Return None: so the answer has a type that mod_rest does not read as a stanza, and its status decides."""
        return None


def open_hook(source: EventSource) -> Hook:
    """Return the hook of this source."""
    return StanzaHook(source.options if isinstance(source.options, Options) else Options())


def _result(payload: dict[str, Json]) -> Answer:
    body: dict[str, Json] = {"kind": "iq", "type": "result", **payload}
    return Answer(200, orjson.dumps(body), stanzas.CONTENT_TYPE)
