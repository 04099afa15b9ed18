"""Writes the answers of Amazon SNS, as XML. Pure. `hook` calls it.

Always holds: each answer, of any status, is XML in ASCII: erlcloud, which MongooseIM publishes with, reads every body
as XML in Latin-1 (read in its source). MongooseIM sends an event again if its answer is no success, as often as its
`publish_retry_count` says (measured with 5xx).
"""

from http import HTTPStatus
from typing import Final
from xml.sax.saxutils import escape

from restbroker.servers.event_contract import Answer

_TYPE: Final = "text/xml"
_NAMESPACE: Final = "http://sns.amazonaws.com/doc/2010-03-31/"


def publish_answer(name: str) -> Answer:
    """Return the answer that the message is accepted.

    `name` becomes the id of message and request; erlcloud needs one.
    """
    result = f"<PublishResult><MessageId>{escape(name)}</MessageId></PublishResult>"
    return _answer(HTTPStatus.OK, "PublishResponse", f"{result}<ResponseMetadata>{_request(name)}</ResponseMetadata>")


def error(status: HTTPStatus, code: str, message: str, name: str) -> Answer:
    """Return the answer that a request is not accepted.

    `code` is Amazon's word for the reason, `message` the reason for people, `name` the id of the request.
    """
    whose = "Receiver" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "Sender"
    told = f"<Type>{whose}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return _answer(status, "ErrorResponse", f"<Error>{told}</Error>{_request(name)}")


def _request(name: str) -> str:
    return f"<RequestId>{escape(name)}</RequestId>"


def _answer(status: HTTPStatus, element: str, inside: str) -> Answer:
    document = f'<{element} xmlns="{_NAMESPACE}">{inside}</{element}>\n'
    return Answer(status.value, document.encode("ascii", "xmlcharrefreplace"), _TYPE)
