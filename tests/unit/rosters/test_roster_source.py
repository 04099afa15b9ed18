"""What ejabberd's `get_roster` tells, as a roster. A real ejabberd is asked in tests/servers."""

import pytest

from restbroker.job.json_types import Json
from restbroker.rosters.rules import BadRoster, Contact
from restbroker.rosters.source import contacts_of


def test_groups_are_a_list_or_each_in_an_entry_of_its_own() -> None:
    one: Json = {"jid": "ann@a.b", "nick": "Ann", "subscription": "both", "pending": "none", "groups": ["W", "F"]}
    assert contacts_of([one], one_sided=False) == ({"ann@a.b": Contact("Ann", ("F", "W"))}, 0)
    older: Json = [
        {"jid": "ann@a.b", "nick": "Ann", "subscription": "both", "ask": "none", "group": "W"},
        {"jid": "ann@a.b", "nick": "Ann", "subscription": "both", "ask": "none", "group": "F"},
        {"jid": "bob@a.b", "nick": "", "subscription": "both", "ask": "none", "group": ""},
    ]
    assert contacts_of(older, one_sided=False) == ({"ann@a.b": Contact("Ann", ("F", "W")), "bob@a.b": Contact()}, 0)


def test_contacts_that_only_one_side_sees_are_left_out_unless_they_are_wanted() -> None:
    entries: list[Json] = [
        {"jid": f"{kind}@a.b", "nick": "", "subscription": kind} for kind in ("both", "from", "to", "none")
    ]
    assert contacts_of(entries, one_sided=False) == ({"both@a.b": Contact()}, 3)
    assert contacts_of(entries, one_sided=True)[1] == 0
    assert contacts_of([], one_sided=False) == ({}, 0)


def test_an_entry_that_is_no_contact_is_refused() -> None:
    rows: list[Json] = ["x", None, {"nick": "Ann"}, {"jid": "a@b/c", "subscription": "both"}]
    for entry in rows:
        with pytest.raises(BadRoster):
            contacts_of([entry], one_sided=False)


def test_an_answer_that_is_no_roster_is_not_taken_for_an_empty_one() -> None:
    rows: list[Json] = [None, "[", {}, 0]
    for answer in rows:
        with pytest.raises(BadRoster):
            contacts_of(answer, one_sided=False)
