"""What MongooseIM's event pusher posts over HTTP, as events. A `Hook`, for the registry.

Always holds: pure; of the receiver only what the server tells is said. MongooseIM 6.8 (measured) posts the chat
messages of its users, waits for the answer before it goes on with the message, and takes any status for a success: what
is not taken is lost, and the status is for whoever reads counters.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

from restbroker.config.events import EventSource
from restbroker.job.event import ServerEvent
from restbroker.job.json_types import Json
from restbroker.servers.event_contract import Answer, Hook, HookRequest, IncomingEvent, MalformedEvent
from restbroker.servers.mongooseim.webhook import form

_NEEDED: Final = ("author", "receiver", "message")
_TAKEN: Final = Answer(202)
_PROBED: Final = Answer(200, headers={"Allow": "OPTIONS, POST"})


@attrs.frozen
class PushHook:
    """The hook; see `contract.Hook`."""

    CONTENT_TYPE: str = "application/x-www-form-urlencoded"

    def read(self, posted: HookRequest, source: str, now_s: float) -> IncomingEvent:
        """The message as an event. Raises `MalformedEvent`."""
        fields = form.read(posted.body)
        for name in _NEEDED:
            if name not in fields:
                raise MalformedEvent(f"its form has no field {name}")
        server = fields.get("server") or None
        raw: Mapping[str, Json] = {**fields}
        event = ServerEvent(
            type="message",
            sender=_address(fields["author"], server),
            # Its domain is not told, and need not be the sender's.
            receiver=fields["receiver"] or None,
            id=None,
            body=fields["message"],
            room=None,
            server=server,
            source=source,
            received_at_s=now_s,
            raw=raw,
        )
        return IncomingEvent(event)

    def answer_probe(self) -> Answer:
        """Somebody is there."""
        return _PROBED

    def answer_taken(self, told: IncomingEvent) -> Answer:  # noqa: ARG002  all are confirmed in the same way
        """MongooseIM goes on."""
        return _TAKEN

    def answer_refused(self, told: IncomingEvent) -> Answer:  # noqa: ARG002  none of these events asks
        """Never called: nothing here asks."""
        return _TAKEN

    def not_now(self, told: IncomingEvent, retry_after_s: int) -> Answer:  # noqa: ARG002  as above
        """MongooseIM does not look at it."""
        return Answer(503, headers={"Retry-After": str(retry_after_s)})

    def problem(self, status: HTTPStatus, detail: str) -> Answer | None:  # noqa: ARG002  as above
        """As for everybody."""
        return None


def open_hook(source: EventSource) -> Hook:  # noqa: ARG001  all sources of this kind are alike
    """What reads and answers messages."""
    return PushHook()


def _address(author: str, server: str | None) -> str | None:
    if not author:
        return server
    return author if server is None or "@" in author else f"{author}@{server}"
