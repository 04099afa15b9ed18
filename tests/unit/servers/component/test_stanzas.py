"""The stream of a component: what is read of it, whatever the pieces are and whatever is in it."""

import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.component import stanzas
from restbroker.servers.component.stanzas import (
    Accepted,
    Broken,
    Direct,
    Item,
    Opened,
    Skipped,
    StanzaCopy,
    StreamParser,
)

NAME: Final = "events.example.org"
HOST: Final = "example.org"
BODY: Final = "{jabber:client}body"
LIMIT: Final = 64 * 1024
HEADER: Final = (
    "<?xml version='1.0'?><stream:stream id='42' xml:lang='en' xmlns:stream='http://etherx.jabber.org/streams' "
    f"from='{NAME}' xmlns='jabber:component:accept'>"
).encode()
MESSAGE: Final = (
    "<message xml:lang='en' to='bob@example.org' from='ann@example.org/phone' type='chat' id='m1' "
    "xmlns='jabber:client'><body>hi &lt;there&gt;</body></message>"
)
ROOM: Final = (
    "<message to='rooms@events.example.org' from='team@conference.example.org' id='7'>"
    "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:mucsub:nodes:messages'>"
    "<item id='7'><message to='rooms@events.example.org' from='team@conference.example.org/Rob' type='groupchat' "
    "id='r2' xmlns='jabber:client'><body>all</body></message></item></items></event></message>"
)


def wrapped(inner: str, host: str = HOST, to: str = NAME) -> str:
    return (
        f"<message to='{to}' from='{host}' id='1'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></message>"
    )


def read(pieces: Iterable[bytes], *, opened: bool = False, limit: int = LIMIT) -> list[Item]:
    """The items in the pieces, behind the stream's header unless it is among them."""
    parser = StreamParser(NAME, frozenset({HOST, "example.net"}), limit)
    if not opened:
        assert parser.feed(HEADER) == [Opened("42")]
    return [item for piece in pieces for item in parser.feed(piece)]


def cut(text: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [*sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if end > begin]


def stanzas_in(items: Iterable[Item]) -> list[str]:
    """The XML of the copies among them."""
    return [item.stanza.xml for item in items if isinstance(item, StanzaCopy)]


@given(st.lists(st.integers(0, 10_000), max_size=40))
def test_pieces_of_any_size_give_the_same(places: list[int]) -> None:
    presence = "<presence to='ann@example.org' from='ann@example.org/phone' xmlns='jabber:client'/>"
    whole = (
        HEADER
        + (
            "<handshake/>" + wrapped(MESSAGE) + " \n" + wrapped(presence) + ROOM + wrapped(MESSAGE) + "</stream:stream>"
        ).encode()
    )
    items = read(cut(whole, places), opened=True)
    assert items[:2] == [Opened("42"), Accepted()]
    assert stanzas_in(items) == [MESSAGE, presence, MESSAGE]
    assert [type(item) for item in items[2:]] == [StanzaCopy, StanzaCopy, Direct, StanzaCopy, Broken]
    (room,) = (item for item in items if isinstance(item, Direct))
    assert room.said is not None
    assert room.stanza.sender == "team@conference.example.org"
    assert (room.said.sender, room.said.xml in ROOM) == ("team@conference.example.org/Rob", True)


def test_a_copy_has_the_stanza_within_as_it_came() -> None:
    (item,) = read([wrapped(MESSAGE).encode()])
    assert isinstance(item, StanzaCopy)
    found = item.stanza
    assert (item.host, found.kind, found.sender, found.receiver) == (
        HOST,
        "message",
        "ann@example.org/phone",
        "bob@example.org",
    )
    assert (found.xml, found.element.findtext(BODY), found.element.get("id")) == (MESSAGE, "hi <there>", "m1")


@pytest.mark.parametrize("inner", [MESSAGE, MESSAGE.replace("<body>hi &lt;there&gt;</body></message>", "</message >")])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("<forwarded a='>' xmlns='urn:xmpp:forward:0'>", "</forwarded >"),
        ("<f:forwarded xmlns:f='urn:xmpp:forward:0'><!-- <forwarded> -->", " </f:forwarded>"),
    ],
)
def test_the_stanza_within_ends_where_the_parser_says(start: str, end: str, inner: str) -> None:
    (item,) = read([f"<message to='{NAME}' from='{HOST}'>{start}{inner}{end}</message>".encode()])
    assert stanzas_in([item]) == [inner]
    room = ROOM.replace("<item id='7'>", "<item id='>'>").replace("</item>", "\n</item >")
    (item,) = read([room.encode()])
    assert isinstance(item, Direct)
    assert item.said is not None
    assert item.said.xml == ROOM.partition("<item id='7'>")[2].partition("</item>")[0]


