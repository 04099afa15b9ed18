"""What programs post becomes an event as the map says; nothing that comes can do more than that."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.config.events import EventSource
from restbroker.events.deliver import incoming_event
from restbroker.job.event import EVENT_MEMBERS
from restbroker.servers.event_contract import HookRequest, MalformedEvent, PostedEvent, UnknownMediaType
from restbroker.servers.webhook.hook import open_hook
from restbroker.servers.webhook.options import Options
from tests.support.rows import rows

JSON: Final = "application/json"
SECRET: Final = "a-secret-of-many-letters"


def read(
    posted: object,
    media_type: str = JSON,
    query: str = "",
    below: str = "",
    headers: Mapping[str, str | bytes] = {},
    **of: Any,
) -> PostedEvent:
    """The event of a body: bytes, or what becomes JSON; `of`: the options, where one place may stand for a list."""
    options: dict[str, Any] = {name: _listed(value) if name == "map" else value for name, value in of.items()}
    content = posted if isinstance(posted, bytes) else json.dumps(posted).encode()
    all_headers = {"Content-Type": media_type, **headers}
    head = {name.lower().encode(): _raw(value) for name, value in all_headers.items()}
    path = f"/p/{below}" if below else "/p"
    request = HookRequest(
        "POST", path, path.encode(errors="surrogateescape"), query.encode(), head, content, below=below
    )
    return open_hook(EventSource(kind="webhook", options=Options(**options))).read(request, "src", 1.5)


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _listed(map_: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: (places,) if isinstance(places, str) else tuple(places) for name, places in map_.items()}


def found(place: str | list[str], body: object, **more: Any) -> Any:
    return read(body, map={"it": place}, **more).event.more["it"]


@rows(
    ("place", "value"),
    [
        ("/a/b", 1), ("/a/c", None), ("/list/1", "y"), ("/list/2", None), ("/list/-1", None), ("/list/01", "y"),
        ("/x~1y/~0", True), ("/", "empty"), ("/a", {"b": 1}), ("=hello: you", "hello: you"), ("header:x-one", "1"),
        ("header:X-One", "1"), ("header:X-Two", None), ("query:q", "a b"), ("query:none", None), ("path", "room/made"),
        ("path:0", "room"), ("path:1", "made"), ("path:2", None), (["/none", "/a/b"], 1), (["/none", "=else"], "else"),
        ("/all/*/a/b", "1\n2"), ("/all/*", "z"), ("/all/*/c", None), ("/a/*", None), ("/*", None), ("/list/*", "x\ny"),
        ("/lines/*", "one\ntwo"), (["/all/*/a/b", "/all/*"], "1\nz\n2"), (["/all/*/c", "/a/b", "/all/*"], 1),
        (["/all/*/a", "/all/*/a/b"], "1\n2"), (["/deep/*/in/*/x", "/deep/*/in/*/y"], "1\n2\n3"),
    ],
)  # fmt: skip
def test_a_place_finds_what_is_there_or_null(place: str | list[str], value: object) -> None:
    body: dict[str, Any] = {"a": {"b": 1}, "list": ["x", "y"], "x/y": {"~": True}, "": "empty"}
    body["all"] = [{"a": {"b": 1}}, "z", {"a": {"b": 2}}]
    body["lines"] = ["one\n", " \n", "two\n"]
    body["deep"] = [{"in": [{"x": 1}, {"x": " ", "y": 2}]}, {"in": [{"y": 3}]}]
    found = read(body, query="q=a%20b&q=c", below="room/made", headers={"X-One": "1"}, map={"it": place})
    assert found.event.more == {"it": value}
    assert found.unmapped == (("it",) if value is None else ())


@rows(
    ("place", "value"),
    [
        ("/m/@to", "b@d"), ("/m/body", "hi & so"), ("/m/n", {"@a": "1", "k": "v"}), ("/m/n/k", "v"), ("/m/e", ""),
        ("/m/x:y/@x:z", "3"), ("/other", None),
    ],
)  # fmt: skip
def test_xml_is_found_by_element_and_attribute(place: str, value: object) -> None:
    body = (
        b"<?xml version='1.0'?><m to='b@d' xmlns:x='u'><body>hi &amp; so</body><body>2</body><n a='1'> <k>v</k></n><e/>"
        b"<x:y x:z='3'/></m>"
    )
    assert found(place, body, media_type="text/xml; charset=utf-8") == value


def test_element_with_attributes_is_the_text_of_an_event_member() -> None:
    assert read(b"<m><body a='1'>hi</body></m>", "application/xmpp+xml", map={"body": "/m/body"}).event.body == "hi"


@rows(
    ("value", "text"), [("a", "a"), (1, "1"), (1.5, "1.5"), (True, "true"), (None, None), ({"a": 1}, None), ([1], None)]
)
def test_members_of_all_events_are_texts(value: object, text: str | None) -> None:
    assert read({"v": value}, map={"from": "/v"}).event.sender == text


@rows(
    ("word", "type_"),
    [("in", "joined"), ("other.word:1/2", "other.word:1/2"), ("two words", "notify"), (None, "notify")],
)
def test_a_type_is_the_senders_word_or_ours_for_it(word: str | None, type_: str) -> None:
    assert read({"t": word}, map={"type": "/t"}, types={"in": "joined"}).event.type == type_


def test_room_and_server_lack_the_rest_of_their_address() -> None:
    event = read({"r": "Tea@rooms.example.org/Ann"}, map={"room": "/r"}).event
    assert (event.room, event.server) == ("Tea@rooms.example.org", "rooms.example.org")
    assert read({"t": "b@d/x"}, map={"to": "/t"}).event.server == "d"


def test_raw_is_what_came_without_what_is_dropped() -> None:
    body = {"mail": 1, "all": [{"mail": 2, "n": 3}, {"mail": 4}], "sub": {"x": {"mail": 5}}}
    assert read(body).event.raw == body
    dropped = read(body, drop=("/mail", "/all/*/mail", "/sub/*/mail", "/none/x", "/all/1")).event.raw
    assert dropped == {"all": [{"n": 3}], "sub": {"x": {}}}
    assert read(b"a=1&b=2&a=3", "application/x-www-form-urlencoded", drop=("/b",)).event.raw == {"a": "1"}
    assert read(b"<m/>", "text/xml", drop=("/m",)).event.raw is None
    assert read(b"hi", "text/plain").event.raw == {"text": "hi"}
    assert read(b"<m/>", "text/xml").event.raw == {"xml": "<m/>"}


def test_a_body_is_read_as_the_file_says_where_the_type_lies() -> None:
    assert read(b'{"a": 1}', "application/x-www-form-urlencoded", body="json").event.raw == {"a": 1}
    assert read(b'{"a": 1}', "", body="json").event.raw == {"a": 1}


@rows("media_type", ["", "multipart/form-data", "application/octet-stream", "json", "application/jsonx"])
def test_other_media_types_are_not_read(media_type: str) -> None:
    with pytest.raises(UnknownMediaType):
        read(b"{}", media_type)


@rows(
    ("media_type", "body"),
    [
        (JSON, b""), (JSON, b"{"), (JSON, b"\xff"), (JSON, b'"\\ud800"'), (JSON, b"NaN"), (JSON, b"1" * 5000),
        (JSON, b"[" * 101 + b"]" * 101), ("text/plain", b"\xff"), ("text/xml", b"<a>"), ("text/xml", b"<a/><b/>"),
        ("text/xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), ("text/xml", b"<a>" * 101 + b"</a>" * 101),
        ("text/xml", b"<x:a/>"), ("application/x-www-form-urlencoded", b"&" * 1000),
    ],
)  # fmt: skip
def test_unreadable_body_is_malformed(media_type: str, body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read(body, media_type)


FORM: Final = "application/x-www-form-urlencoded"
NAME: Final = "Jürgen"


@rows(
    ("media_type", "body", "key"),
    [
        (FORM, b"name=J%C3%BCrgen", None),
        (FORM, b"name=J\xc3\xbcrgen", None),
        (FORM, b"name=J%FCrgen", "iso-8859-1"),
        (FORM, b"name=J%FCrgen&charset=windows-1252", None),
        (FORM, b"charset=Cp1252&name=J\xfcrgen", None),
        (f"{FORM}; charset=ISO-8859-1", b"name=J\xfcrgen", None),
        (f'{FORM};Charset="utf-8"', b"name=J%C3%BCrgen", None),
        (f"{FORM}; charset=ISO-8859-1", b"name=J%FCrgen&charset=utf-8", "koi8-r"),
        (f"{FORM};charset=", b"name=J%C3%BCrgen", None),
        (f"{FORM}; x=1; charset = 'iso_8859-15' ; y=2", b"name=J%FCrgen", None),
        (FORM, b"\xef\xbb\xbfname=J%C3%BCrgen", None),
        (FORM, b"%EF%bb%BFname=J%C3%BCrgen", None),
        (FORM, b"name=J%FCrgen&charset=utf-8", "windows-1252"),
        (f"{FORM}; charset=utf-16", "name=Jürgen".encode("utf-16"), None),
        (f"{FORM}; charset=utf-16", "name=J%C3%BCrgen".encode("utf-16"), None),
        (FORM, b"name=J%C3%BCrgen&charset=", None),
        ("text/plain", NAME.encode(), None),
        ("text/plain", NAME.encode("utf-8-sig"), None),
        ("text/plain; charset=latin1", NAME.encode("latin-1"), None),
        ("text/plain", NAME.encode("utf-16"), "utf-16"),
        ("text/plain; charset=UTF-16", b"\xfe\xff" + NAME.encode("utf-16-be"), None),
        ("text/xml", b"<?xml version='1.0' encoding='ISO-8859-1'?><name>J\xfcrgen</name>", None),
        ("text/xml; charset=utf-8", "<?xml version='1.0' encoding='ISO-8859-1'?><name>Jürgen</name>".encode(), None),
        ("text/xml", b"<name>J\xfcrgen</name>", "windows-1252"),
        ("text/xml", b"\xef\xbb\xbf<name>J\xc3\xbcrgen</name>", None),
        (
            "text/xml; charset=utf-16",
            "<?xml version='1.0' encoding='UTF-16'?><name>Jürgen</name>".encode("utf-16"),
            None,
        ),
        (JSON, b'{"name": "J\xc3\xbcrgen"}', "windows-1252"),
        (f"{JSON}; charset=ISO-8859-1", b'{"name": "J\xc3\xbcrgen"}', None),
    ],
)
def test_a_text_is_what_its_sender_wrote(media_type: str, body: bytes, key: str | None) -> None:
    assert found(["/name", "/#text"], body, media_type=media_type, charset=key) == NAME


UNDEFINED: Final = {
    **{f"iso-8859-{part}": b"" for part in (1, 2, 4, 5, 9, 10, 13, 14, 15, 16)},
    "iso-8859-3": b"\xa5",
    "iso-8859-6": b"\xa1",
    "iso-8859-7": b"\xae",
    "iso-8859-8": b"\xa1",
    "iso-8859-11": b"\xdb",
    "windows-1250": b"\x81",
    "windows-1251": b"\x98",
    "windows-1252": b"\x81",
    "windows-1253": b"\x81",
    "windows-1254": b"\x81",
    "windows-1255": b"\x81",
    "windows-1256": b"",
    "windows-1257": b"\x81",
    "windows-1258": b"\x8a",
    "koi8-r": b"",
    "us-ascii": b"\x80",
    "utf-8": b"\xc0",
    "utf-16": b"\xff\xfe\x00\xd8",
}
"""A byte that the charset does not have; none where it has all 256."""


def test_each_listed_charset_reads_what_it_has_and_no_more() -> None:
    for name, undefined in UNDEFINED.items():
        for word in (name, name.upper()):
            form, text = f"{FORM}; charset={word}", f"text/plain;charset={word}"
            if name != "utf-16":
                whole = bytes(range(0x20, 0x7F))
                assert read(whole, text).event.raw == {"text": whole.decode()}
            for media_type, body in ((form, b"a=" + undefined), (text, undefined)) if undefined else ():
                with pytest.raises(MalformedEvent, match=f"is (?:not )?in {name}"):
                    read(body, media_type)
    assert found("/#text", b"\xc1", media_type="text/plain; charset=koi8-r") == "а"


@rows(
    "word",
    [
        "utf-7",
        "idna",
        "punycode",
        "rot13",
        "rot_13",
        "unicode_escape",
        "raw-unicode-escape",
        "zlib_codec",
        "hex",
        "base64",
        "bz2",
        "uu",
        "quopri",
        "mbcs",
        "undefined",
        "utf-8-sig",
        "utf-16-le",
        "utf-32",
        "gb2312",
        "shift_jis",
        "iso-2022-jp",
        "hz",
        "cp037",
        "iso-8859-12",
        "iso-8859-17",
        "iso-8859-1-1",
        "windows-1259",
        "os",
        "..",
        "x" * 500,
    ],
)
def test_no_other_codec_can_be_reached(word: str) -> None:
    for media_type, body in (
        (f"{FORM}; charset={word}", b"a=1"),
        (FORM, b"a=1&charset=" + word.encode()),
        (f"text/plain; charset={word}", b"1"),
        ("text/xml", f"<?xml version='1.0' encoding='{word}'?><a/>".encode()),
    ):
        with pytest.raises(MalformedEvent, match="its charset is none of utf-8, us-ascii, iso-8859-1 to -16"):
            read(body, media_type)


@rows(
    ("media_type", "body"),
    [
        (FORM, b"a=%FC"),
        (FORM, b"a=%C3"),
        (FORM, b"%FC=a"),
        (FORM, b"a=1&b=\xff"),
        (f"{FORM};charset=utf-16", b"a=%FC"),
        (f"{FORM};charset=utf-16", "a=%FC".encode("utf-16")),
        (FORM, b"a=1&charset=utf-16"),
        (FORM, b"a=%ED%A0%80"),
        ("text/plain;charset=utf-16", "ab".encode("utf-16-le")),
        ("text/plain;charset=utf-16", b"\xff\xfea"),
        ("text/xml", b"<?xml version='1.0' encoding='UTF-16'?><a/>"),
        (f"{JSON}; charset=iso-8859-1", b'"\xfc"'),
    ],
)
def test_what_is_not_in_its_charset_is_malformed(media_type: str, body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        read(body, media_type)


def test_of_a_head_only_what_is_mapped_is_judged() -> None:
    posted: dict[str, Any] = {
        "query": "a=%FC&b=1&%FC=c",
        "below": "r\udcfcm/b",
        "headers": {"X-A": b"J\xfcrgen", "X-B": "ü"},
    }
    for place, value in (("query:b", "1"), ("path:1", "b"), ("header:x-b", "ü"), ("query:c", None), ("path:2", None)):
        assert found(place, 1, **posted) == value
    for place, value in (
        ("query:a", "ü"),
        ("path:0", "rüm"),
        ("path", "rüm/b"),
        ("header:x-a", NAME),
        ("query:ü", "c"),
    ):
        assert found(place, 1, **posted, charset="windows-1252") == value
        if place != "query:ü":
            with pytest.raises(MalformedEvent, match=rf"{place} \(Map\) is not in utf-8"):
                found(place, 1, **posted)
    assert found("header:x-b", 1, **posted, charset="utf-16") == "ü"


def test_the_same_is_recognised_by_id_or_by_all_that_was_posted() -> None:
    def digest(body: object = 1, **more: Any) -> str | None:
        return read(body, **more).event.digest

    same = digest(query="a=1&a=2")
    assert same
    assert same == digest(query="a=1&a=2", headers={"X-Any": "2"})
    others = [digest(), digest(2, query="a=1&a=2"), digest(query="a=1&a=2", below="x"), digest(query="a=1&a=3")]
    assert len({same, *others}) == 5
    mapped: dict[str, Any] = {"map": {"topic": ["/none", "header:X-Topic"]}, "by_type": {"": {"it": ("header:X-Two",)}}}
    topics: list[Mapping[str, str]] = [{}, {"X-Topic": ""}, {"X-Topic": "a"}, {"X-Topic": "b"}, {"X-Two": "a"}]
    assert len({digest(**mapped, headers=headers) for headers in topics}) == 5
    assert digest(**mapped, headers={"X-Topic": "a", "X-Any": "2"}) == digest(**mapped, headers={"X-Topic": "a"})
    assert digest({"id": 7}, map={"id": "/id"}) is None
    # An empty id is none: else all events that have it would be one.
    assert read({"id": ""}, map={"id": "/id"}).event.id is None
    assert digest({"id": ""}, map={"id": "/id"})


def test_presences_are_never_doubles() -> None:
    event = read({"t": "presence"}, map={"type": "/t"}).event
    source = EventSource(kind="webhook", window_s=60.0, has_ids=False)
    made = [incoming_event(source, event, jid) for jid in ("j1", "j2")]
    assert [None if one is None else one.mark for one in made] == ["j1", "j2"], "each is known by its own job alone"


VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
NAMES: Final = st.sampled_from(["a", "b", "0", "1", "*", "@a", "#text", "~0", "", "body", "m"])
POINTERS: Final = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
PLACES: Final = POINTERS | st.sampled_from(["header:a", "query:a", "query:key2", "path", "path:0", "path:9", "=x"])
MAPS: Final = st.dictionaries(
    st.sampled_from(["type", "from", "to", "id", "body", "room", "presence", "server", "one", "two"]),
    st.lists(PLACES, min_size=1, max_size=3).map(tuple),
)
ELEMENTS: Final = st.recursive(
    st.text("ab&;<>é \x00", max_size=5),
    lambda inner: st.tuples(st.sampled_from("abm"), st.lists(inner, max_size=3)).map(
        lambda one: f"<{one[0]} a='1'>{''.join(one[1])}</{one[0]}>"
    ),
    max_leaves=8,
)
BODIES: Final = st.one_of(
    st.tuples(st.just(JSON), VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)),
    st.tuples(st.just("text/xml"), ELEMENTS.map(str.encode) | st.binary(max_size=40)),
    st.tuples(st.sampled_from(["application/x-www-form-urlencoded", "text/plain", "a/b"]), st.binary(max_size=60)),
)


@pytest.mark.promise("Security: who can reach the ports", "as a server, to write into the log or use up memory")
@given(BODIES, MAPS, st.dictionaries(st.text(max_size=3), MAPS, max_size=2), st.lists(POINTERS, max_size=3), st.text())
def test_any_body_and_map_make_a_job_or_a_refusal(
    body: tuple[str, bytes], map_: Any, by_type: Any, drop: list[str], word: str
) -> None:
    """A refusal is one of the errors that `webhook` answers; a secret in the query is in no job."""
    query = f"key={SECRET}&a=%FF{word.encode('utf-8', 'replace').hex()}&b"
    source = EventSource("src", "webhook", queue="q", job_class="C", window_s=60.0, has_ids=False)
    try:
        options: dict[str, Any] = {"map": map_, "by_type": by_type, "drop": tuple(drop), "types": {"a": "b"}}
        event = read(body[1], body[0], query=query, below="x//y", headers={"A": "é"}, **options).event
        one = incoming_event(source, event, "jid")
    except (MalformedEvent, ValueError):
        return
    assert one is not None
    made = json.loads(one.payload)["args"][0]
    assert SECRET not in one.payload.decode() + one.record.decode()
    assert made["source"] == "src"
    assert {*made} - {"one", "two"} == {*EVENT_MEMBERS}
