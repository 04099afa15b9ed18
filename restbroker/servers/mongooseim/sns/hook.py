"""Reads and answers what MongooseIM's backend `sns` of mod_event_pusher publishes. A `SignedHook`.

Always holds: nothing of a request counts before its signature is known to be right; erlcloud, which MongooseIM
publishes with, can read every answer. Measured with MongooseIM 6.8: it posts to / over TLS, and if no answer comes, or
one that is no success, it publishes again: `publish_retry_count` times, each after twice the time of the last. It signs
each time again, with a time in seconds: two messages may have the same signature.

What is sent: `Action=Publish`, `Version`, `TopicArn`, `MessageStructure=json`, `Message`, and
`MessageAttributes.entry.N` if a `plugin_module` there adds some. JIDs are bare and have their host, unless that module
makes other names of them. A topic has one kind of event: nothing else tells a message from a room's. An event has the
JIDs, text and topic that were sent, and nothing is invented; the text of a refusal repeats nothing of what it refuses.
Each answer, of any status, is XML in ASCII: erlcloud reads every body as XML in Latin-1 (read in its source).
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import ClassVar, Final, NoReturn
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

import attrs

from restbroker.config.events import EventSource
from restbroker.config.values import duration_text
from restbroker.job.event import PRESENCE, EventType, ServerEvent, bare, domain
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.servers.event_contract import (
    Forbidden,
    HookRequest,
    MalformedEvent,
    PostAnswer,
    PostAnswers,
    PostedEvent,
)
from restbroker.servers.event_json import object_of
from restbroker.servers.mongooseim.sns.options import Options, options_of
from restbroker.servers.mongooseim.sns.sigv4 import ExpectedSignature, SignatureError, SignedRequest, check_head, verify

_SERVICE: Final = "sns"
_PATH: Final = b"/"
"""The signed path, even if a reverse proxy changed it; the source was known before."""
_CODES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "InvalidAction",
    HTTPStatus.REQUEST_TIMEOUT: "RequestTimeout",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalFailure",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
"""Amazon's words for our statuses; any other status is an `InvalidParameter`."""
_ARN: Final = re.compile(r"arn:[\w-]*:sns:[\w-]*:\w*:([\w-]{1,256}(?:\.fifo)?)", re.ASCII)
_ATTRIBUTE: Final = re.compile(r"MessageAttributes\.entry\.([0-9]{1,3})\.Name", re.ASCII)
_MOST_FIELDS: Final = 100
_TYPE: Final = "text/xml"
_NAMESPACE: Final = "http://sns.amazonaws.com/doc/2010-03-31/"


@frozen
class SnsHook:
    """The hook of one source of kind `mongooseim-sns`, as `event_contract.SignedHook` describes it."""

    CONTENT_TYPE: ClassVar[str] = "application/x-www-form-urlencoded"

    source: EventSource
    options: Options

    @property
    def _expected_signature(self) -> ExpectedSignature:
        return ExpectedSignature(self.options.access_key or "", _SERVICE, self.options.skew_s)

    def check_head(self, headers: Mapping[bytes, bytes], now_s: float) -> None:
        """Raise `Forbidden` if the headers show that the request cannot be signed with the source's key."""
        try:
            check_head(headers.items(), self._expected_signature, now_s)
        except SignatureError as error:
            _forbid(error)

    def read(self, posted: HookRequest, source: str, now_s: float) -> PostedEvent:
        """Return the event, with its topic's queue and class, if it has its own. Raise `MalformedEvent` or `Forbidden`.

        `Forbidden` means that the signature is wrong or the key cannot be read.
        """
        request = SignedRequest(posted.method, _PATH, posted.query, headers=posted.headers.items(), body=posted.body)
        if not all(posted.secrets) or len(posted.secrets) != 1:
            _forbid(SignatureError("InvalidClientTokenId", "the key cannot be read here"))
        try:
            verify(request, posted.secrets[0], self._expected_signature, now_s)
        except SignatureError as error:
            _forbid(error)
        published = read_notification(posted.body)
        topic = self.options.topics.get(published.topic)
        if topic is None or topic.type is None:
            raise MalformedEvent(f"its topic is not one of {', '.join(sorted(self.options.topics))} (Topics)")
        event = event_of(published, topic.type, source, now_s)
        if topic.queue is None and topic.job_class is None:
            return PostedEvent(event)
        queue, job_class = topic.queue or self.source.queue, topic.job_class or self.source.job_class
        # The source's filters and what its jobs look like still count; its Routes do not.
        return PostedEvent(event, source=attrs.evolve(self.source, queue=queue, job_class=job_class, routes=()))

    @property
    def answers(self) -> PostAnswers:
        """Answers in Amazon's XML. MongooseIM publishes what it is told to in its own time."""

        def problem(status: HTTPStatus, detail: str) -> PostAnswer:
            return error_answer(status, _CODES.get(status, "InvalidParameter"), detail, _new_name())

        def not_now(_event: PostedEvent, retry_after_s: int) -> PostAnswer:
            detail = f"It could not be accepted. Try again in {duration_text(retry_after_s)}."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)

        return PostAnswers(accepted=lambda: publish_answer(_new_name()), not_now=not_now, problem=problem)


