"""Reads a stanza that reached a user, exactly as the server got it.

Called by `frames`. Always holds: pure; no text makes it raise. XML with a document type counts as no stanza, since
its entities could expand without end.
"""

import base64
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

from restbroker.job.event import domain
from restbroker.job.jid import fold_case
from restbroker.light import frozen

_STREAM_ERROR: Final = "{http://etherx.jabber.org/streams}error"
_KINDS: Final = frozenset({"message", "presence", "iq", "error"})
_PROPERTIES: Final = "{http://www.jivesoftware.com/xmlns/xmpp/properties}"
_MUC_USER: Final = "{http://jabber.org/protocol/muc#user}"
_CONFERENCE: Final = "{jabber:x:conference}x"
_STATES: Final = "{http://jabber.org/protocol/chatstates}"
_EXPELLED: Final = frozenset({"301", "307", "321", "322", "332"})
"""Status codes of XEP-0045 for a user who was banned, kicked, or is no longer let in.

A user who leaves by themselves, or joins again, has none of them.
"""
_NOT_INSIDE: Final = "406"
"""A room's answer to a message of a user who is not in it (recorded)."""


@frozen
class Invitation:
    """An invitation into a room. The room itself sends it, for the inviter."""

    inviter: str | None
    reason: str | None
    password: str | None


@frozen
class StreamStanza:
    """A message, presence, iq, or the stream's error. `word`: its type, such as `chat`. `xml`: as it came.

    `data`: what comes beside the body, as text. `conference`: the room that the user is invited to. `expels`: the room
    that had its receiver leave, or says that they are not in it, as `balcony@conference`. `ends`: its receiver's
    session may be over, by a logoff, a kick or a lock (recorded). `state`: whether the sender writes (XEP-0085).
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
    expels: str | None = None
    ends: bool = False
    state: str | None = None


def read_stanza(coded: str) -> StreamStanza | None:
    """Return the stanza in a base64 text, as `chatapi.xmpp` has it; None if it is none."""
    try:
        xml = base64.b64decode(coded).decode()
        root = None if "<!DOCTYPE" in xml else ET.fromstring(xml)  # noqa: S314  it declares no entity
    except (ValueError, ET.ParseError):
        return None
    if root is None or (kind := _local(root.tag)) not in _KINDS:
        return None
    given: Mapping[str, str] = root.attrib
    conference = root.find(_CONFERENCE)
    return StreamStanza(
        kind,
        given.get("type"),
        given.get("from"),
        receiver=given.get("to"),
        id=given.get("id"),
        body=_child(root, "body"),
        xml=xml,
        show=_child(root, "show"),
        status=_child(root, "status"),
        data=_property(root),
        conference=None if conference is None else conference.get("jid"),
        invitation=_invitation(root),
        expels=_expels(root, kind),
        ends=root.tag == _STREAM_ERROR or _is_own_leave(given, kind),
        state=next((_local(child.tag) for child in root if child.tag.startswith(_STATES)), None),
    )


def _is_own_leave(given: Mapping[str, str], kind: str) -> bool:
    """Tell whether the session itself becomes unavailable: other users, and rooms, have another address."""
    is_own = "/" in given.get("to", "") and given.get("from") == given.get("to")
    return is_own and kind == "presence" and given.get("type") == "unavailable"


def _expels(root: ET.Element, kind: str) -> str | None:
    room, _, nick = root.get("from", "").partition("/")
    receiver = root.get("to", "")
    name, _, where = fold_case(room).rpartition("@")
    service = where.removesuffix(f".{fold_case(domain(receiver))}")
    # No one else speaks for a room, and elsewhere no one of ours is in one.
    if not name or service == where:
        return None
    match kind, root.get("type"):
        case "presence", "unavailable":
            is_out = _is_own(root, nick, receiver) and _is_expelled(root)
        case "message", "error":
            error = next((child for child in root if _local(child.tag) == "error"), None)
            is_out = not nick and error is not None and error.get("code") == _NOT_INSIDE
        case _:
            is_out = False
    return f"{name}@{service}" if is_out else None


def _is_own(root: ET.Element, nick: str, receiver: str) -> bool:
    """Tell whether a room's presence is the receiver's own, by the nickname or the JID in it.

    The server does not mark one's own presence in each room (measured); the plugin has users join by their names.
    """
    item = root.find(f"{_MUC_USER}x/{_MUC_USER}item")
    return fold_case(nick) == fold_case(receiver.partition("@")[0]) or (
        item is not None and item.get("jid") == receiver
    )


def _is_expelled(root: ET.Element) -> bool:
    x = root.find(f"{_MUC_USER}x")
    return x is not None and (
        x.find(f"{_MUC_USER}destroy") is not None
        or any(status.get("code") in _EXPELLED for status in x.iterfind(f"{_MUC_USER}status"))
    )


def _child(root: ET.Element, name: str) -> str | None:
    return next((child.text or "" for child in root if _local(child.tag) == name), None)


def _property(root: ET.Element) -> str | None:
    for node in root.iterfind(f"{_PROPERTIES}properties/{_PROPERTIES}property"):
        if node.findtext(f"{_PROPERTIES}name") == "data":
            return node.findtext(f"{_PROPERTIES}value")
    return None


def _invitation(root: ET.Element) -> Invitation | None:
    where = f"{_MUC_USER}x/{_MUC_USER}"
    found = root.find(f"{where}invite")
    if found is None:
        return None
    return Invitation(found.get("from"), found.findtext(f"{_MUC_USER}reason"), root.findtext(f"{where}password"))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
