"""What is a JID, one segment of a path, a text that XML can hold, an answer in JSON."""

import pytest

from restbroker.job.json_types import Json
from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.api.jid import is_jid
from restbroker.servers.api.request import segment
from restbroker.servers.api.texts import fits_xml, parse_json


def test_these_are() -> None:
    good = (
        *("juliet@example.org", "Juliet@Example.ORG/balcony", "example.org", "example.org/resource with blanks"),
        *("a@localhost/b/c@d", "юлия@пример.рф", "a@[::1]", "a@127.0.0.1", "a.b+c=d!e@_xmpp.example.org."),
        *("אב@example.org", "a@example.org/📱"),
    )
    assert [text for text in good if not is_jid(text)] == []


def test_these_are_not() -> None:
    bad = (
        *("", "@", "@@", "a@", "@example.org", "a@b@c", "a b@example.org", "a@example org", "a@example..org", "a@."),
        *("a@example.org/", "a@example.org/\n", "a\x00@example.org", "a:b@example.org", "a\u00a0b@example.org"),
        *("\u00ad@example.org", "א1@example.org", "a@א.example", "a@\ufffd.org", "a" * 1024 + "@example.org"),
        *("a@" + "é" * 70 + ".org", "a@example.org/" + "é" * 512),
    )
    assert [text for text in bad if is_jid(text)] == []


def test_an_argument_is_one_segment_of_a_path_or_refused_where_it_would_lead_to_another() -> None:
    assert [segment("name", text) for text in ("ann", "a/b", "../x", "é ?#%")] == [
        "ann",
        "a%2Fb",
        "..%2Fx",
        "%C3%A9%20%3F%23%25",
    ]
    for text in ("", ".", ".."):
        with pytest.raises(InvalidArguments, match="name"):
            segment("name", text)


def test_a_text_that_xml_cannot_hold_is_found_wherever_it_is() -> None:
    rows: list[tuple[Json, bool]] = [
        ("Good night\n\t", True),
        ("a\x00b", False),
        ("\ud800", False),
        (["a", {"b": "\x1f"}], False),
        ({"a\x0b": 1}, False),
        ([1, None, True, {"a": ["b"]}], True),
    ]
    assert [(value, fits) for value, fits in rows if fits_xml(value) is not fits] == []


def test_what_is_no_json_is_none() -> None:
    rows: list[tuple[bytes, Json]] = [(b"", None), (b"no", None), (b'{"a":1}', {"a": 1})]
    assert [(body, found) for body, found in rows if parse_json(body) != found] == []
