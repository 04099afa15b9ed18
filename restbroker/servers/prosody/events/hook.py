"""The way to this kind, for the registry, and the answers that its configuration gives to questions.

Always holds: pure. mod_rest makes an iq of an answer's JSON, with the address of the question (measured on 0.12.3).
"""

from http import HTTPStatus

import attrs
import orjson

from restbroker.config.events import EventSource
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import Answer, Hook, HookRequest, IncomingEvent
from restbroker.servers.prosody.events import stanzas
from restbroker.servers.prosody.events.options import Options

_FEATURES: Json = ["http://jabber.org/protocol/disco#info", "jabber:iq:version", "urn:xmpp:ping"]


@attrs.frozen
class NamedSource:
    """Stanzas of a source with a name: who asks for it is told, and all else is as without."""

    options: Options
    CONTENT_TYPE: str = stanzas.CONTENT_TYPE

    def read(self, posted: HookRequest, source: str, now_s: float) -> IncomingEvent:
        """The stanza as an event. Raises `Malformed`."""
        return stanzas.read(posted, source, now_s)

    def answer_probe(self) -> Answer:
        """The server is to post JSON."""
        return stanzas.answer_probe()

    def answer_taken(self, told: IncomingEvent) -> Answer:
        """The stanza is consumed."""
        return stanzas.answer_taken(told)

    def answer_refused(self, told: IncomingEvent) -> Answer:
        """The answer to `ping`, `version` and `disco#info` without a node; an error to what else is asked."""
        match told.event.raw:
            case {"type": "get", "ping": _}:
                return stanzas.answer_taken(told)  # mod_rest makes an empty result of it
            case {"type": "get", "version": _}:
                return _result({"version": {"name": self.options.name, "version": self.options.version}})
            case {"type": "get", "disco": True | {}}:
                identity: Json = {"category": "client", "type": "bot", "name": self.options.name}
                return _result({"disco": {"identities": [identity], "features": _FEATURES}})
            case _:
                return stanzas.answer_refused(told)

    def not_now(self, told: IncomingEvent, retry_after_s: int) -> Answer:
        """The sender gets an error of the type wait."""
        return stanzas.not_now(told, retry_after_s)

    def problem(self, status: HTTPStatus, detail: str) -> Answer | None:
        """By the status alone."""
        return stanzas.problem(status, detail)


def open_hook(source: EventSource) -> Hook:
    """What reads and answers stanzas."""
    options = source.options
    return NamedSource(options) if isinstance(options, Options) and options.name else stanzas


def _result(payload: dict[str, Json]) -> Answer:
    body: dict[str, Json] = {"kind": "iq", "type": "result", **payload}
    return Answer(200, orjson.dumps(body), stanzas.CONTENT_TYPE)
