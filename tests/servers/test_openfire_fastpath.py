"""The state machine of Fastpath: it is what the page says, and it cannot come into a state that contradicts itself."""

import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.openfire_fastpath import ASKER, EXPERT, TIMED, WALKS, Arrow, Desk, Due, NoSuchArrow, Step, opened

_PAGE: Final = Path(__file__).parents[2] / "docs" / "servers" / "openfire-fastpath.md"
_ROW: Final = re.compile(r"^\| `([\w-]+)` \| `([\w-]+)` \| `([\w-]+)` \|$", re.MULTILINE)


def test_the_tables_of_the_page_are_those_that_the_tests_walk_by() -> None:
    _, user, expert, *_ = re.split(r"^## ", _PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert [Arrow(*row) for row in _ROW.findall(user)] == list(ASKER)
    assert [Arrow(*row) for row in _ROW.findall(expert)] == list(EXPERT)


@given(st.data())
def test_a_question_is_with_one_expert_at_a_time_and_whoever_talks_was_called(data: st.DataObject) -> None:
    desk = opened("ann", ["bob", "cid", "dee"])
    called: set[str] = set()
    for _ in range(data.draw(st.integers(1, 40))):
        step = data.draw(st.sampled_from([*desk.permitted(), None]))
        desk, told = desk.lapsed() if step is None else desk.after(step)
        called |= {due.who for due in told if due.event in ("offer", "invitationReceived")}
        _is_sound(desk, called)


def _is_sound(desk: Desk, called: set[str]) -> None:
    offered = [who for who in desk.experts if desk.states[who] == "offered"]
    assert len(offered) <= 1
    assert not offered or desk.states[desk.asker] == "queued"
    assert {who for who, state in desk.states.items() if state in ("called", "invited", "talking")} <= called
    waits = desk.states[desk.asker] == "queued" and not offered
    assert not (waits and any(desk.states[who] == "ready" and who not in desk.rejected for who in desk.experts))


def test_the_walks_go_along_every_arrow_that_a_job_can_bring_about() -> None:
    gone: set[Arrow] = set()
    for steps in WALKS.values():
        desk = opened("ann", ["bob", "cid"])
        for step in steps:
            here = dict(desk.states)
            desk, due = desk.after(step)
            for who, by in ((step.who, step.command), *((one.who, one.event) for one in due)):
                table = ASKER if who == desk.asker else EXPERT
                (arrow,) = (one for one in table if (one.here, one.by) == (here[who], by))
                gone.add(arrow)
                here[who] = arrow.there
            assert here == desk.states
    assert gone == {*ASKER, *EXPERT} - TIMED


def test_what_one_expert_rejects_the_next_is_offered_and_both_sides_are_called_to_the_room() -> None:
    desk = opened("ann", ["bob", "cid"])
    told: list[Due] = []
    for who, command in (
        ("bob", "join_workgroup"),
        ("cid", "join_workgroup"),
        ("ann", "ask"),
        ("bob", "reject_offer"),
        ("cid", "accept_offer"),
    ):
        desk, due = desk.after(Step(who, command))
        told += due
    assert told == [
        Due("bob", "offerReceived"),
        Due("cid", "offerReceived"),
        Due("ann", "offer"),
        Due("cid", "invitationReceived"),
    ]
    assert desk.states == {"ann": "called", "bob": "ready", "cid": "invited"}


def test_who_takes_the_question_back_takes_the_offer_from_the_expert() -> None:
    desk, _ = opened("ann", ["bob"]).after(Step("bob", "join_workgroup"))
    desk, _ = desk.after(Step("ann", "ask"))
    desk, told = desk.after(Step("ann", "ask_revoke"))
    assert told == (Due("bob", "offerRevoked"),)
    with pytest.raises(NoSuchArrow):
        desk.after(Step("bob", "accept_offer"))


def test_after_a_restart_nobody_is_where_he_was() -> None:
    desk, _ = opened("ann", ["bob"]).after(Step("bob", "join_workgroup"))
    desk, _ = desk.after(Step("ann", "ask"))
    assert desk.restarted() == opened("ann", ["bob"])
