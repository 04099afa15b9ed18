"""Reads the stream that ejabberd sends a component (XEP-0114), piece by piece. Called by `connection`.

Always holds: it does no input or output, and no bytes make it raise; what it keeps is bounded by `limit_bytes` and one
piece. What breaks the stream's XML, and a document type or entity, end the stream (`Broken`). A longer stanza, or one
with an impossible address, is skipped and the rest is read. The copy of an iq does not leave this file: passwords,
vCards and archives come as these.

A copy of mod_service_log is a message with `<forwarded>` around one stanza. Anyone can send the component a message of
the same form, but not from one of the server's own hosts.
"""

import re
from collections.abc import Collection
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree as ET
from xml.parsers import expat

import attrs

from restbroker.light import light

FORWARDED: Final = "{urn:xmpp:forward:0}forwarded"
_STREAM: Final = "http://etherx.jabber.org/streams stream"
_ERROR: Final = "{http://etherx.jabber.org/streams}error"
_COMPONENT: Final = "{jabber:component:accept}"
_STANZAS: Final = frozenset({"message", "presence", "iq"})
_INNER: Final = frozenset(f"{{jabber:client}}{kind}" for kind in _STANZAS)
_COPY: Final = (FORWARDED,)
_ROOM_EVENT: Final = tuple(f"{{http://jabber.org/protocol/pubsub#event}}{name}" for name in ("event", "items", "item"))
_WHOLE: Final = re.compile(rb"(.*)", re.DOTALL)
_BRACKET: Final = re.compile(rb"[<>]")
_COPIED: Final = re.compile(rb"<forwarded\b[^>]*>(.*)</forwarded>", re.DOTALL)
_IN_ROOM: Final = re.compile(rb"<item\b[^>]*>(.*)</item>", re.DOTALL)
_LONGEST_JID: Final = 3071


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
    _header: bytes = b""
    _buffer: bytes = b""
    """What came since the end of the last stanza."""
    _base: int = 0
    """The number of bytes that came before the buffer, as the parser counts them."""
    _depth: int = 0
    _skipper: "_Skipper | None" = None
    _is_over: bool = False
    _parser: expat.XMLParserType = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._parser = self._new_parser()

    def feed(self, data: bytes) -> list[Item]:
        """Return what these bytes complete, in order. Nothing follows a `Broken`."""
        self._items = []
        while data and not self._is_over:
            if self._skipper is None:
                self._buffer += data
                self._parse(data)
                data = b""
                if len(self._buffer) > self.limit_bytes:
                    self._skipper, data, self._buffer = _Skipper(), self._buffer, b""
            elif (rest := self._skipper.feed(data)) is None:
                data = b""
            else:
                self._items.append(Skipped("length"))
                self._skipper, self._depth, self._base, data = None, 0, len(self._header), rest
                self._parser = self._new_parser()
                self._parse(self._header)
        return self._items

    def _new_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("UTF-8", " ")
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # Expat 2.6 and newer keep the end of a stanza until more comes.
            parser.SetReparseDeferralEnabled(False)
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
        return parser

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            self._break(f"its XML cannot be read ({expat.ErrorString(error.code)})")
        except ET.ParseError:
            self._break("its XML cannot be read")
        except _Refused:
            self._break("it has a document type or an entity, or begins as no stream")

    def _break(self, why: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._items.append(Broken(why))

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and not self._header:
            if name != _STREAM:
                raise _Refused
            self._header = self._cut(is_in_tag=True)
            # Prosody's stream has none before the error that it does not know the name.
            if number := given.get("id"):
                self._items.append(Opened(number))

    def _end(self, _name: str) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._break("the server ended it")
        elif self._depth == 1 and not self._is_over:
            # Behind an empty element the parser is at the next tag already, which may be the stream's end.
            at = self._position()
            is_in_tag = self._buffer.startswith(b"</", at) and not self._buffer.startswith(b"</stream:stream", at)
            self._read(self._cut(is_in_tag=is_in_tag))

    def _position(self) -> int:
        return self._parser.CurrentByteIndex - self._base

    def _cut(self, *, is_in_tag: bool) -> bytes:
        """Remove and return the bytes up to where the parser is, or to the end of the tag there."""
        end = self._buffer.index(b">", self._position()) + 1 if is_in_tag else self._position()
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        self._base += end
        return found

    def _read(self, xml: bytes) -> None:
        (element,) = ET.fromstring(self._header + xml + b"</stream:stream>")  # noqa: S314  a stream without entities
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


@attrs.define(eq=False, repr=False)
class _Skipper:
    """Finds the end of a stanza without reading it, in pieces, and keeps nothing of it.

    ejabberd writes `<` and `>` only around names and attributes: within texts and values they are escaped.
    """

    _depth: int = 0
    _is_closing: bool = False
    _tail: bytes = b""

    def feed(self, data: bytes) -> bytes | None:
        """Return what follows the end of the stanza; None: it is not there yet."""
        data = self._tail + data
        # What may belong to the next piece.
        self._tail = data[-1:] if data.endswith((b"<", b"/")) else b""
        for found in _BRACKET.finditer(data, 0, len(data) - len(self._tail)):
            at = found.start()
            if found[0] == b"<":
                self._is_closing = data.startswith(b"/", at + 1)
                continue
            if self._is_closing:
                self._depth -= 1
            elif not data.endswith(b"/", 0, at):
                self._depth += 1
            if self._depth == 0:
                self._tail = b""
                return data[at + 1 :]
        return None


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
    sender, receiver = element.get("from", ""), element.get("to", "")
    is_possible = _is_jid(sender) and _is_jid(receiver)
    return Stanza(element, sender, receiver, xml[1].decode()) if is_possible else None


def _is_jid(text: str) -> bool:
    address, slash, resource = text.partition("/")
    local, at, domain = address.rpartition("@")
    is_whole = bool(domain) and bool(local) == bool(at) and bool(resource) == bool(slash)
    return is_whole and len(text) <= _LONGEST_JID and "@" not in local and address.isprintable() and " " not in address


def _refuse(*_: object) -> None:
    raise _Refused
