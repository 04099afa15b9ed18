"""Reads a message that a job sends as XML. Pure, and called by the kinds whose events report what restbroker sends."""

from xml.etree import ElementTree as ET

from restbroker.job.json_types import Json
from restbroker.servers.api.texts import fits_xml


def read_message(stanza: Json) -> ET.Element | None:
    """Return the message that this text is; None if it is none, or has a document type, since one may expand."""
    if not isinstance(stanza, str) or "<!DOCTYPE" in stanza or not fits_xml(stanza):
        return None
    try:
        root = ET.fromstring(stanza)  # noqa: S314 - no document type, so nothing to expand
    except ET.ParseError:
        return None
    return root if root.tag.rpartition("}")[2] == "message" else None


def body_in(message: ET.Element) -> str | None:
    """Return the text of the message's body; None without one."""
    return next((part.text for part in message if part.tag.rpartition("}")[2] == "body"), None)