@pytest.mark.promise
@pytest.mark.parametrize(
    "outer",
    [
        wrapped(MESSAGE, host="example.com"),
        wrapped(MESSAGE, host="ann@example.org"),
        wrapped(MESSAGE, host="example.org/x"),
        wrapped(MESSAGE, host="ann@example.org/phone"),
        wrapped(MESSAGE, to=f"bot@{NAME}"),
        wrapped(MESSAGE, to=f"{NAME}/x"),
    ],
)
def test_stanza_not_from_a_host_to_the_name_is_no_copy(outer: str) -> None:
    (item,) = read([outer.encode()])
    assert isinstance(item, Direct)
    assert item.said is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        MESSAGE + MESSAGE,
        "<forwarded/>",
        "<message from='a@b/c' to='d@e' xmlns='urn:other'/>",
        "<stanza from='a@b/c' to='d@e' xmlns='jabber:client'/>",
    ],
)
def test_a_wrapper_around_anything_else_is_no_copy(content: str) -> None:
    items = read([wrapped(content).encode(), wrapped(MESSAGE).encode()])
    assert stanzas_in(items) == [MESSAGE]
    assert len(items) == 2


@pytest.mark.promise
def test_nothing_is_kept_of_an_iq_within_a_copy() -> None:
    query = "<query xmlns='jabber:iq:register'><username>ann</username><password>hidden</password></query>"
    for inner in (
        f"<iq to='example.org' from='ann@example.org/x' type='set' id='1' xmlns='jabber:client'>{query}</iq>",
        f"<iq to='{HOST}' from='ann@example.org/x' type='set' xmlns='jabber:client'><body>hidden</body></iq>",
    ):
        parser = StreamParser(NAME, frozenset({HOST}), LIMIT)
        parser.feed(HEADER)
        assert parser.feed(wrapped(inner).encode()) == []
        assert "hidden" not in repr(attrs.asdict(parser, recurse=False))


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.text(max_size=3000))
def test_any_text_is_read_as_it_was_written(resource: str, body: str) -> None:
    kept = "".join(
        sign for sign in body if sign >= " " and not "\ud800" <= sign <= "\udfff" and sign not in "\ufffe\uffff"
    )
    sender = f"ann@example.org/{resource}"
    inner = (
        f"<message from={quoteattr(sender)} to='bob@example.org' xmlns='jabber:client'>"
        f"<x><body>not this</body></x><body>{escape(kept)}</body><body>nor this</body></message>"
    )
    (item,) = read([wrapped(inner).encode()])
    assert isinstance(item, StanzaCopy)
    assert (item.stanza.sender, item.stanza.xml) == (sender, inner)
    assert (item.stanza.element.findtext(BODY) or "") == kept


