"""One login of a user for all: who is at it, what the others get, what a logoff leaves."""

from collections.abc import Callable

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import logins
from restbroker.store.client import Client
from restbroker.store.logins import (
    AskingOnly,
    LoggedIn,
    LoggedOff,
    LoginBusy,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
    SessionUncertain,
)
from tests.store.pools import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_MS = 60_000
A, B = LoginLock("a", LONG_MS), LoginLock("b", LONG_MS)
LOGINS = "ns:restbroker:logins:of"
LEASE = "ns:restbroker:lease:login:of:juliet"


def log_in(client: Client, stream: str, stale: str = "") -> None:
    assert logins.take(client, "of", "juliet", A, stale=stale) == LoginGranted()
    assert logins.put(client, "of", "juliet", "a", stream)


def test_one_logs_a_user_in_and_all_get_his_stream(client: Client, server: Server) -> None:
    assert logins.take(client, "of", "juliet", A) == LoginGranted()
    busy = logins.take(client, "of", "juliet", B)
    assert isinstance(busy, LoginBusy)
    assert 0 < busy.remaining_ms <= LONG_MS
    assert logins.take(client, "of", "romeo", B) == LoginGranted(), "each user for himself"
    assert logins.take(client, "other", "juliet", B) == LoginGranted(), "each target for itself"
    assert logins.put(client, "of", "juliet", "a", "ofchat-17")
    for turn in (A, B):
        assert logins.take(client, "of", "juliet", turn) == LoggedIn("ofchat-17")
    assert logins.read_state(client, "of", "juliet") == LoggedIn("ofchat-17")
    assert not server.raw.exists(LEASE)


def test_who_knows_a_stream_to_be_gone_gets_the_new_one_or_the_turn(client: Client) -> None:
    log_in(client, "old")
    assert logins.take(client, "of", "juliet", B, stale="older") == LoggedIn("old")
    assert logins.take(client, "of", "juliet", B, stale="old") == LoginGranted()
    assert isinstance(logins.take(client, "of", "juliet", A, stale="old"), LoginBusy)
    assert logins.put(client, "of", "juliet", "b", "new")
    assert logins.take(client, "of", "juliet", A, stale="old") == LoggedIn("new")


def test_when_who_logs_in_dies_another_does_and_the_late_answer_changes_nothing(client: Client) -> None:
    assert logins.take(client, "of", "juliet", LoginLock("dead", 50)) == LoginGranted()
    until(lambda: logins.take(client, "of", "juliet", B) == LoginGranted(), "the lease ends")
    assert not logins.put(client, "of", "juliet", "dead", "late")
    assert logins.put(client, "of", "juliet", "b", "new")
    assert not logins.put(client, "of", "juliet", "dead", "late")
    assert logins.read_state(client, "of", "juliet") == LoggedIn("new")


def test_who_was_refused_leaves_the_turn_to_the_next(client: Client) -> None:
    log_in(client, "old")
    assert logins.take(client, "of", "juliet", A, stale="old") == LoginGranted()
    assert not logins.put(client, "of", "juliet", "a", "")
    assert logins.read_state(client, "of", "juliet") == LoggedIn("old")
    assert logins.take(client, "of", "juliet", B, stale="old") == LoginGranted()


def log_off(client: Client, stream: str) -> None:
    assert logins.start_logoff(client, "of", "juliet", A, "off") == LoginGranted(stream)
    assert logins.end(client, "of", "juliet", LoggedIn(stream))
    assert not logins.put(client, "of", "juliet", "a", "")


def test_a_logoff_is_seen_by_who_watches_and_undone_by_who_needs_a_login(client: Client) -> None:
    assert logins.read_state(client, "of", "juliet") is None
    assert logins.start_logoff(client, "of", "juliet", A, "off") is None, "nobody knew a stream of her"
    log_in(client, "old")
    log_off(client, "old")
    assert logins.read_state(client, "of", "juliet") == LoggedOff()
    assert logins.start_logoff(client, "of", "juliet", A, "off") == LoggedOff()
    assert logins.take(client, "of", "juliet", A, stays_off=True) == LoggedOff()
    assert logins.take(client, "of", "juliet", A) == LoginGranted()
    assert logins.put(client, "of", "juliet", "a", "new")
    assert logins.take(client, "of", "juliet", B, stays_off=True) == LoggedIn("new")


