"""Stanzas as XML: a job's `xml` becomes a body; an answer is read for the judge, a posted stanza for an event.

Called by `request`, `outcomes`, the connector and `events.hook`. Always holds: pure; the stanza that is sent is written
from the parsed one, so that exactly the checked stanza is sent; a stanza whose command takes `to` and `from` gets both
from these arguments, which the token was checked for.
"""

from collections.abc import Iterator, Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from restbroker.job.json_types import Json
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.table import InvalidArguments
from restbroker.servers.api.xml import Element, UnreadableXml, read

KINDS: Final = ("message", "presence", "iq")
ADDRESS: Final = ("to", "from", "id", "type")
"""The attributes of a stanza that arguments can give."""
_ALONE: Final = "xml"
CONTENT_TYPE: Final = "application/xmpp+xml"
_SPACE: Final = "jabber:client"
_MEMBERS: Final = ("type", "to", "from", "id")
_TEXTS: Final = ("body", "subject", "thread")
_QUERIES: Final = {
    ("ping", "urn:xmpp:ping"): "ping",
    ("query", "jabber:iq:version"): "version",
    ("query", "http://jabber.org/protocol/disco#info"): "disco",
}


def body_of(kind: str | None, given: Mapping[str, Json], identity: str) -> bytes:
    """Return the stanza that a job's arguments make; raise `InvalidArguments` if they make none.

    `kind`: what it has to be; None: any, with an address of its own. `identity`: the id of a message or presence that
    has none.
    """
    if extra := given.keys() - {_ALONE, *ADDRESS}:
        raise InvalidArguments(f'the argument "xml" cannot be given with "{min(extra)}": write that into the XML')
    try:
        stanza = read(str(given[_ALONE]))
    except UnreadableXml as error:
        raise InvalidArguments(f'the argument "xml" {error}') from None
    for problem in _problems(kind, stanza, given):
        raise InvalidArguments(f'the argument "xml" {problem}')
    address = {name: str(given[name]) for name in ADDRESS if name in given}
    if stanza.name != "iq" and identity:
        stanza.attributes.setdefault("id", identity)
    stanza.attributes |= address
    if stanza.name == "iq" and stanza.attributes.get("type") not in ("get", "set"):
        raise InvalidArguments('the argument "xml" is an iq whose type is neither get nor set')
    return "".join(_write(stanza)).encode()


def is_given(given: Mapping[str, Json]) -> bool:
    """Tell whether a job's arguments have a stanza as XML."""
    return given.get(_ALONE) is not None


def is_question(given: Mapping[str, Json]) -> bool:
    """Tell whether a job's stanza is an iq of type get."""
    try:
        stanza = read(str(given[_ALONE]))
    except UnreadableXml:
        return False
    return stanza.name == "iq" and given.get("type", stanza.attributes.get("type")) == "get"


def as_json(body: bytes) -> Json:
    """Return an answer in XML as the JSON that mod_rest would write, as far as `outcomes` needs; None if no stanza."""
    try:
        stanza = read(body.decode("utf-8", "replace"))
    except UnreadableXml:
        return None
    if stanza.name == "xmpp" and stanza.children:  # several; the last ends them
        stanza = stanza.children[-1]
    if stanza.name not in KINDS:
        return None
    found: dict[str, Json] = {"kind": stanza.name, **stanza.attributes}
    if (error := stanza.child("error")) is not None:
        conditions: list[Json] = [child.name for child in error.children if child.name != "text"]
        text = error.child("text")
        told: dict[str, Json] = {"type": error.attributes.get("type"), "condition": (conditions or [None])[0]}
        found["error"] = told if text is None else {**told, "text": text.text}
    if (command := stanza.child("command")) is not None:
        note = command.child("note")
        said: dict[str, Json] = {"node": command.attributes.get("node")}
        found["command"] = said if note is None else {**said, "note": {**note.attributes, "text": note.text}}
    return found


def members_of(body: bytes) -> dict[str, Json]:
    """Return the members of a posted stanza that an event needs. Raise `UnreadableXml` if it cannot be read.

    It has the plain members of mod_rest's JSON (kind, address, id, lang, body, subject, thread; ping, version, disco of
    a query), and the whole stanza as text: `{"kind": "message", "body": "hi", "xml": "<message …>"}`.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise UnreadableXml("is not UTF-8") from None
    stanza = read(text)
    found: dict[str, Json] = {name: stanza.attributes[name] for name in _MEMBERS if name in stanza.attributes}
    if (lang := stanza.attributes.get("xml:lang")) is not None:
        found["lang"] = lang
    for child in stanza.children:
        if child.name in _TEXTS and child.attributes.get("xmlns", _SPACE) == _SPACE:
            found.setdefault(child.name, child.text)
        elif (member := _QUERIES.get((child.name, child.attributes.get("xmlns", "")))) is not None:
            found[member] = child.attributes.get("node", True)
    return {"kind": stanza.name, **found, "xml": text}


def _problems(kind: str | None, stanza: Element, given: Mapping[str, Json]) -> Iterator[str]:
    if stanza.name not in KINDS:
        yield "is not a message, presence or iq"
    if kind not in (None, stanza.name):
        yield f"is no {kind}"
    if stanza.attributes.get("xmlns", _SPACE) != _SPACE:
        yield f"is not of the namespace {_SPACE}"
    for name in ADDRESS if kind is not None else ():
        if name in stanza.attributes and name in given and stanza.attributes[name] != given[name]:
            yield f'has another {name} than the argument "{name}"'
    if kind is not None and "from" in stanza.attributes and "from" not in given:
        yield 'has a "from": give the sender as the argument "from"'
    if kind is None and not is_jid(stanza.attributes.get("to", "")):
        yield 'has no JID as its "to"'
    if stanza.name == "iq" and len(stanza.children) != 1:
        yield "is an iq that does not contain exactly one element"


def _write(element: Element) -> Iterator[str]:
    yield f"<{element.name}"
    for name, value in element.attributes.items():
        yield f" {name}={quoteattr(value)}"
    yield ">"
    for part in element.inner:
        if isinstance(part, Element):
            yield from _write(part)
        else:
            yield escape(part)
    yield f"</{element.name}>"