_NAMES = st.sampled_from(
    ["message", "presence", "iq", "body", "stream:error", "handshake", "item xmlns='jabber:client'", "x xmlns='urn:x'"]
    + ["forwarded xmlns='urn:xmpp:forward:0'", "message xmlns='jabber:client'", "iq xmlns='jabber:client'"]
    + [f"{name} xmlns='http://jabber.org/protocol/pubsub#event'" for name in ("event", "items", "item")]
    + [f"message from='{HOST}' to='{NAME}'", "message from='a@b/c' to='d@e' xmlns='jabber:client'"]
)
_ELEMENTS = st.recursive(
    st.tuples(_NAMES, st.just("")).map(lambda pair: f"<{pair[0]}/>"),
    lambda inner: st.tuples(_NAMES, st.lists(inner, max_size=3)).map(
        lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0].split()[0]}>"
    ),
    max_leaves=12,
)


@given(st.lists(_ELEMENTS, min_size=1, max_size=4))
def test_any_elements_are_read_and_the_copy_behind_them(elements: list[str]) -> None:
    items = read(["".join(elements).encode(), wrapped(MESSAGE).encode()])
    if not any(isinstance(item, Broken) for item in items):
        assert stanzas_in(items[-1:]) == [MESSAGE]
    else:
        assert any(element.startswith("<stream:error") for element in elements)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_no_bytes_raise_and_nothing_follows_the_end(data: bytes, places: list[int]) -> None:
    for begin in (b"", HEADER, HEADER + wrapped(MESSAGE)[:150].encode()):
        items = read(cut(begin + data, places), opened=True)
        assert [type(item) for item in items].count(Broken) <= 1
        if Broken in [type(item) for item in items]:
            assert isinstance(items[-1], Broken)


@pytest.mark.promise
@pytest.mark.parametrize(
    ("inner", "size"),
    [
        ("<message from='a@example.org/x' to='b@c' xmlns='jabber:client'><body>{}</body></message>", 1),
        ("<message from='a@example.org/x' to='b@c' id='{}' xmlns='jabber:client'/>", 1),
        ("<presence from='a@example.org/x' to='b@c' xmlns='jabber:client'><{}/></presence>", 1),
        ("<message from='a@example.org/x' to='b@c' xmlns='jabber:client'><x a='/&gt;'/>{}</message>", 1),
        ("<message from='a@example.org/x' to='b@c' xmlns='jabber:client'><x>{}</x></message>", 1),
    ],
)
@given(places=st.lists(st.integers(0, 400_000), max_size=30))
def test_a_stanza_above_the_limit_is_skipped_alone(inner: str, size: int, places: list[int]) -> None:
    large = wrapped(inner.format("x" * size * 3 * LIMIT))
    text = (wrapped(MESSAGE) + large + wrapped(MESSAGE) + ROOM + large + wrapped(MESSAGE)).encode()
    # In pieces as they are received, so that the bound counts.
    pieces = [part for piece in cut(text, places) for part in cut(piece, range(0, len(piece), 65_536))]
    items = read(pieces)
    assert stanzas_in(items) == [MESSAGE] * 3
    assert [item for item in items if isinstance(item, Skipped)] == [Skipped("length")] * 2
    assert [type(item) for item in items].count(Direct) == 1


@pytest.mark.promise
@pytest.mark.parametrize("piece", [1000, 65_536])
def test_skipped_element_brings_no_stanza(piece: int) -> None:
    forged = wrapped("<message from='king@example.org/x' to='a@example.org' xmlns='jabber:client'/>")
    for attribute in ("id='/>'", "id='>'", "id='</message>'".replace("<", "&lt;"), 'id="\'/>"'):
        large = f"<message {attribute} from='eve@example.org/x' to='{NAME}'>{forged}<p>{'x' * 3 * LIMIT}</p></message>"
        within = wrapped(
            f"<message from='e@example.org/x' to='b@c' xmlns='jabber:client'><z q='a>b'/>{large}</message>"
        )
        text = (large + wrapped(MESSAGE) + within + wrapped(MESSAGE)).encode()
        items = read(cut(text, range(0, len(text), piece)))
        assert [type(item) for item in items] == [Skipped, StanzaCopy, Skipped, StanzaCopy]
        assert stanzas_in(items) == [MESSAGE] * 2


