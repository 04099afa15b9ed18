"""What is written is what a reader of XML gets back, whatever stands in it."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.job.json_types import Json
from restbroker.servers.api.table import InvalidArguments, fit
from restbroker.servers.openfire.entities import ENTITIES, xml
from restbroker.servers.openfire.rest.catalogue import TABLE

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
LINES = st.text(st.sampled_from("a<>&\"'\r\n\t ]"), max_size=12)
ANY = TEXT | LINES


def fitting(command: str, arguments: Any) -> dict[str, Json]:
    """The arguments as they are sent."""
    return fit(TABLE[command].takes, command, arguments)


def parsed(body: bytes) -> ET.Element:
    return ET.fromstring(body.decode())  # noqa: S314  our own


@given(ANY, ANY, st.dictionaries(ANY.filter(bool), ANY, max_size=3))
def test_texts_and_properties_come_back_from_xml(name: str, email: str, properties: dict[str, str]) -> None:
    arguments: Any = {"username": "a", "password": "p", "name": name, "email": email, "properties": properties}
    given_ = fitting("create_user", arguments)
    root = parsed(xml(ENTITIES["UserEntity"], given_))
    assert (root.findtext("name"), root.findtext("email")) == (name, email)
    assert {element.get("key"): element.get("value") for element in root.iter("property")} == properties


def test_date_is_a_text_or_openfires_milliseconds_only() -> None:
    def found(date: Any) -> Any:
        room = {"roomName": "r", "naturalName": "", "description": "", "creationDate": date}
        return fitting("create_room", room)["creationDate"]

    assert [found(date) for date in ("2026-01-31T12:00:00Z", "2026-01-31")] == ["2026-01-31T12:00:00Z", "2026-01-31"]
    assert all(str(found(date)).endswith("+00:00") for date in (0, 1795156933140))
    odd: tuple[Any, ...] = ("yesterday", "", True, 10**30, [], 1.5)
    for date in odd:
        with pytest.raises(InvalidArguments, match="2026-01-31T12:00:00Z"):
            found(date)


def test_invalid_vcard_is_refused() -> None:
    for vcard in ("", "<iq/>", 1, '<!DOCTYPE x [<!ENTITY a "b">]><vCard/>'):
        with pytest.raises(InvalidArguments, match="vCard"):
            fitting("set_vcard", {"username": "a", "vcard": vcard})
