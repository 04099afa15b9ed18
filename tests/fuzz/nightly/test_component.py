"""Whatever a server sends a component, in whatever pieces: the same items, of well-formed XML, or the stream's end."""

from typing import Final
from xml.etree import ElementTree as ET

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from restbroker.servers.component.stanzas import Broken, Direct, StanzaCopy, StreamParser

NAME: Final = "events.example.org"
HOST: Final = "example.org"
FACES: Final = b"<message to='%b' from='%b'>" % (NAME.encode(), HOST.encode())
STREAMS: Final = b"http://etherx.jabber.org/streams"
STARTS: Final = (
    b"<?xml version='1.0'?><stream:stream id='42' xmlns:stream='%b' xmlns='jabber:component:accept'>" % STREAMS,
    b"<x:stream xmlns:x='%b' xmlns='jabber:component:accept'>" % STREAMS,
)
_TAGS: Final = (b"a", b"message", b"forwarded", b"stream:stream", b"x:stream", b"stream:error", b"handshake", b"p:q")
_ATTRIBUTES: Final = (
    *(b"", b" a='1'", b" a='/'", b" a='/&gt;'", b" a='>'", b" xmlns='u'", b" xmlns:p='u'", b" xmlns:='v'", b" p:a=''"),
    *(b" xmlns='jabber:client' from='a@b/c' to='d@e'", b" xmlns='urn:xmpp:forward:0'", b" xmlnsp='w'", b" id='\xef'"),
)
_TEXTS: Final = (
    *(b"/", b">", b"/>", b"]]>", b"&amp;", b"&#65534;", b"&x;", b"<!-- /-->", b"<!--/>", b"<?p /?>", b"<![CDATA[/>]]>"),
    *(b"<", b"</", b"</message", b"</a", b"<!DOCTYPE a>", b"\x00", b"\x1b", b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xed"),
    *(
        b"\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98\x80",
        b"\xc3\xa9",
        b"\xef\xbf",
        b"\xff",
        b"\xe2\x82",
    ),
)
_WHOLES: Final = (
    *(b"<message from='a@b' to='e.x'/>", b"<message/>", b"<iq></iq>", b"<presence >/></presence>", b"</stream:stream>"),
    *(b"<stream:error><a/></stream:error>", FACES + b"</message>", b"</message", b"</x:stream>", b" ", b"<handshake/>"),
    FACES + b"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='a@b/c' to='d@e'/></forwarded>",
)
_pieces = st.one_of(
    st.sampled_from(_WHOLES),
    st.sampled_from(_WHOLES),
    st.builds(lambda tag, given: b"<%b%b>" % (tag, given), st.sampled_from(_TAGS), st.sampled_from(_ATTRIBUTES)),
    st.builds(lambda tag, given: b"<%b%b/>" % (tag, given), st.sampled_from(_TAGS), st.sampled_from(_ATTRIBUTES)),
    st.builds(lambda tag: b"</%b>" % tag, st.sampled_from(_TAGS)),
    st.sampled_from(_TEXTS),
    st.builds(
        lambda count, inner: FACES + b"<a>" * count + inner + b"</a>" * count + b"</message>",
        st.integers(96, 130),
        st.sampled_from(
            (b"", b"x", b"<b/>", b"<b/>y<b></b>", b"<b>/></b>", b"<b><!--/--></b>z", b"<b a='/'><c/></b >")
        ),
    ),
    st.binary(max_size=8),
)
_streams = st.builds(
    lambda start, pieces: start + b"".join(pieces), st.sampled_from(STARTS), st.lists(_pieces, max_size=8)
)
_HOSTS: Final = frozenset({HOST})


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _read(pieces: list[bytes], limit_bytes: int = 1 << 20) -> list[object]:
    """The items, as they can be compared; each stanza is the XML that it was made of, and nothing follows the end."""
    parser = StreamParser(NAME, _HOSTS, limit_bytes)
    items = [item for piece in pieces for item in parser.feed(piece)]
    assert Broken not in {type(item) for item in items[:-1]}
    shown: list[object] = []
    for item in items:
        match item:
            case StanzaCopy(_, stanza) | Direct(stanza, _):
                # Prefixes may be declared in the stream, or nowhere.
                ET.fromstring(stanza.xml.replace(":", "_"))  # noqa: S314  it declares no entity
                shown.append((type(item), stanza.xml, ET.tostring(stanza.element)))
            case _:
                shown.append(attrs.astuple(item))
    return shown


@settings(max_examples=4000)
@given(_streams, st.lists(st.integers(0, 2000), max_size=6))
def test_any_split_of_any_bytes_gives_the_same_items(data: bytes, places: list[int]) -> None:
    whole = _read([data])
    assert _read(_cut(data, places)) == whole
    assert _read([data[at : at + 1] for at in range(len(data))]) == whole


@settings(max_examples=2000)
@given(_streams, st.lists(st.integers(0, 2000), max_size=6), st.integers(0, 400))
def test_no_bytes_raise_above_any_limit(data: bytes, places: list[int], limit_bytes: int) -> None:
    _read(_cut(data, places), limit_bytes)