def test_a_tag_without_an_end_ends_the_stream() -> None:
    items = read([b"<message id='", *[b"x" * 1024 * 1024] * 20, b"'/>"])
    assert [type(item) for item in items] == [Broken]


@pytest.mark.promise
def test_undeclared_prefix_stops_nothing() -> None:
    inner = MESSAGE.replace("<body>", "<e:x e:y='1'><e:z/></e:x><body>")
    (first, second) = read([wrapped(inner).encode(), wrapped(MESSAGE).encode()])
    assert isinstance(first, StanzaCopy)
    assert (first.stanza.xml, first.stanza.element.findtext(BODY)) == (inner, "hi <there>")
    assert stanzas_in([second]) == [MESSAGE]


@pytest.mark.promise
@pytest.mark.parametrize(
    ("bad", "read_as"),
    [
        (b"\x01\x1f\x00", "???"),
        ("\ufffe\uffff".encode(), "??????"),
        (b"\xef\xbf\xbd\xf4\x8f\xbf\xbf", "\ufffd\U0010ffff"),
        (b"\xed\xa0\x80\xed\xbf\xbf", "??????"),
        (b"\xc0\x80\xe0\x80\xaf\xf0\x80\x80\xaf", "?????????"),
        (b"\xf4\x90\x80\x80\xff\x80", "??????"),
        (b"\xe2\x82\xc3", "???"),
        (b"a]]>]]]>]", "a]]?]]]?]"),
    ],
)
def test_bytes_that_xml_forbids_are_replaced(bad: bytes, read_as: str) -> None:
    """Each by one, so that the ends of stanzas stay where they are; also where two pieces meet within a character."""
    first, second = wrapped(MESSAGE.replace("hi", "hi{}")).encode().split(b"{}"), wrapped(MESSAGE).encode()
    data, begin = bad.join(first) + second, len(first[0])
    for at in range(begin, begin + len(bad) + 1):
        items = read([data[:at], data[at:]])
        assert stanzas_in(items) == [MESSAGE.replace("hi", f"hi{read_as}"), MESSAGE]
        assert isinstance(items[0], StanzaCopy)
        assert items[0].stanza.element.findtext(BODY) == f"hi{read_as} <there>"


def test_cdata_sections_end_where_they_say() -> None:
    data = wrapped(MESSAGE.replace("hi", "<![CDATA[h]]]>]]><![CDATA[]]]]><![CDATA[>i]]>")).encode()
    for places in (range(0), range(0, len(data), 1)):
        (item,) = read(cut(data, places))
        assert isinstance(item, StanzaCopy)
        assert item.stanza.element.findtext(BODY) == "h]]]?]]>i <there>"


def deep(levels: int, inner: str = "", given: str = "") -> str:
    return "".join(f"<a{given.format(number)}>" for number in range(levels)) + inner + "</a>" * levels


def _texts(element: ET.Element) -> list[tuple[str, str | None, str | None]]:
    return [(element.tag, element.text, element.tail) for element in element.iter()]


@pytest.mark.promise
@pytest.mark.parametrize(
    ("below", "kept"),
    [
        *(("<x/>", ""), ("<x></x >", ""), ("<x>/></x>", ""), ("<x a='/'><y/></x>", ""), ("<x><!-- /--></x>", "")),
        *((deep(4000), ""), ("<x>\xe9</x>", ""), ("<x/>t<x/>\xe9", "t\xe9")),
    ],
)
def test_what_nests_too_deep_is_left_out_alone(below: str, kept: str) -> None:
    """As if it had not been written: in the tree and in the text, which stays XML, of each stanza that can come."""
    for kind in ("message", "presence", "iq"):
        inner = f"<{kind} from='a@{HOST}/x' to='b@c' xmlns='jabber:client'><body>hi</body>{{}}<z/></{kind}>"
        text = inner.format(deep(97, f"v{below}w"))
        data = (wrapped(text) + wrapped(MESSAGE)).encode()
        for places in (range(0), range(0, len(data), 7)):
            items = read(cut(data, places))
            xml = inner.format(deep(97, f"v{kept}w"))
            assert items[0] == Skipped("depth")
            assert stanzas_in(items) == ([xml] if kind != "iq" else []) + [MESSAGE]
            if isinstance(items[1], StanzaCopy) and kind != "iq":
                assert _texts(items[1].stanza.element) == _texts(ET.fromstring(xml))  # noqa: S314  ours


