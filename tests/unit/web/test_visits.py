# ruff: noqa: SLF001 - what is kept stays bounded, and no door tells how much it is
"""Visits and tries with a clock of their own."""

import attrs

from restbroker.web.sessions import LIFE_S, LoginAttempts, Sessions


@attrs.define
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_login_ends_by_itself() -> None:
    clock = Clock()
    visits = Sessions(clock)
    name = visits.log_in()
    clock.now_s = LIFE_S - 1
    assert visits.is_logged_in(name)
    clock.now_s = LIFE_S
    assert not visits.is_logged_in(name)


def test_the_oldest_login_makes_room_for_the_newest() -> None:
    visits = Sessions(Clock())
    first = visits.log_in()
    last = [visits.log_in() for _ in range(1000)][-1]
    assert not visits.is_logged_in(first)
    assert visits.is_logged_in(last)


def test_a_mark_fits_its_visitor_and_this_process_only() -> None:
    visits = Sessions(Clock())
    name, other = visits.new(), visits.new()
    assert visits.is_marked(name, visits.mark(name))
    assert not visits.is_marked(other, visits.mark(name))
    assert not visits.is_marked(name, Sessions(Clock()).mark(name))
    assert not visits.is_marked("", visits.mark(""))


def test_wrong_tries_of_one_address_leave_others_theirs() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    for _ in range(5):
        assert tries.may_try("a")
        tries.note_failed("a")
    assert not tries.may_try("a")
    assert tries.may_try("b")
    clock.now_s = 12.1
    assert tries.may_try("a")
    tries.note_failed("a")
    assert not tries.may_try("a")


def test_many_addresses_together_have_no_more_than_thirty_tries_a_minute() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    heard = 0
    for number in range(3000):
        if tries.may_try(f"a{number}"):
            heard += 1
            tries.note_failed(f"a{number}")
    assert heard == 30
    clock.now_s = 60
    assert tries.may_try("new")


def test_memory_for_addresses_is_bounded() -> None:
    tries = LoginAttempts(Clock(), in_total=10**9)
    for number in range(5000):
        tries.note_failed(str(number))
    assert len(tries._addresses) == 1000
