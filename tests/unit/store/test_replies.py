"""Numbers as Redis answers them, and what somebody else may have put in their place."""

from collections.abc import Callable

import pytest

from restbroker.errors import StoreRefused
from restbroker.store.identities import read_fields
from restbroker.store.pauses import until_us_of
from restbroker.store.replies import Reply, integer, items, mapping, microseconds, pair

MOST, LEAST = 2**63 - 1, -(2**63)
TOO_LONG = b"9" * 5000
"""Python refuses to make a number of it."""


def test_numbers_are_read_whether_or_not_they_are_stored_as_text() -> None:
    numbers = {5: 5, None: 0, b"12": 12, b"-12": -12, str(MOST).encode(): MOST, str(LEAST).encode(): LEAST}
    assert {reply: integer(reply) for reply in numbers} == numbers


def test_what_is_no_number_of_64_bits_is_refused() -> None:
    odd: list[Reply] = [b"", b"-", b"--5", b"1_0", b" 5", b"5 ", b"+5", b"0x5", b"\xb2", TOO_LONG, b"x", []]
    for reply in odd:
        with pytest.raises(StoreRefused, match="where a number was expected"):
            integer(reply)


def test_a_list_of_another_length_than_expected_is_refused_and_told_as_such() -> None:
    shapes: list[tuple[Callable[[Reply], object], Reply]] = [
        (pair, []), (pair, [1, 2, 3]), (microseconds, []), (mapping, [b"field"]), (lambda reply: items(reply, 2), [1])
    ]  # fmt: skip
    for read, reply in shapes:
        assert isinstance(reply, list)
        with pytest.raises(StoreRefused, match=f"Redis answered a list of {len(reply)} where"):
            read(reply)
    assert (microseconds([b"5", b"17"]), pair([1, 2]), items([1, 2, 3], 2)) == (5_000_017, (1, 2), [1, 2, 3])


def test_the_end_of_a_pause_that_cannot_be_read_is_none() -> None:
    assert [until_us_of(written) for written in (b"17", b"", b"-1", b"x", TOO_LONG)] == [17, 0, 0, 0, 0]


def test_a_beat_that_cannot_be_read_is_none_and_the_rest_of_its_record_counts() -> None:
    words = {"hostname": b"h", "boot_id": b"b", "pid_namespace": b"n", "target": b"t"}
    for written in (b"x", b"", b"-5", TOO_LONG):
        found = read_fields({**words, "pid": b"7", "started_at_ticks": b"1", "1": b"rest", "beat_at": written})
        assert (found.process.pid, found.queues, found.heartbeat_at_s) == (7, ("rest",), None)