@pytest.mark.promise
def test_depth_is_bounded_for_rooms_and_the_component_itself() -> None:
    said = MESSAGE.replace("<body>", f"{deep(3000)}<body>")
    skipped, room = read([ROOM.replace("</body>", f"</body>{deep(3000)}").encode()])
    assert (skipped, isinstance(room, Direct) and room.said is not None) == (Skipped("depth"), True)
    skipped, direct = read([said.replace("xmlns='jabber:client'", "").encode()])
    assert skipped == Skipped("depth")
    assert isinstance(direct, Direct)
    assert direct.stanza.element.findtext("{jabber:component:accept}body") == "hi <there>"
    # One level less leaves nothing out.
    (item,) = read([wrapped(MESSAGE.replace("<body>", f"{deep(97)}<body>")).encode()])
    assert isinstance(item, StanzaCopy)


@pytest.mark.promise
@pytest.mark.parametrize("inner", [deep(8000, given=" xmlns:p{}='u'"), deep(97).replace("<a>", "<a PP>", 1)])
def test_prefixes_take_memory_once_not_for_each_level(inner: str) -> None:
    inner = inner.replace("PP", " ".join(f"xmlns:p{number}='u'" for number in range(3000)))
    inner = inner.replace("<a>", "<a xmlns:q='v'>")
    data = wrapped(MESSAGE.replace("<body>", f"{inner}<body>")).encode()
    tracemalloc.start()
    try:
        item = read([data], limit=1 << 20)[-1]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(item, StanzaCopy)
    assert peak_bytes < 4_000_000


def test_a_prefix_is_known_within_its_element_only() -> None:
    inner = (
        "<e:a/><x xmlns:e='urn:e'><e:b/><y xmlns:e='urn:f' xmlns='urn:y' xmlnse='urn:g'><e:c/><d/></y><e:f/></x><e:g/>"
    )
    (item,) = read([wrapped(MESSAGE.replace("<body>", f"{inner}<body>")).encode()])
    assert isinstance(item, StanzaCopy)
    tags = [element.tag for element in item.stanza.element.iter()][1:-1]
    names = ["e:a", "{c}x", "{urn:e}b", "{urn:y}y", "{urn:f}c", "{urn:y}d", "{urn:e}f", "e:g"]
    assert tags == [name.replace("{c}", "{jabber:client}") for name in names]


def test_endless_nesting_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stanzas, "_MOST_BELOW", 50_000)
    items = read([b"<message>", *[b"<a>" * 20_000] * 5])
    assert [type(item) for item in items] == [Broken]


@given(st.lists(st.integers(0, 5_000), max_size=9))
def test_names_are_forgotten_and_nothing_is_missed(places: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stanzas, "_MOST_NAMES", 20)
        messages = [MESSAGE.replace("<body>", f"<n{number}/><stream:x/><body>") for number in range(15)]
        data = "".join(map(wrapped, messages)).encode() + b"</stream:stream>"
        parser = StreamParser(NAME, frozenset({HOST}), LIMIT)
        parser.feed(HEADER)
        items = [item for piece in cut(data, places) for item in parser.feed(piece)]
    assert stanzas_in(items) == messages
    assert items[-1] == Broken("the server ended it")
    assert len(parser._names) <= 40  # noqa: SLF001  what is kept


