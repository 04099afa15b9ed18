"""Reads the stream that ejabberd sends a component (XEP-0114), piece by piece. Called by `connection`.

Always holds: it does no input or output, and no bytes make it raise; what it keeps is bounded by `limit_bytes`, one
piece, and some 50 MB for what nests and for names. What breaks the stream's XML, and a document type or entity, end the
stream (`Broken`). A longer stanza, or one with an impossible address, is skipped and the rest is read; what nests too
deep is left out of its stanza, as if nobody had written it. One parser reads all that comes, also what is skipped:
nothing else decides where a stanza ends. The copy of an iq does not leave this file: passwords, vCards and archives
come as these.

A copy of mod_service_log is a message with `<forwarded>` around one stanza. Anyone can send the component a message of
the same form, but not from one of the server's own hosts.
"""

import codecs
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree as ET
from xml.parsers import expat

from restbroker.job.jid import fold_case
from restbroker.light import define, field, frozen_plain

FORWARDED: Final = "{urn:xmpp:forward:0}forwarded"
_STREAM: Final = "{http://etherx.jabber.org/streams}stream"
_ERROR: Final = "{http://etherx.jabber.org/streams}error"
_COMPONENT: Final = "{jabber:component:accept}"
_STANZAS: Final = frozenset({"message", "presence", "iq"})
_INNER: Final = frozenset(f"{{jabber:client}}{kind}" for kind in _STANZAS)
_COPY: Final = (FORWARDED,)
_ROOM_EVENT: Final = tuple(f"{{http://jabber.org/protocol/pubsub#event}}{name}" for name in ("event", "items", "item"))
_LONGEST_JID: Final = 3071
_LONGEST_TOKEN: Final = 16 * 1024 * 1024
"""The bytes of a tag or comment after which the stream is left: expat keeps it, and reads it again for each piece."""
_STREAM_LEVEL: Final = 1
"""How many elements are open between two stanzas."""
_COPY_LEVEL: Final = _STREAM_LEVEL + 1 + len(_COPY)
_ROOM_LEVEL: Final = _STREAM_LEVEL + 1 + len(_ROOM_EVENT)
_INNER_LEVELS: Final = frozenset((_COPY_LEVEL, _ROOM_LEVEL))
"""How many are open around a stanza that another one brings."""
_DEEPEST: Final = _STREAM_LEVEL + 100
"""The last level that is read: what walks a tree may do so by recursion."""
_MOST_BELOW: Final = 250_000
"""The levels below it after which the stream is left: expat keeps 125 bytes for each (measured)."""
_MOST_NAMES: Final = 50_000
"""The names after which another parser goes on: expat and pyexpat forget none, 180 bytes each (measured)."""
_CDATA_END: Final = b"]]>"
_NO_STREAM: Final = "it has a document type or an entity, or begins as no stream"
_SPACES: Final = {"xml": "http://www.w3.org/XML/1998/namespace"}
_PRINTED: Final = bytes(ord("?") if code < ord(" ") and code not in b"\t\n\r" else code for code in range(256))
"""Replaces the control characters that XML forbids: an API may send some, and ejabberd passes them on (measured)."""


@frozen_plain
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


@frozen_plain
class Opened:
    """The stream is open; `id` is the server's name for it."""

    id: str


@frozen_plain
class Accepted:
    """The server accepts the handshake."""


@frozen_plain
class StanzaCopy:
    """The copy of a stanza that a local user of `host` sends or receives."""

    host: str
    stanza: Stanza


@frozen_plain
class Direct:
    """A stanza that was sent to the component itself; `said`: the message that a room's event brings (MUC/Sub)."""

    stanza: Stanza
    said: Stanza | None


@frozen_plain
class Skipped:
    """A stanza that was not read, for its length or its address, or a part of the next item, for its depth."""

    why: Literal["length", "address", "depth"]


@frozen_plain
class Broken:
    """The stream is over, by a fault of its XML or by the server's word `why`; nothing more is read."""

    why: str


Item: TypeAlias = Opened | Accepted | StanzaCopy | Direct | Skipped | Broken


class _Over(Exception):
    """The stream ends here; the text says why."""


class _Renewal(Exception):
    """Another parser has to read the rest of the buffer."""


