"""The stream of a component: what is read of it, whatever the pieces are and whatever is in it."""

from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.component.stanzas import (
    Accepted,
    Broken,
    Copy,
    Direct,
    Item,
    Opened,
    Skipped,
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
    return [item.stanza.xml for item in items if isinstance(item, Copy)]


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
    assert [type(item) for item in items[2:]] == [Copy, Copy, Direct, Copy, Broken]
    (room,) = (item for item in items if isinstance(item, Direct))
    assert room.said is not None
    assert room.stanza.sender == "team@conference.example.org"
    assert (room.said.sender, room.said.xml in ROOM) == ("team@conference.example.org/Rob", True)


def test_a_copy_has_the_stanza_within_as_it_came() -> None:
    (item,) = read([wrapped(MESSAGE).encode()])
    assert isinstance(item, Copy)
    found = item.stanza
    assert (item.host, found.kind, found.sender, found.receiver) == (
        HOST,
        "message",
        "ann@example.org/phone",
        "bob@example.org",
    )
    assert (found.xml, found.element.findtext(BODY), found.element.get("id")) == (MESSAGE, "hi <there>", "m1")


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
    kept = "".join(one for one in body if one >= " " and not "\ud800" <= one <= "\udfff" and one not in "\ufffe\uffff")
    sender = f"ann@example.org/{resource}"
    inner = (
        f"<message from={quoteattr(sender)} to='bob@example.org' xmlns='jabber:client'>"
        f"<x><body>not this</body></x><body>{escape(kept)}</body><body>nor this</body></message>"
    )
    (item,) = read([wrapped(inner).encode()])
    assert isinstance(item, Copy)
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
        assert [type(item) for item in items] == [Skipped, Copy, Skipped, Copy]
        assert stanzas_in(items) == [MESSAGE] * 2


def test_a_tag_without_an_end_ends_the_stream() -> None:
    items = read([b"<message id='", *[b"x" * 1024 * 1024] * 20, b"'/>"])
    assert [type(item) for item in items] == [Broken]


@pytest.mark.promise
def test_undeclared_prefix_stops_nothing() -> None:
    inner = MESSAGE.replace("<body>", "<e:x e:y='1'><e:z/></e:x><body>")
    (first, second) = read([wrapped(inner).encode(), wrapped(MESSAGE).encode()])
    assert isinstance(first, Copy)
    assert (first.stanza.xml, first.stanza.element.findtext(BODY)) == (inner, "hi <there>")
    assert stanzas_in([second]) == [MESSAGE]


def test_characters_that_xml_forbids_are_replaced() -> None:
    first, second = read([wrapped(MESSAGE.replace("hi", "h\x01\x1fi")).encode(), wrapped(MESSAGE).encode()])
    assert isinstance(first, Copy)
    assert first.stanza.element.findtext(BODY) == "h??i <there>"
    assert stanzas_in([second]) == [MESSAGE]


@pytest.mark.promise
@pytest.mark.parametrize(
    "written", ["bob@EXAMPLE.org", "BOB@example.org", "bo\u00adb@example.org", "bo\u200cb@example.org"]
)
def test_addresses_are_read_as_the_server_reads_them(written: str) -> None:
    (item,) = read([wrapped(MESSAGE.replace("bob@example.org", written)).encode()])
    assert isinstance(item, Copy)
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
    assert [type(item) for item in items] == [Copy, Broken]


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
