"""What XML can hold, and what JSON is in an answer."""

from restbroker.job.json_types import Json
from restbroker.servers.api.texts import fits_xml, parse_json


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
