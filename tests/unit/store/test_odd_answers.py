"""What is made of a Redis, proxy or fork that answers something else than was asked for, also as a number."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any, Final, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.errors import StoreRefused
from restbroker.job.settlement import Fingerprint
from restbroker.store import (
    audit,
    claims,
    dead_copies,
    history,
    identities,
    in_progress,
    key_types,
    leases,
    limits,
    logins,
    migration,
    paging,
    pauses,
    processes,
    queues,
    records,
    rooms,
    server,
    sets,
    sources,
    stats,
    waiting,
)
from restbroker.store.client import (
    Client,
    Reply,
    as_fields,
    counts,
    integer,
    items,
    mapping,
    microseconds,
    pair,
    raw,
    text,
)
from restbroker.store.identities import read_fields
from restbroker.store.keys import RedisKeys
from restbroker.store.pauses import until_us_of
from restbroker.store.sets import Placement

_TURN: Final = logins.LoginLock("holder", 1000)
_BASE: Final = logins.UserBase("e", "example.org")
READERS: Final[Sequence[Callable[[Client], object]]] = (
    lambda client: audit.newest(client, 5),
    lambda client: claims.stored_for_s(client, [Fingerprint("t", "q", "a", 60.0)]),
    lambda client: history.newest(client, 5),
    history.extent,
    lambda client: in_progress.read_jobs(client, "me"),
    lambda client: key_types.find_misused(client, ["e"], ["q"]),
    lambda client: key_types.types(client, ["a"]),
    lambda client: leases.acquire(client, "g", "me", 1000, ["a"]),
    lambda client: limits.pauses(client, "e"),
    lambda client: logins.take(client, _BASE, "ann", _TURN),
    lambda client: logins.start_logoff(client, _BASE, "ann", _TURN, "off"),
    lambda client: logins.ask(client, _BASE, "ann", _TURN),
    lambda client: logins.read_states(client, _BASE, ["ann"]),
    lambda client: records.keep_minute(client, 60, b"{}", 0),
    lambda client: migration.states(client, ["queue:q:1:inprogress"]),
    lambda client: migration.give_back(client, "queue:q:1:inprogress", "q"),
    lambda client: paging.piece(client, "dead", None, 5, newest_first=True),
    lambda client: paging.piece(client, "dead", paging.Cursor(1.0, 1), 5, newest_first=False),
    lambda client: paging.counts(client, "dead", [(0.0, 1.0)]),
    lambda client: next(paging.members_with_word(client, "dead", "word"), None),
    lambda client: [copy.at_s for copy in dead_copies.newest(client, 5)],
    pauses.paused_queues,
    lambda client: pauses.paused_targets(client, ["e"]),
    processes.work_of,
    processes.read_all,
    queues.names,
    queues.read_odd_names,
    lambda client: queues.sizes(client, ["q"]),
    lambda client: queues.peek(client, cast("Any", "q"), 0, 5),
    identities.live_identities,
    identities.fenced_identities,
    lambda client: identities.read(client, "me"),
    lambda client: rooms.take(client, "e", rooms.RoomMembership("den", "ann", "stream"), _TURN, "look"),
    server.server,
    lambda client: sets.due(client, "retry", 5),
    lambda client: sets.size(client, "dead"),
    sources.read_states,
    stats.overview,
    records.token_uses,
    lambda client: waiting.take_snapshot(client, "q"),
    lambda client: waiting.piece(client, waiting.QueueSnapshot("q", "queue:q", 3, b"{}", ("0",)), 2, 5),
    lambda client: waiting.take(
        client, waiting.QueueSnapshot("q", "queue:q", 3, b"{}", ("0",)), [waiting.TakeRequest(0, Placement(b"{}"))]
    ),
)


@attrs.frozen
class Odd:
    """Has the same calls as a client, and these answers to them, again and again."""

    answers: Iterator[Reply]
    keys: RedisKeys = attrs.field(factory=RedisKeys)

    def command(self, *_arguments: object) -> Reply:
        return next(self.answers)

    def commands(self, commands: Sequence[object]) -> list[Reply]:
        return [next(self.answers) for _ in commands]

    def run_when_full(self, commands: Sequence[object]) -> list[Reply]:
        return self.commands(commands)

    def run(self, *_call: object) -> Reply:
        return next(self.answers)

    def tell(self, *_progress: object) -> None:
        """Nobody looks at it."""

    def run_many(self, _name: object, calls: Sequence[object]) -> list[Reply]:
        return self.commands(calls)


_TEXTS: Final = st.sampled_from(
    [b"", b"0", b"1-1", b"-1", b"9" * 5000, b"\xb2", b"1.5", b"inf", b"x:y", b"ON", b"BUSY", b"{}"]
)
_ANSWERS: Final[st.SearchStrategy[Reply]] = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20) | _TEXTS,
    lambda parts: st.lists(parts, max_size=6),
    max_leaves=12,
)


@given(st.sampled_from(READERS), st.lists(_ANSWERS, min_size=1, max_size=6))
def test_answer_of_any_form_is_read_or_refused_with_advice(
    read: Callable[[Client], object], answers: list[Reply]
) -> None:
    with suppress(StoreRefused):
        read(cast("Client", Odd(cycle(answers))))


MOST, LEAST = 2**63 - 1, -(2**63)
TOO_LONG = b"9" * 5000
"""Python refuses to make a number of it."""


def test_numbers_are_read_whether_or_not_they_are_stored_as_text() -> None:
    numbers = {5: 5, None: 0, b"12": 12, b"-12": -12, str(MOST).encode(): MOST, str(LEAST).encode(): LEAST}
    assert {reply: integer(reply) for reply in numbers} == numbers


def test_an_answer_of_another_shape_is_refused_by_name() -> None:
    shapes: list[tuple[Callable[[Any], object], Sequence[Reply], str]] = [
        (integer, [b"", b"-", b"--5", b"1_0", b" 5", b"5 ", b"+5", b"0x5", b"\xb2", TOO_LONG, b"x", []], "a number"),
        (raw, [5], "bytes"),
        (items, [b"x"], "a list"),
        (lambda reply: items(reply, 2), [[1]], "a list of 2 or more"),
        (pair, [[], [1, 2, 3]], "a list of 2"),
        (microseconds, [[]], "a list of 2"),
        (mapping, [[b"field"]], "fields and values"),
    ]
    for read, replies, wanted in shapes:
        for reply in replies:
            found = f"a list of {len(reply)}" if isinstance(reply, list) else type(reply).__name__
            with pytest.raises(StoreRefused) as caught:
                read(reply)
            assert caught.value.message == f"Redis answered {found} where {wanted} was expected."
            assert "Redis >= 7.0" in (caught.value.hint or "")


def test_an_answer_of_the_right_shape_is_taken_apart() -> None:
    assert (microseconds([b"5", b"17"]), pair([1, 2]), items([1, 2, 3], 2)) == (5_000_017, (1, 2), [1, 2, 3])
    assert text(b"a\xff") == "a\\xff"
    assert mapping([b"a", b"1", b"b", b"2"]) == {"a": b"1", "b": b"2"}
    assert counts([b"a", b"1"]) == {"a": 1}
    assert as_fields({"a": 1, "b": b"2"}) == ["a", 1, "b", b"2"]


def test_the_end_of_a_pause_that_cannot_be_read_is_none() -> None:
    assert [until_us_of(written) for written in (b"17", b"", b"-1", b"x", TOO_LONG)] == [17, 0, 0, 0, 0]


def test_unreadable_beat_is_none_and_the_rest_of_it_counts() -> None:
    words = {"hostname": b"h", "boot_id": b"b", "pid_namespace": b"n", "target": b"t"}
    for written in (b"x", b"", b"-5", TOO_LONG):
        found = read_fields({**words, "pid": b"7", "started_at_ticks": b"1", "1": b"rest", "beat_at": written})
        assert (found.process.pid, found.queues, found.heartbeat_at_s) == (7, ("rest",), None)