def test_a_logoff_names_the_login_that_it_ended(client: Client) -> None:
    numbers = []
    for stream in ("one", "two"):
        log_in(client, stream)
        on = logins.read_state(client, "of", "juliet")
        assert logins.start_logoff(client, "of", "juliet", A, "off") == LoginGranted(stream)
        begun = logins.read_state(client, "of", "juliet")
        assert logins.end(client, "of", "juliet", LoggedIn(stream))
        assert not logins.put(client, "of", "juliet", "a", "")
        done = logins.read_state(client, "of", "juliet")
        assert isinstance(on, LoggedIn)
        assert isinstance(begun, LoggedOff)
        assert isinstance(done, LoggedOff)
        assert on.number == begun.number == done.number
        numbers.append(on.number)
    assert numbers[0] != numbers[1]


def test_nobody_logs_in_or_asks_while_somebody_logs_off(client: Client) -> None:
    log_in(client, "old")
    assert logins.start_logoff(client, "of", "juliet", A, "off") == LoginGranted("old")
    assert logins.take(client, "of", "juliet", B, stays_off=True) == LoggedOff()
    for other in (
        logins.take(client, "of", "juliet", B),
        logins.start_logoff(client, "of", "juliet", B, "off"),
        logins.ask(client, "of", "juliet", "one"),
    ):
        assert isinstance(other, LoginBusy)


def test_a_logoff_whose_end_is_not_known_is_ended_by_the_next_who_comes(client: Client) -> None:
    known: list[tuple[LogoffReason, LoginState, LoginState]] = [
        ("off", LoggedOff("old"), LoggedOff()),
        ("doubted", SessionUncertain("old"), None),
    ]
    for how, before, after in known:
        log_in(client, "old")
        assert logins.start_logoff(client, "of", "juliet", A, how) == LoginGranted("old")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.read_state(client, "of", "juliet") == before
        assert logins.ask(client, "of", "juliet", "one") == LoggedOff()
        assert logins.take(client, "of", "juliet", A) == LoginGranted("old")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.end(client, "of", "juliet", LoggedIn("old"))
        assert logins.read_state(client, "of", "juliet") == after


def test_who_may_be_logged_in_is_looked_for_before_he_asks(client: Client) -> None:
    for before in (None, LoggedOff()):
        assert logins.read_state(client, "of", "juliet") == before
        assert logins.take(client, "of", "juliet", A) == LoginGranted()
        assert not logins.put(client, "of", "juliet", "a", "? one")
        assert logins.read_state(client, "of", "juliet") == SessionUncertain("? one")
        assert logins.ask(client, "of", "juliet", "one") == LoggedOff()
        assert logins.start_logoff(client, "of", "juliet", A, "off") is None, "only a login gives his stream"
        assert logins.start_logoff(client, "of", "juliet", A, "doubted") == LoginGranted("? one")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.end(client, "of", "juliet", LoggedIn("? one"))
        log_in(client, "new")
        assert logins.take(client, "of", "juliet", A, stale="new") == LoginGranted()
        assert not logins.put(client, "of", "juliet", "a", "? two")
        log_off(client, "new")


def test_who_was_logged_off_stays_so_when_his_session_is_doubted(client: Client) -> None:
    log_in(client, "old")
    assert logins.start_logoff(client, "of", "juliet", A, "off") == LoginGranted("old")
    assert logins.start_logoff(client, "of", "juliet", A, "doubted") == LoginGranted("old")
    assert logins.read_state(client, "of", "juliet") == LoggedOff("old")


