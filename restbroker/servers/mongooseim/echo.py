"""Finds the message in a job that MongooseIM will report back: its pushers send it as an event (measured). Pure.

Called by the connector before it sends, where a source of events drops the broker's own messages. Always holds: no
argument makes it raise, and no XML with a document type is read, since one may expand.
"""

from collections.abc import Mapping
from xml.etree import ElementTree as ET

from restbroker.config.target import Basic, Target
from restbroker.job.json_types import Json
from restbroker.servers.api.texts import fits_xml
from restbroker.servers.mongooseim import command_attributes

Message = tuple[str, str, str]
"""The sender, the receiver and the body."""


def message_of(name: str, given: Mapping[str, Json], target: Target) -> Message | None:
    """Return the message that an operation sends; None if none comes back, or its parts are not all known.

    `name` is the operation's, `given` its arguments.
    """
    if name == command_attributes.STANZA:
        return _in_stanza(given.get("stanza"))
    if name not in command_attributes.MESSAGES:
        return None
    # A user's operations send in that user's name.
    sender = given.get("from") or _user(target)
    receiver, body = given.get(command_attributes.MESSAGES[name]), given.get("body")
    return _message(sender, receiver, body)


def _user(target: Target) -> str | None:
    return target.credentials.user if isinstance(target.credentials, Basic) else None


def _in_stanza(stanza: Json) -> Message | None:
    if not isinstance(stanza, str) or "<!DOCTYPE" in stanza or not fits_xml(stanza):
        return None
    try:
        root = ET.fromstring(stanza)  # noqa: S314 - no document type, so nothing to expand
    except ET.ParseError:
        return None
    body = next((part.text for part in root if part.tag.rpartition("}")[2] == "body"), None)
    return _message(root.get("from"), root.get("to"), body) if root.tag.rpartition("}")[2] == "message" else None


def _message(sender: Json, receiver: Json, body: Json) -> Message | None:
    match sender, receiver, body:
        case str(), str(), str() if sender and receiver and body and fits_xml([sender, receiver, body]):
            return sender, receiver, body
        case _:
            return None
