"""What XML can hold, and what JSON is in an answer."""

import pytest

from restbroker.connectors.texts import fits_xml, parsed
from restbroker.rules.json_types import Json


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("Good night\n\t", True),
        ("a\x00b", False),
        ("\ud800", False),
        (["a", {"b": "\x1f"}], False),
        ({"a\x0b": 1}, False),
        ([1, None, True, {"a": ["b"]}], True),
    ],
)
def test_a_text_that_xml_cannot_hold_is_found_wherever_it_is(value: Json, *, fits: bool) -> None:
    assert fits_xml(value) is fits


@pytest.mark.parametrize(("body", "found"), [(b"", None), (b"no", None), (b'{"a":1}', {"a": 1})])
def test_what_is_no_json_is_none(body: bytes, found: Json) -> None:
    assert parsed(body) == found