@pytest.mark.parametrize("piece", [1, 1000])
def test_odd_servers_bytes_break_the_stream_at_most(piece: int) -> None:
    beat = f"<message from='{NAME}' to='{NAME}' id='1'/>"
    ended = f"<stream:error><conflict/></stream:error>{beat}</stream:stream>".encode()
    assert read(cut(ended, range(0, len(ended), piece))) == [Broken("conflict")]
    for more in ("</message", "</messages>", "</message>"):
        doubled = f"{beat}{more}".encode()
        item, *rest = read(cut(doubled, range(0, len(doubled), piece)))
        assert isinstance(item, Direct)
        assert item.stanza.xml == beat
        assert [type(item) for item in rest] == [Broken] * more.endswith(">")


@pytest.mark.promise
@pytest.mark.parametrize(
    "written", ["bob@EXAMPLE.org", "BOB@example.org", "bo\u00adb@example.org", "bo\u200cb@example.org"]
)
def test_addresses_are_read_as_the_server_reads_them(written: str) -> None:
    (item,) = read([wrapped(MESSAGE.replace("bob@example.org", written)).encode()])
    assert isinstance(item, StanzaCopy)
    assert item.stanza.receiver == "bob@example.org"


def test_no_more_is_kept_than_the_limit_and_one_piece() -> None:
    parser = StreamParser(NAME, frozenset({HOST}), LIMIT)
    parser.feed(HEADER)
    parser.feed(wrapped(MESSAGE).partition("hi")[0].encode())
    for _ in range(100):
        parser.feed(b"x" * 10_000)
        assert len(parser._buffer) <= LIMIT + 10_000  # noqa: SLF001  what is kept
    assert parser._buffer == b""  # noqa: SLF001  what is kept


@pytest.mark.promise
@pytest.mark.parametrize(
    "bad",
    [
        "<!DOCTYPE x [<!ENTITY a 'b'>]>",
        "<message>&unknown;</message>",
        "<message></presence>",
        "</stream:stream>",
        "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    ],
)
def test_invalid_xml_ends_it_after_what_came_before(bad: str) -> None:
    items = read([(wrapped(MESSAGE) + bad + wrapped(MESSAGE)).encode(), wrapped(MESSAGE).encode()])
    assert stanzas_in(items[:1]) == [MESSAGE]
    assert [type(item) for item in items] == [StanzaCopy, Broken]


def test_entities_are_refused_before_the_stream_begins() -> None:
    bomb = b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'ccc'><!ENTITY d '&b;&b;'>]>" + HEADER[21:]
    assert [type(item) for item in read([bomb], opened=True)] == [Broken]
    for other in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"<html><body/></html>"):
        assert [type(item) for item in read([other], opened=True)] == [Broken]
    fault = b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    assert read([HEADER.replace(b" id='42'", b""), fault], opened=True) == [Broken("host-unknown")]


@pytest.mark.promise
@pytest.mark.parametrize("jid", ["", "@example.org", "a@", "a b@c", "a@b@c", "a@b/", "x" * 4000, "a@b\u2028c"])
def test_an_impossible_address_is_skipped_alone(jid: str) -> None:
    inner = f"<message from={quoteattr(jid)} to='bob@example.org' xmlns='jabber:client'><body>x</body></message>"
    assert read([wrapped(inner).encode(), wrapped(MESSAGE).encode()])[0] == Skipped("address")
    assert read([f"<message from={quoteattr(jid)} to='{NAME}'/>".encode()]) == [Skipped("address")]


def test_an_empty_stanza_right_before_the_end_is_read() -> None:
    beat = f"<message from='{NAME}' to='{NAME}' id='1'/>"
    items = read([f"{beat}</stream:stream>".encode()])
    assert [type(item) for item in items] == [Direct, Broken]
    assert isinstance(items[0], Direct)
    assert items[0].stanza.xml == beat