def open_hook(source: EventSource) -> SnsHook:
    """Return the hook of this source."""
    return SnsHook(source, options_of(source))


def _forbid(error: SignatureError) -> NoReturn:
    status = HTTPStatus.BAD_REQUEST if error.fault == "IncompleteSignature" else HTTPStatus.FORBIDDEN
    why = f"{error.why} ({error.fault})."
    raise Forbidden(why, error_answer(status, error.fault, why, _new_name())) from None


def _new_name() -> str:
    return str(uuid4())


@frozen
class Notification:
    """One publication on a topic. `arn`: the topic's whole name, of which `topic` is the last part.

    `message`: the parsed JSON. `attributes`: what a `plugin_module` added, by name.
    """

    arn: str
    topic: str
    message: Mapping[str, Json] = attrs.field(repr=False)
    attributes: Mapping[str, Json] = attrs.field(repr=False)


def read_notification(body: bytes) -> Notification:
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
    message = object_of(fields.get("Message", "").encode(), "its Message")
    return Notification(arn, named[1], message, dict(_attributes(fields)))


def event_of(published: Notification, kind: EventType, source: str, now_s: float) -> ServerEvent:
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


def _attributes(fields: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of what a `plugin_module` of MongooseIM adds; it writes everything as a text."""
    for field, name in fields.items():
        if found := _ATTRIBUTE.fullmatch(field):
            yield name, fields.get(f"MessageAttributes.entry.{found[1]}.Value.StringValue")


def publish_answer(name: str) -> PostAnswer:
    """Return the answer that the message is accepted.

    `name` becomes the id of message and request; erlcloud needs one.
    """
    result = f"<PublishResult><MessageId>{escape(name)}</MessageId></PublishResult>"
    return _answer(HTTPStatus.OK, "PublishResponse", f"{result}<ResponseMetadata>{_request(name)}</ResponseMetadata>")


def error_answer(status: HTTPStatus, code: str, message: str, name: str) -> PostAnswer:
    """Return the answer that a request is not accepted.

    `code` is Amazon's word for the reason, `message` the reason for people, `name` the id of the request.
    """
    whose = "Receiver" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    told = f"<Type>{whose}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return _answer(status, "ErrorResponse", f"<Error>{told}</Error>{_request(name)}")


def _request(name: str) -> str:
    return f"<RequestId>{escape(name)}</RequestId>"


def _answer(status: HTTPStatus, element: str, inside: str) -> PostAnswer:
    document = f'<{element} xmlns="{_NAMESPACE}">{inside}</{element}>\n'
    return PostAnswer(status.value, document.encode("ascii", "xmlcharrefreplace"), _TYPE)
