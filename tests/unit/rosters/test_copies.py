"""Copies of rosters stay within their bounds, and the one that was read last stays."""

from restbroker.rosters.service.copies import Copies, Copy


def test_a_copy_is_kept_until_it_is_too_old() -> None:
    copies = Copies(60.0, 1_000_000)
    copies.keep("john", Copy(b"{}", 100.0))
    assert copies.of("john", 159.9) == Copy(b"{}", 100.0)
    assert copies.of("mary", 159.9) is None
    assert copies.of("john", 160.0) is None
    assert (len(copies), copies.size_bytes) == (0, 0)


def test_what_was_read_earlier_replaces_nothing_that_was_read_later() -> None:
    copies = Copies(60.0, 1_000_000)
    copies.keep("john", Copy(b"later", 101.0))
    copies.keep("john", Copy(b"earlier", 100.0))
    assert copies.of("john", 101.0) == Copy(b"later", 101.0)


def test_together_they_take_no_more_than_their_bound_and_those_read_first_go() -> None:
    copies = Copies(1000.0, 10_000)
    for number in range(100):
        copies.keep(f"user{number}", Copy(b"x" * 600, float(number)))
        assert copies.size_bytes <= 10_000
    assert copies.of("user99", 99.0) is not None
    assert copies.of("user0", 99.0) is None
    copies.keep("huge", Copy(b"x" * 10_001, 100.0))
    assert (len(copies), copies.size_bytes) == (0, 0)


def test_where_none_are_wanted_none_are_kept() -> None:
    copies = Copies(0.0, 1_000_000)
    copies.keep("john", Copy(b"{}", 100.0))
    assert copies.of("john", 100.0) is None
