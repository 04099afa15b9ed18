"""Reads the stream that ejabberd sends a component (XEP-0114), piece by piece. Called by `connection`.

Always holds: it does no input or output, and no bytes make it raise; what it keeps is bounded by `limit_bytes` and one
piece. What breaks the stream's XML, and a document type or entity, end the stream (`Broken`). A longer stanza, or one
with an impossible address, is skipped and the rest is read. One parser reads all that comes, also what is skipped:
nothing else decides where a stanza ends. The copy of an iq does not leave this file: passwords, vCards and archives
come as these.

A copy of mod_service_log is a message with `<forwarded>` around one stanza. Anyone can send the component a message of
the same form, but not from one of the server's own hosts.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree as ET
from xml.parsers import expat

import attrs

from restbroker.job.jid import fold_case
from restbroker.light import light

FORWARDED: Final = "{urn:xmpp:forward:0}forwarded"
_STREAM: Final = "{http://etherx.jabber.org/streams}stream"
_ERROR: Final = "{http://etherx.jabber.org/streams}error"
_COMPONENT: Final = "{jabber:component:accept}"
_STANZAS: Final = frozenset({"message", "presence", "iq"})
_INNER: Final = frozenset(f"{{jabber:client}}{kind}" for kind in _STANZAS)
_COPY: Final = (FORWARDED,)
_ROOM_EVENT: Final = tuple(f"{{http://jabber.org/protocol/pubsub#event}}{name}" for name in ("event", "items", "item"))
_WHOLE: Final = re.compile(rb"(.*)", re.DOTALL)
_COPIED: Final = re.compile(rb"<forwarded\b[^>]*>(.*)</forwarded>", re.DOTALL)
_IN_ROOM: Final = re.compile(rb"<item\b[^>]*>(.*)</item>", re.DOTALL)
_LONGEST_JID: Final = 3071
_LONGEST_TOKEN: Final = 16 * 1024 * 1024
"""The bytes of a tag or comment after which the stream is left: expat keeps it, and reads it again for each piece."""
_IN_STREAM: Final = 2
"""How many `_spaces` are known between two stanzas."""
_SPACES: Final = {"xml": "http://www.w3.org/XML/1998/namespace"}
_PRINTED: Final = bytes(ord("?") if one < ord(" ") and one not in b"\t\n\r" else one for one in range(256))
"""Replaces the control characters that XML forbids: an API may send some, and ejabberd passes them on (measured)."""


@light
class Stanza:
    """A message, presence or iq with its addresses, and its text as it came."""

    element: ET.Element
    sender: str
    receiver: str
    xml: str

    @property
    def kind(self) -> str:
        """The element's name without its namespace."""
        return self.element.tag.rpartition("}")[2]


@light
class Opened:
    """The stream is open; `id` is the server's name for it."""

    id: str


@light
class Accepted:
    """The server accepts the handshake."""


@light
class Copy:
    """The copy of a stanza that a local user of `host` sends or receives."""

    host: str
    stanza: Stanza


@light
class Direct:
    """A stanza that was sent to the component itself; `said`: the message that a room's event brings (MUC/Sub)."""

    stanza: Stanza
    said: Stanza | None


@light
class Skipped:
    """A stanza that was not read, for its length or its address."""

    why: Literal["length", "address"]


@light
class Broken:
    """The stream is over, by a fault of its XML or by the server's word `why`; nothing more is read."""

    why: str


Item: TypeAlias = Opened | Accepted | Copy | Direct | Skipped | Broken


class _Refused(Exception):
    """The stream has what no XMPP stream may have."""