def test_a_name_is_logged_in_or_it_asks_and_never_both(client: Client) -> None:
    log_in(client, "old")
    assert logins.ask(client, "of", "juliet", "one") == LoggedIn("")
    log_off(client, "old")
    assert logins.take(client, "of", "juliet", A) == LoginGranted()
    assert isinstance(logins.ask(client, "of", "juliet", "one"), LoginBusy), "somebody logs her in"
    assert not logins.put(client, "of", "juliet", "a", "")
    assert logins.ask(client, "of", "juliet", "one") == LoginGranted()
    for stays_off in (True, False):
        assert logins.take(client, "of", "juliet", A, stays_off=stays_off) == AskingOnly("one")
    assert logins.read_states(client, "of", ["juliet", "romeo"]) == [AskingOnly("one"), None]
    assert logins.start_logoff(client, "of", "juliet", A, "off") is None
    assert not logins.end(client, "of", "juliet", LoggedIn("one")), "it is no stream"
    assert logins.end(client, "of", "juliet", AskingOnly("one"))
    assert logins.take(client, "of", "juliet", A) == LoginGranted()


def test_a_question_that_ends_behind_another_one_has_its_readers_look_again(client: Client) -> None:
    for claim in ("one", "two"):
        assert logins.ask(client, "of", "juliet", claim) == LoginGranted()
    assert logins.read_state(client, "of", "juliet") == AskingOnly("one two")
    assert not logins.end(client, "of", "juliet", AskingOnly("two"))
    assert logins.take(client, "of", "juliet", A) == AskingOnly("one"), "the first may be under way still"
    assert logins.ask(client, "of", "juliet", "three") == LoginGranted()
    assert logins.end(client, "of", "juliet", AskingOnly("one three"))


def test_of_many_questions_of_one_name_the_last_are_noted(client: Client) -> None:
    for number in range(100):
        assert logins.ask(client, "of", "juliet", f"c{number}") == LoginGranted()
    assert logins.read_state(client, "of", "juliet") == AskingOnly(" ".join(f"c{number}" for number in range(68, 100)))


def test_a_stream_that_was_ended_is_forgotten_and_another_one_is_not(client: Client) -> None:
    log_in(client, "old")
    assert not logins.end(client, "of", "juliet", LoggedIn("older"))
    assert logins.read_state(client, "of", "juliet") == LoggedIn("old")
    assert logins.end(client, "of", "juliet", LoggedIn("old"))
    assert logins.read_state(client, "of", "juliet") is None


def test_what_somebody_else_wrote_there_is_no_login(client: Client, server: Server) -> None:
    for entry in (b"", b"on", b"on now ofchat", b"asks now one", "on ² ofchat", b'{"stream": "x"}', b"\xff"):
        server.raw.hset(LOGINS, "juliet", entry)
        assert logins.read_state(client, "of", "juliet") is None
        assert logins.take(client, "of", "juliet", A, stays_off=True) == LoginGranted()
        assert not logins.put(client, "of", "juliet", "a", "")


def test_a_login_whose_number_is_none_of_redis_is_refused(client: Client, server: Server) -> None:
    server.raw.hset(LOGINS, "juliet", b"on " + b"1" * 5000 + b" ofchat")
    with pytest.raises(StoreRefused):
        logins.read_state(client, "of", "juliet")


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: logins.take(client, "of", "juliet", A), LoginGranted()),
    (lambda client: logins.put(client, "of", "juliet", "a", "new"), True),
    (lambda client: logins.start_logoff(client, "of", "juliet", A, "off"), LoginGranted("new")),
    (lambda client: logins.end(client, "of", "juliet", LoggedIn("new")), True),
    (lambda client: logins.put(client, "of", "juliet", "a", ""), False),
    (lambda client: logins.ask(client, "of", "juliet", "one"), LoginGranted()),
    (lambda client: logins.end(client, "of", "juliet", AskingOnly("another")), False),
    (lambda client: logins.end(client, "of", "juliet", AskingOnly("one")), True),
]


@on_both
def test_each_call_whose_answer_is_lost_answers_the_same_the_second_time(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    assert not server.raw.exists(LEASE)


def test_no_repr_shows_a_stream() -> None:
    assert "ofchat" not in repr(
        (LoggedIn("ofchat1"), LoggedOff("ofchat1"), SessionUncertain("ofchat1"), LoginGranted("ofchat1"))
    )