@define(eq=False, repr=False)
class StreamParser:
    """The parser of one stream. A copy counts from one of `hosts`, and to `name`."""

    name: str
    hosts: Collection[str]
    limit_bytes: int
    _items: list[Item] = field(factory=list)
    _buffer: bytes = b""
    """What came since the end of the last stanza, unless that is more than the limit."""
    _base: int = 0
    """The number of bytes that came before the buffer, as the parser counts them."""
    _unread_bytes: int = 0
    """What the parser keeps at most, since it does not know yet what that is."""
    _spaces: dict[str, str] = field(factory=_SPACES.copy)
    """The namespaces of the prefixes that are known here."""
    _covered: list[Mapping[str, str]] = field(factory=list)
    """For each open element that is read, what `_spaces` had for the prefixes that it declares; "" for none."""
    _below: int = 0
    """How many elements are open that are left out."""
    _tree: ET.TreeBuilder | None = None
    """The stanza in progress; None between stanzas, and of one that is skipped."""
    _cuts: list[int] = field(factory=list)
    """Where each part that is left out of the stanza begins in the buffer, and where it ends."""
    _begins: dict[int, int] = field(factory=dict)
    _ends: dict[int, int] = field(factory=dict)
    """By each of `_INNER_LEVELS`, where the stanza's last element there begins in the buffer, and where it ends."""
    _is_empty: bool = False
    """Whether nothing came since the last element began."""
    _is_over: bool = False
    _root: str = ""
    """The name of the stream's element, as it came."""
    _held: bytes = b""
    _is_cdata: bool = False
    _names: dict[str, str] = field(factory=dict)
    """pyexpat keeps here each name that it reads."""
    _decoder: codecs.IncrementalDecoder = field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("surrogateescape")
    )
    _parser: expat.XMLParserType = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._begin("")

    def _begin(self, head: str) -> None:
        """Begin with a parser that has read `head`, and nothing else."""
        self._names.clear()
        # Prefixes are read below: ejabberd passes on some that nobody declared, which is an error to expat.
        self._parser = parser = expat.ParserCreate("UTF-8", None, self._names)
        if hasattr(parser, "SetReparseDeferralEnabled"):
            # Expat 2.6 and newer keep the end of a stanza until more comes.
            parser.SetReparseDeferralEnabled(False)
        parser.buffer_text = True
        parser.Parse(head, False)
        self._base = len(head.encode())
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        parser.StartCdataSectionHandler = partial(setattr, self, "_is_cdata", True)
        parser.EndCdataSectionHandler = partial(setattr, self, "_is_cdata", False)
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse

    def feed(self, data: bytes) -> list[Item]:
        """Return what these bytes complete, in order. Nothing follows a `Broken`."""
        self._items = []
        if not self._is_over:
            parts = self._permitted(data).split(_CDATA_END)
            try:
                self._parse(parts[0])
                for other in parts[1:]:
                    # Anywhere else XML forbids it in a text, and a ? does no harm.
                    self._parse((_CDATA_END if self._is_cdata else b"]]?") + other)
            except _Over as over:
                self._is_over = True
                self._items.append(Broken(str(over)))
            if len(self._buffer) > self.limit_bytes or (self._tree is None and len(self._covered) > _STREAM_LEVEL):
                self._forget(len(self._buffer))
                self._tree = None
        return self._items

    def _permitted(self, data: bytes) -> bytes:
        """Return the bytes, a ? for each that XML forbids; what may begin a character, or ]]>, waits for its rest."""
        data = self._held + data.translate(_PRINTED)
        self._held = b"]]" if data.endswith(b"]]") else b"]" if data.endswith(b"]") else b""
        data = data.removesuffix(self._held)
        if data.isascii() and not self._decoder.getstate()[0]:
            return data
        text = self._decoder.decode(data)
        return text.replace("\ufffe", "???").replace("\uffff", "???").encode("utf-8", "replace")

    def _parse(self, data: bytes) -> None:
        self._buffer += data
        self._unread_bytes += len(data)
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            raise _Over(f"its XML cannot be read ({expat.ErrorString(error.code)})") from None
        except _Renewal:
            self._begin(f"<{self._root}>")
            rest, self._buffer = self._buffer, b""
            self._parse(rest)
        if self._unread_bytes > _LONGEST_TOKEN:
            raise _Over(f"a name, value or comment in it has more than {_LONGEST_TOKEN} bytes")

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._unread_bytes, self._is_empty = 0, True
        depth, known = len(self._covered), self._spaces
        if depth == _DEEPEST:
            self._leave_out()
            return
        covered: dict[str, str] = {}
        for key, value in given.items():
            if "xmlns" in key and (key == "xmlns" or key.startswith("xmlns:")):
                covered.setdefault(key[6:], known.get(key[6:], ""))
                known[key[6:]] = value
        self._covered.append(covered)
        tag = _tag(name, known)
        if not depth:
            if tag != _STREAM:
                raise _Over(_NO_STREAM)
            self._root = name
            # Prosody's stream has none before the error that it does not know the name.
            if number := given.get("id"):
                self._items.append(Opened(number))
        elif depth == _STREAM_LEVEL and (at := self._position()) >= 0:
            self._forget(at)
            self._tree, self._cuts = ET.TreeBuilder(), []
        elif depth in _INNER_LEVELS:
            self._begins[depth] = self._parser.CurrentByteIndex - self._base
        if self._tree is not None:
            self._tree.start(tag, given)

    def _leave_out(self) -> None:
        self._below += 1
        if self._below > _MOST_BELOW:
            raise _Over(f"it nests deeper than {_MOST_BELOW} levels")
        if self._below == 1 and self._tree is not None:
            self._cuts.append(self._position())

    def _text(self, text: str) -> None:
        self._unread_bytes, self._is_empty = 0, False
        if self._tree is not None and not self._below:
            self._tree.data(text)

    def _end(self, name: str) -> None:
        self._unread_bytes = 0
        if self._below:
            self._below -= 1
            if not self._below and self._tree is not None:
                self._cuts.append(self._behind())
            self._is_empty = False
            return
        self._spaces.update(self._covered.pop())
        depth = len(self._covered)
        if self._tree is not None:
            self._tree.end(name)
            if depth in _INNER_LEVELS:
                self._ends[depth] = self._behind()
        if depth == _STREAM_LEVEL:
            self._spaces = {prefix: space for prefix, space in self._spaces.items() if space}
            self._end_stanza()
        elif not depth:
            raise _Over("the server ended it")
        self._is_empty = False

    def _end_stanza(self) -> None:
        tree, self._tree = self._tree, None
        if tree is None:
            self._forget(max(self._position(), 0))
            self._items.append(Skipped("length"))
            return
        if self._cuts:
            self._items.append(Skipped("depth"))
        end = self._behind()
        self._read(tree.close(), end)
        self._forget(end)
        if len(self._names) > _MOST_NAMES:
            raise _Renewal

    def _behind(self) -> int:
        """Return where the tag ends that ends an element."""
        at = self._parser.CurrentByteIndex - self._base
        # Behind an element of one tag the parser is behind that already, whatever follows.
        return at if self._is_empty and self._buffer.endswith(b"/>", 0, at) else self._buffer.index(b">", at) + 1

    def _position(self) -> int:
        return self._parser.CurrentByteIndex - self._base

    def _forget(self, count: int) -> None:
        if count:
            self._buffer = self._buffer[count:]
            self._base += count

    def _read(self, element: ET.Element, end: int) -> None:
        kind = element.tag.removeprefix(_COMPONENT)
        is_of_host = element.get("from") in self.hosts and element.get("to") == self.name
        copied = _within(element, _COPY) if is_of_host else None
        if kind == "handshake":
            self._items.append(Accepted())
        elif element.tag == _ERROR:
            raise _Over(next((child.tag.rpartition("}")[2] for child in element), "error"))
        elif kind not in _STANZAS:
            pass  # the protocol has no others
        elif copied is not None:
            stanza = self._stanza(copied, self._begins[_COPY_LEVEL], self._ends[_COPY_LEVEL])
            if stanza is None or stanza.kind != "iq":
                self._items.append(Skipped("address") if stanza is None else StanzaCopy(element.attrib["from"], stanza))
        else:
            stanza, said = self._stanza(element, 0, end), None
            if (brought := _within(element, _ROOM_EVENT)) is not None:
                said = self._stanza(brought, self._begins[_ROOM_LEVEL], self._ends[_ROOM_LEVEL])
            self._items.append(Skipped("address") if stanza is None else Direct(stanza, said))

    def _stanza(self, element: ET.Element, begin: int, end: int) -> Stanza | None:
        """Return the stanza with its text, which has these places; None if it has an address that no server gives."""
        sender, receiver = _jid(element.get("from", "")), _jid(element.get("to", ""))
        if not sender or not receiver:
            return None
        xml = self._buffer[begin:end]
        if self._cuts:
            edges = [begin, *self._cuts, end]
            xml = b"".join(self._buffer[since:until] for since, until in zip(edges[::2], edges[1::2], strict=True))
        return Stanza(element, sender, receiver, xml.decode())


def _tag(name: str, spaces: Mapping[str, str]) -> str:
    """Return the name with its namespace, as ElementTree writes it; as it came if nobody declared its prefix."""
    prefix, _, local = name.rpartition(":")
    space = spaces.get(prefix)
    return f"{{{space}}}{local}" if space else name


def _within(element: ET.Element, path: tuple[str, ...]) -> ET.Element | None:
    """Return the stanza to which this path of only children leads, or None."""
    for name in path:
        if len(element) != 1 or element[0].tag != name:
            return None
        element = element[0]
    is_one = len(element) == 1 and element[0].tag in _INNER
    return element[0] if is_one else None


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
    raise _Over(_NO_STREAM)