@attrs.define(eq=False, repr=False)
class StreamParser:
    """The parser of one stream. A copy counts from one of `hosts`, and to `name`."""

    name: str
    hosts: Collection[str]
    limit_bytes: int
    _items: list[Item] = attrs.field(factory=list)
    _buffer: bytes = b""
    """What came since the end of the last stanza, unless that is more than the limit."""
    _base: int = 0
    """The number of bytes that came before the buffer, as the parser counts them."""
    _unread_bytes: int = 0
    """What the parser keeps at most, since it does not know yet what that is."""
    _spaces: list[Mapping[str, str]] = attrs.field(factory=lambda: [_SPACES])
    """For each open element the namespaces of the prefixes that are known in it."""
    _tree: ET.TreeBuilder | None = None
    """The stanza in progress; None between stanzas, and of one that is skipped."""
    _is_over: bool = False
    _parser: expat.XMLParserType = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Prefixes are read below: ejabberd passes on some that nobody declared, which is an error to expat.
        self._parser = parser = expat.ParserCreate("UTF-8")
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # Expat 2.6 and newer keep the end of a stanza until more comes.
            parser.SetReparseDeferralEnabled(False)
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse

    def feed(self, data: bytes) -> list[Item]:
        """Return what these bytes complete, in order. Nothing follows a `Broken`."""
        self._items = []
        if not self._is_over:
            data = data.translate(_PRINTED)
            self._buffer += data
            self._unread_bytes += len(data)
            try:
                self._parser.Parse(data, False)
            except expat.ExpatError as error:
                self._break(f"its XML cannot be read ({expat.ErrorString(error.code)})")
            except _Refused:
                self._break("it has a document type or an entity, or begins as no stream")
            if len(self._buffer) > self.limit_bytes or (self._tree is None and len(self._spaces) > _IN_STREAM):
                self._forget(len(self._buffer))
                self._tree = None
            if self._unread_bytes > _LONGEST_TOKEN:
                self._break(f"a name, value or comment in it has more than {_LONGEST_TOKEN} bytes")
        return self._items

    def _break(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._items.append(Broken(why))

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._unread_bytes = 0
        known = self._spaces[-1]
        for key, value in given.items():
            if key.startswith("xmlns"):
                known = {**known, key[6:]: value}
        tag = _tag(name, known)
        if len(self._spaces) == 1:
            if tag != _STREAM:
                raise _Refused
            # Prosody's stream has none before the error that it does not know the name.
            if number := given.get("id"):
                self._items.append(Opened(number))
        elif len(self._spaces) == _IN_STREAM and (at := self._position()) >= 0:
            self._forget(at)
            self._tree = ET.TreeBuilder()
        self._spaces.append(known)
        if self._tree is not None:
            self._tree.start(tag, given)

    def _text(self, text: str) -> None:
        self._unread_bytes = 0
        if self._tree is not None:
            self._tree.data(text)

    def _end(self, name: str) -> None:
        self._unread_bytes = 0
        self._spaces.pop()
        tree = self._tree
        if tree is not None:
            tree.end(name)
        if len(self._spaces) == 1:
            self._break("the server ended it")
        elif len(self._spaces) == _IN_STREAM and not self._is_over:
            end = self._position()
            # Behind an empty element the parser is behind its tag already.
            if end < 0 or self._buffer.startswith(f"</{name}".encode(), end):
                end = self._buffer.index(b">", max(end, 0)) + 1
            xml = self._buffer[:end]
            self._forget(end)
            self._tree = None
            if tree is None:
                self._items.append(Skipped("length"))
            else:
                self._read(tree.close(), xml)

    def _position(self) -> int:
        return self._parser.CurrentByteIndex - self._base

    def _forget(self, count: int) -> None:
        self._buffer = self._buffer[count:]
        self._base += count

    def _read(self, element: ET.Element, xml: bytes) -> None:
        kind = element.tag.removeprefix(_COMPONENT)
        if kind == "handshake":
            self._items.append(Accepted())
        elif element.tag == _ERROR:
            self._break(next((child.tag.rpartition("}")[2] for child in element), "error"))
        elif kind not in _STANZAS:
            pass  # the protocol has no others
        elif (
            element.get("from") in self.hosts and element.get("to") == self.name and _within(element, _COPY) is not None
        ):
            copied = _stanza(_within(element, _COPY), _COPIED.search(xml))
            if copied is None or copied.kind != "iq":
                self._items.append(Skipped("address") if copied is None else Copy(element.attrib["from"], copied))
        else:
            said = _stanza(_within(element, _ROOM_EVENT), _IN_ROOM.search(xml))
            stanza = _stanza(element, _WHOLE.search(xml))
            self._items.append(Skipped("address") if stanza is None else Direct(stanza, said))


def _tag(name: str, spaces: Mapping[str, str]) -> str:
    """Return the name with its namespace, as ElementTree writes it; as it came if nobody declared its prefix."""
    prefix, colon, local = name.rpartition(":")
    space = spaces.get(prefix)
    return name if not space else f"{{{space}}}{local if colon else name}"


def _within(element: ET.Element, path: tuple[str, ...]) -> ET.Element | None:
    """Return the stanza to which this path of only children leads, or None."""
    for name in path:
        if len(element) != 1 or element[0].tag != name:
            return None
        element = element[0]
    is_one = len(element) == 1 and element[0].tag in _INNER
    return element[0] if is_one else None


def _stanza(element: ET.Element | None, xml: re.Match[bytes] | None) -> Stanza | None:
    """Return the stanza with its bytes; None if there is none, or if it has an address that no server gives."""
    if element is None or xml is None:
        return None
    sender, receiver = _jid(element.get("from", "")), _jid(element.get("to", ""))
    return Stanza(element, sender, receiver, xml[1].decode()) if sender and receiver else None


@lru_cache(4096)
def _jid(text: str) -> str:
    """Return the JID as the server reads it, whatever case a client wrote it in; empty if it is none."""
    address, slash, resource = text.partition("/")
    address = fold_case(address)
    local, at, domain = address.rpartition("@")
    is_whole = bool(domain) and bool(local) == bool(at) and bool(resource) == bool(slash)
    is_one = len(text) <= _LONGEST_JID and "@" not in local and address.split() == [address]
    return f"{address}{slash}{resource}" if is_whole and is_one else ""


def _refuse(*_: object) -> None:
    raise _Refused
