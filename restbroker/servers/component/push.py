"""Answers questions that are sent to the component itself, and makes events of notifications (XEP-0357).

A server sends a notification for each stanza whose receiver cannot be reached. Called by `reader`. Always holds: pure;
a notification is answered by `result` or by an error of type `wait`, whoever sends it and whatever is in it, since the
server takes of any other error that the device is gone for good, and drops its registration.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from restbroker.job.event import ServerEvent, domain
from restbroker.job.json_types import Json
from restbroker.servers.component.derive import Deriver
from restbroker.servers.component.stanzas import Stanza

_PUBSUB: Final = "{http://jabber.org/protocol/pubsub}"
_PUSH: Final = "urn:xmpp:push:0"
_FORM: Final = "{jabber:x:data}"
_PING: Final = "{urn:xmpp:ping}ping"
_INFO: Final = "http://jabber.org/protocol/disco#info"
_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
_FEATURES: Final = (_INFO, "urn:xmpp:ping", _PUSH)

Kind = Literal["result", "wait", "cancel"]
"""How an iq is answered: by a result, or by an error of this type."""


def is_notification(stanza: Stanza) -> bool:
    """Tell whether the stanza is an iq that is answered as a notification, even if it is a wrong one."""
    asks = stanza.kind == "iq" and stanza.element.get("type") in ("get", "set")
    return asks and stanza.element.find(f"{_PUBSUB}pubsub") is not None


def event_of_push(deriver: Deriver, stanza: Stanza, now_s: float) -> ServerEvent | None:
    """Return the event of a notification from one of the hosts; None if it is none. `now_s`: epoch seconds."""
    sender, number, element = stanza.sender, stanza.element.get("id"), stanza.element
    if "push" not in deriver.takes or not is_notification(stanza) or element.get("type") != "set":
        return None
    if sender not in deriver.hosts or stanza.receiver != deriver.name or not number:
        return None
    publish = element.find(f"{_PUBSUB}pubsub/{_PUBSUB}publish")
    notification = None if publish is None else publish.find(f"{_PUBSUB}item/{{{_PUSH}}}notification")
    if publish is None or notification is None:
        return None
    summary = _fields(notification)
    options = _fields(element.find(f"{_PUBSUB}pubsub/{_PUBSUB}publish-options"))
    return ServerEvent(
        type="push",
        sender=_text(summary, "last-message-sender"),
        receiver=None,
        id=number,
        body=_text(summary, "last-message-body"),
        room=None,
        server=sender,
        source=deriver.source,
        received_at_s=now_s,
        raw={"kind": "push", "node": publish.get("node"), "options": options, "summary": summary},
        digest=hashlib.blake2b(f"{sender} {number}".encode(), digest_size=16).hexdigest(),
    )


def has_text(event: ServerEvent) -> bool:
    """Tell whether a notification says anything of a message: of a receipt or a call it does not."""
    return event.sender is not None or event.body is not None


def answer_to_push(event: ServerEvent, name: str, kind: Kind) -> str:
    """Return the answer of the component `name` to the notification that became this event."""
    return _answer(name, event.server or "", event.id or "", kind)


def answer_to(stanza: Stanza, name: str, *, takes_push: bool) -> str | None:
    """Return the answer to an iq that asks and is no event; None for any other stanza, and for one to another name."""
    element = stanza.element
    if stanza.kind != "iq" or element.get("type") not in ("get", "set") or domain(stanza.receiver) != name:
        return None
    kind: Kind = "cancel"
    content = ""
    if is_notification(stanza):
        kind = "wait"
    elif element.get("type") == "get" and element.find(_PING) is not None:
        kind = "result"
    elif element.get("type") == "get" and (query := element.find(f"{{{_INFO}}}query")) is not None:
        # The component has no nodes.
        kind = "cancel" if query.get("node") else "result"
        content = _identity(takes_push=takes_push)
    return _answer(stanza.receiver, stanza.sender, element.get("id", ""), kind, content)


def _answer(sender: str, receiver: str, number: str, kind: Kind, content: str = "") -> str:
    addresses = f"from={quoteattr(sender)} to={quoteattr(receiver)} id={quoteattr(number)}"
    if kind == "result":
        return f"<iq type='result' {addresses}>{content}</iq>"
    error = f"<error type='{kind}'><service-unavailable xmlns='{_STANZAS}'/></error>"
    return f"<iq type='error' {addresses}>{error}</iq>"


def _identity(*, takes_push: bool) -> str:
    identity = "category='pubsub' type='push'" if takes_push else "category='component' type='generic'"
    features = (f"<feature var='{name}'/>" for name in _FEATURES if takes_push or name != _PUSH)
    return f"<query xmlns='{_INFO}'><identity {identity} name='restbroker'/>{''.join(features)}</query>"


def _fields(parent: ET.Element | None) -> dict[str, Json]:
    """Return the fields of the form in this element; one without a text is None, one with several texts a list."""
    found: dict[str, list[Json]] = {}
    for field in () if parent is None else parent.iterfind(f"{_FORM}x/{_FORM}field"):
        name = field.get("var", "")
        if name != "FORM_TYPE":
            texts = found.setdefault(name, [])
            texts += (value.text for value in field.iterfind(f"{_FORM}value") if value.text)
    return {name: texts if len(texts) > 1 else next(iter(texts), None) for name, texts in found.items()}


def _text(summary: Mapping[str, Json], name: str) -> str | None:
    value = summary.get(name)
    return value if isinstance(value, str) else None
