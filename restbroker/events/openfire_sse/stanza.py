"""Reads the stanza that comes before an event of the same message: exactly as the server got it.

Called by `form`. Always holds: pure; whatever comes, it is a stanza or none. XML that declares anything is none: what
it declares could grow without end.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

import attrs

_KINDS: Final = frozenset({"message", "presence", "iq"})


@attrs.frozen
class Stanza:
    """A message, presence or iq. `word`: its type, such as `chat`. `xml`: as it came."""

    kind: str
    word: str | None
    sender: str | None
    receiver: str | None
    id: str | None
    body: str | None
    xml: str


def read_stanza(coded: str) -> Stanza | None:
    """Of base64, as `chatapi.xmpp` has it."""
    try:
        xml = base64.b64decode(coded).decode()
    except (binascii.Error, ValueError):
        return None
    if "<!" in xml:
        return None
    try:
        root = ET.fromstring(xml)  # noqa: S314  it declares no entity
    except ET.ParseError:
        return None
    kind = _local(root.tag)
    if kind not in _KINDS:
        return None
    body = next((child.text or "" for child in root if _local(child.tag) == "body"), None)
    given: Mapping[str, str] = root.attrib
    return Stanza(kind, given.get("type"), given.get("from"), given.get("to"), given.get("id"), body, xml)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
