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


def test_no_address_uses_up_the_tries_of_another() -> None:
    tries = LoginAttempts(Clock())
    for number in range(3000):
        tries.note_failed(f"10.0.{number // 250}.{number % 250}")
    assert tries.may_try("10.1.0.0")


def checked(tries: LoginAttempts, address: str, number: int) -> int:
    """So many of the wrong tries are checked."""
    found = 0
    for _ in range(number):
        if tries.may_try(address):
            found += 1
            tries.note_failed(address)
    return found


def test_a_known_address_has_ten_tries_a_second_for_a_day() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    assert checked(tries, "10.0.0.1", 100) == 5
    clock.now_s += 60
    tries.note_right("10.0.0.1")
    assert checked(tries, "10.0.0.1", 100) == 10
    clock.now_s += 1
    assert checked(tries, "10.0.0.1", 100) == 10
    assert checked(tries, "10.0.0.2", 100) == 5
    clock.now_s = 60 + 24 * 3600.0
    assert checked(tries, "10.0.0.1", 100) == 5


def test_an_address_of_ipv6_counts_by_its_first_64_bits() -> None:
    tries = LoginAttempts(Clock())
    assert checked(tries, "2001:db8:0:1::1", 5) == 5
    assert not tries.may_try("2001:db8:0:1:ffff:ffff:ffff:ffff")
    assert tries.may_try("2001:db8:0:2::1")


def test_an_ipv4_address_on_an_ipv6_socket_counts_alone() -> None:
    tries = LoginAttempts(Clock())
    assert checked(tries, "::ffff:10.0.0.1", 5) == 5
    assert not tries.may_try("10.0.0.1")
    assert tries.may_try("::ffff:10.0.0.2")


def test_memory_for_addresses_is_bounded_and_strangers_push_out_no_known_one() -> None:
    clock = Clock()
    tries = LoginAttempts(clock)
    tries.note_right("10.0.0.1")
    for number in range(40_000):
        tries.note_failed(f"2001:db8:{number:x}::1")
    assert len(tries._buckets) == 16_384
    assert checked(tries, "10.0.0.1", 100) == 10
    for number in range(2000):
        tries.note_right(f"2001:db8:{number:x}::1")
    assert len(tries._known) == 1000
