"""Reads the stanza that comes before the events of the same message: exactly as the server got it.

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
_PROPERTIES: Final = "{http://www.jivesoftware.com/xmlns/xmpp/properties}"
_MUC_USER: Final = "{http://jabber.org/protocol/muc#user}"
_CONFERENCE: Final = "{jabber:x:conference}x"


@attrs.frozen
class Invitation:
    """Into a room. The room itself sends it, for the inviter."""

    inviter: str | None
    reason: str | None
    password: str | None


@attrs.frozen
class Stanza:
    """A message, presence or iq. `word`: its type, such as `chat`. `xml`: as it came.

    `data`: what travels beside the body, as text. `conference`: the room that somebody is asked into.
    """

    kind: str
    word: str | None
    sender: str | None
    receiver: str | None
    id: str | None
    body: str | None
    xml: str
    show: str | None = None
    status: str | None = None
    data: str | None = None
    conference: str | None = None
    invitation: Invitation | None = None


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
    given: Mapping[str, str] = root.attrib
    conference = root.find(_CONFERENCE)
    return Stanza(
        kind,
        given.get("type"),
        given.get("from"),
        given.get("to"),
        given.get("id"),
        _child(root, "body"),
        xml,
        show=_child(root, "show"),
        status=_child(root, "status"),
        data=_property(root),
        conference=None if conference is None else conference.get("jid"),
        invitation=_invitation(root),
    )


def _child(root: ET.Element, name: str) -> str | None:
    return next((child.text or "" for child in root if _local(child.tag) == name), None)


def _property(root: ET.Element) -> str | None:
    for one in root.iterfind(f"{_PROPERTIES}properties/{_PROPERTIES}property"):
        if one.findtext(f"{_PROPERTIES}name") == "data":
            return one.findtext(f"{_PROPERTIES}value")
    return None


def _invitation(root: ET.Element) -> Invitation | None:
    where = f"{_MUC_USER}x/{_MUC_USER}"
    found = root.find(f"{where}invite")
    if found is None:
        return None
    return Invitation(found.get("from"), found.findtext(f"{_MUC_USER}reason"), root.findtext(f"{where}password"))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
