"""Reads and answers what MongooseIM's backend `sns` of mod_event_pusher publishes. A `SignedHook`.

Always holds: nothing of a request counts before its signature is known to be right; erlcloud, which MongooseIM
publishes with, can read every answer. Measured with MongooseIM 6.8: it posts to / over TLS, and if no answer comes, or
one that is no success, it publishes again: `publish_retry_count` times, each after twice the time of the last. It signs
each time again, with a time in seconds: two messages may have the same signature.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Final, NoReturn
from uuid import uuid4

import attrs

from restbroker.config.events import EventSource
from restbroker.config.values import duration_text
from restbroker.servers.event_contract import Answer, Forbidden, HookRequest, IncomingEvent, MalformedEvent
from restbroker.servers.mongooseim.sns import answers, form
from restbroker.servers.mongooseim.sns.options import Options, options_of
from restbroker.servers.mongooseim.sns.sigv4 import ExpectedSignature, Request, SignatureError, check_head, verify

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


@attrs.frozen
class SnsHook:
    """The hook of one source of kind `mongooseim-sns`, as `event_contract.SignedHook` describes it."""

    CONTENT_TYPE: ClassVar[str] = form.CONTENT_TYPE

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

    def read(self, posted: HookRequest, source: str, now_s: float) -> IncomingEvent:
        """Return the event, with its topic's queue and class, if it has its own. Raise `MalformedEvent` or `Forbidden`.

        `Forbidden` means that the signature is wrong or the key cannot be read.
        """
        request = Request(posted.method, _PATH, posted.query, headers=posted.headers.items(), body=posted.body)
        if not all(posted.secrets) or len(posted.secrets) != 1:
            _forbid(SignatureError("InvalidClientTokenId", "the key cannot be read here"))
        try:
            verify(request, posted.secrets[0], self._expected_signature, now_s)
        except SignatureError as error:
            _forbid(error)
        published = form.read(posted.body)
        topic = self.options.topics.get(published.topic)
        if topic is None or topic.type is None:
            raise MalformedEvent(f"its topic is not one of {', '.join(sorted(self.options.topics))} (Topics)")
        event = form.event(published, topic.type, source, now_s)
        if topic.queue is None and topic.job_class is None:
            return IncomingEvent(event)
        queue, job_class = topic.queue or self.source.queue, topic.job_class or self.source.job_class
        # The source's filters and what its jobs look like still count; its Routes do not.
        return IncomingEvent(event, source=attrs.evolve(self.source, queue=queue, job_class=job_class, routes=()))

    def answer_probe(self) -> Answer:
        """Answer an OPTIONS request with 200 and the allowed methods."""
        return Answer(HTTPStatus.OK, headers={"Allow": "OPTIONS, POST"})

    def answer_accepted(self, event: IncomingEvent) -> Answer:  # noqa: ARG002  each is confirmed in the same way
        """Answer an accepted event as Amazon answers a publication."""
        return answers.publish_answer(_new_name())

    def answer_refused(self, event: IncomingEvent) -> Answer:
        """Answer as `answer_accepted` does: no event that MongooseIM publishes asks for an answer."""
        return self.answer_accepted(event)

    def answer_not_now(self, event: IncomingEvent, retry_after_s: int) -> Answer:  # noqa: ARG002  see above
        """Answer an event that cannot be accepted now with 503; MongooseIM publishes it again, in its own time."""
        return self.problem(
            HTTPStatus.SERVICE_UNAVAILABLE, f"It could not be accepted. Try again in {duration_text(retry_after_s)}."
        )

    def problem(self, status: HTTPStatus, detail: str) -> Answer:
        """Answer a request that is no event with this status and detail, in Amazon's XML."""
        return answers.error(status, _CODES.get(status, "InvalidParameter"), detail, _new_name())


def open_hook(source: EventSource) -> SnsHook:
    """Return the hook of this source."""
    return SnsHook(source, options_of(source))


def _forbid(error: SignatureError) -> NoReturn:
    status = HTTPStatus.BAD_REQUEST if error.fault == "IncompleteSignature" else HTTPStatus.FORBIDDEN
    why = f"{error.why} ({error.fault})."
    raise Forbidden(why, answers.error(status, error.fault, why, _new_name())) from None


def _new_name() -> str:
    return str(uuid4())
