"""Reads what MongooseIM's event pusher posts over HTTP, as events. A `Hook`, for the registry.

Always holds: pure; the event says no more of the receiver than the server does. MongooseIM 6.8 (measured) posts the
chat messages of its users, waits for the answer before it goes on with the message, and takes any status for a success:
a message that is not accepted is lost, and the status only serves counters.

Of the form was measured (its cowlib writes it): the fields are author, server, receiver, message, in this order; in a
value all bytes but letters, digits, `-`, `.` and `_` are escaped; a space is `%20` or `+`, and both may stand in one
value. Its documentation shows a form in which nothing is escaped, and old versions sent that. There the message, which
comes last, may hold anything: it is taken as it is if it has a character that forms never have. Any bytes give a form
or a `MalformedEvent`, in a time that grows with their number.
"""

import re
from typing import Annotated, ClassVar, Final
from urllib.parse import unquote_to_bytes

import attrs

from restbroker.config import forms
from restbroker.config.events import EventSource
from restbroker.config.key import duration, key
from restbroker.config.kind import At, SourceDefaults
from restbroker.config.problems import Problems
from restbroker.job.event import ServerEvent
from restbroker.light import frozen
from restbroker.servers.event_contract import USUAL_ANSWERS, Hook, HookRequest, MalformedEvent, PostAnswers, PostedEvent
from restbroker.servers.webhook.charset import UTF_8, decode

_NEEDED: Final = ("author", "receiver", "message")
_MOST_FIELDS: Final = 64
_MESSAGE: Final = re.compile(rb"(?:^|&)message=")
# What forms of MongooseIM, browsers and curl consist of; with & and = between and behind names.
_ENCODED: Final = re.compile(rb"[A-Za-z0-9._~*!'()%+-]*")
_ENCODED_FIELDS: Final = re.compile(rb"[A-Za-z0-9._~*!'()%+&=-]*")


@frozen(kw_only=True)
class Options:
    """The members of `Options` in the configuration. Durations are in seconds."""

    DEFAULTS: ClassVar[SourceDefaults] = SourceDefaults(has_ids=False)

    resend_s: Annotated[float, duration(none=True)] = key("Resend", default=1.0, shown="1s")
    """Within this time a repeated message (same sender and recipient) counts once: MongooseIM posts three times if
    unanswered. 0: never."""
    patience_s: forms.Duration = key("Patience", default=0.5, shown="500ms")
    """How long Redis may take before the answer is 503; senders in MongooseIM wait meanwhile."""

    def check(self, source: EventSource, at: At, problems: Problems) -> EventSource:
        """Return the source with its window and patience set from these options; refuse `IQ` in `problems`.

        The window is the longer of the source's own and `resend_s`.
        """
        if source.iq != "refuse":
            problems.refuse(at("IQ"), "has no effect: this kind only reports messages.")
        window_s = max(source.window_s or 0.0, self.resend_s)
        return attrs.evolve(source, window_s=window_s or None, patience_s=self.patience_s)


@frozen
class PushHook:
    """The hook of kind `mongooseim-webhook`, as `event_contract.Hook` describes it."""

    CONTENT_TYPE: str = "application/x-www-form-urlencoded"
    answers: PostAnswers = USUAL_ANSWERS

    def read(self, posted: HookRequest, source: str, now_s: float) -> PostedEvent:
        """Return the posted message as an event. Raise `MalformedEvent` if the form lacks a field.

        `source` is the source's name in the configuration, `now_s` the time of receipt in epoch seconds.
        """
        fields = read_form(posted.body)
        for name in _NEEDED:
            if name not in fields:
                raise MalformedEvent(f"its form has no field {name}")
        server = fields.get("server") or None
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
            raw={**fields},
        )
        return PostedEvent(event)


def open_hook(source: EventSource) -> Hook:  # noqa: ARG001  all sources of this kind are alike
    """Return the hook of this source."""
    return PushHook()


def _address(author: str, server: str | None) -> str | None:
    if not author:
        return server
    return author if server is None or "@" in author else f"{author}@{server}"


def read_form(body: bytes) -> dict[str, str]:
    """Return the form's fields by name; of a name that comes twice the first counts.

    Raise `MalformedEvent` if there are too many fields, or one is not UTF-8.
    """
    found = _MESSAGE.search(body)
    last: bytes | None = None
    if found is not None and _ENCODED_FIELDS.fullmatch(body, found.end()) is None:
        body, last = body[: found.start()], body[found.end() :]
    parts = body.split(b"&", _MOST_FIELDS) if body else []
    if len(parts) > _MOST_FIELDS:
        raise MalformedEvent(f"its form has more than {_MOST_FIELDS} fields")
    fields: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition(b"=")
        fields.setdefault(_text(name), _text(value))
    if last is not None:
        fields.setdefault("message", decode(last, UTF_8, "its form"))
    return fields


def _text(written: bytes) -> str:
    """Decode a name or value, unless it has a character that no form has: then it was never escaped."""
    if written.isalnum():  # as most are
        return written.decode("ascii")
    if (b"%" in written or b"+" in written) and _ENCODED.fullmatch(written) is not None:
        written = unquote_to_bytes(written.replace(b"+", b" "))
    return decode(written, UTF_8, "its form")
