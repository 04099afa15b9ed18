"""One login of a user for all: the process whose turn it is, what the others get, what a logoff leaves."""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest

from restbroker.errors import StoreRefused
from restbroker.store import logins
from restbroker.store.client import Client
from restbroker.store.logins import (
    AskingOnly,
    ClaimResult,
    LoggedIn,
    LoggedOff,
    LoginBusy,
    LoginGranted,
    LoginLock,
    LoginState,
    LogoffReason,
    SessionUncertain,
    UserBase,
)
from tests.store.pools import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_MS = 60_000
A, B = LoginLock("a", LONG_MS), LoginLock("b", LONG_MS)
LOGINS = "ns:restbroker:logins:of"
LEASE = "ns:restbroker:lease:streams:chat.example.org"
STREAMS = "ns:restbroker:streams:chat.example.org"
OF, OTHER = UserBase("of", "chat.example.org"), UserBase("other", "chat.example.org")
ELSEWHERE = UserBase("of", "elsewhere.example.org")
P = ParamSpec("P")
T = TypeVar("T")


def rested(call: Callable[P, T]) -> Callable[P, T]:
    """Calls until the 5 ms are over that the server rests after each change."""

    def found(*given: P.args, **named: P.kwargs) -> T:
        while isinstance(answer := call(*given, **named), LoginBusy) and answer.remaining_ms <= 5:
            pass
        return answer

    return found


take, start_logoff, claim = rested(logins.take), rested(logins.start_logoff), rested(logins.ask)


def ask(client: Client, name: str) -> ClaimResult:
    """Claims it for a question, which is answered at once."""
    answer = claim(client, OF, "juliet", LoginLock(name, LONG_MS))
    if answer == LoginGranted():
        assert logins.put(client, OF, "", name, "") == "unchanged"
    return answer


def log_in(client: Client, stream: str, stale: str = "") -> None:
    assert take(client, OF, "juliet", A, stale=stale) == LoginGranted()
    assert logins.put(client, OF, "juliet", "a", stream) == "noted"


def test_one_logs_a_user_in_and_all_get_his_stream(client: Client, server: Server) -> None:
    assert take(client, OF, "juliet", A) == LoginGranted()
    busy = take(client, OF, "juliet", B)
    assert isinstance(busy, LoginBusy)
    assert 0 < busy.remaining_ms <= LONG_MS
    assert isinstance(take(client, OF, "romeo", B), LoginBusy), "the server has one lock for all its users"
    assert isinstance(take(client, OTHER, "juliet", B), LoginBusy), "and for all its targets"
    assert take(client, ELSEWHERE, "juliet", B) == LoginGranted(), "each server for itself"
    assert logins.put(client, OF, "juliet", "a", "ofchat-17") == "noted"
    for turn in (A, B):
        assert take(client, OF, "juliet", turn) == LoggedIn("ofchat-17")
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedIn("ofchat-17")
    assert server.raw.get(LEASE) in (None, b""), "it rests for 5 ms at most"


def test_reader_of_a_lost_stream_gets_the_new_one_or_the_turn(client: Client) -> None:
    log_in(client, "old")
    assert take(client, OF, "juliet", B, stale="older") == LoggedIn("old")
    assert take(client, OF, "juliet", B, stale="old") == LoginGranted()
    assert isinstance(take(client, OF, "juliet", A, stale="old"), LoginBusy)
    assert logins.put(client, OF, "juliet", "b", "new") == "noted"
    assert take(client, OF, "juliet", A, stale="old") == LoggedIn("new")


def test_turn_of_a_dead_process_passes_on_and_late_answers_fail(client: Client) -> None:
    assert take(client, OF, "juliet", LoginLock("dead", 50)) == LoginGranted()
    until(lambda: take(client, OF, "juliet", B) == LoginGranted(), "the lease ends")
    assert logins.put(client, OF, "juliet", "dead", "late") == "unchanged"
    assert logins.put(client, OF, "juliet", "b", "new") == "noted"
    assert logins.put(client, OF, "juliet", "dead", "late") == "unchanged"
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedIn("new")


def test_refused_login_leaves_the_turn_to_the_next(client: Client) -> None:
    log_in(client, "old")
    assert take(client, OF, "juliet", A, stale="old") == LoginGranted()
    assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedIn("old")
    assert take(client, OF, "juliet", B, stale="old") == LoginGranted()


def log_off(client: Client, stream: str) -> None:
    assert start_logoff(client, OF, "juliet", A, "off") == LoginGranted(stream)
    assert logins.end(client, OF, "juliet", LoggedIn(stream))
    assert logins.put(client, OF, "juliet", "a", "") == "unchanged"


def test_logoff_reaches_watchers_and_a_login_undoes_it(client: Client) -> None:
    assert logins.read_states(client, OF, ["juliet"])[0] is None
    assert start_logoff(client, OF, "juliet", A, "off") is None, "nobody knew a stream of her"
    log_in(client, "old")
    log_off(client, "old")
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedOff()
    assert start_logoff(client, OF, "juliet", A, "off") == LoggedOff()
    assert take(client, OF, "juliet", A, stays_off=True) == LoggedOff()
    assert take(client, OF, "juliet", A) == LoginGranted()
    assert logins.put(client, OF, "juliet", "a", "new") == "noted"
    assert take(client, OF, "juliet", B, stays_off=True) == LoggedIn("new")


def test_a_logoff_names_the_login_that_it_ended(client: Client) -> None:
    numbers = []
    for stream in ("one", "two"):
        log_in(client, stream)
        on = logins.read_states(client, OF, ["juliet"])[0]
        assert start_logoff(client, OF, "juliet", A, "off") == LoginGranted(stream)
        begun = logins.read_states(client, OF, ["juliet"])[0]
        assert logins.end(client, OF, "juliet", LoggedIn(stream))
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        done = logins.read_states(client, OF, ["juliet"])[0]
        assert isinstance(on, LoggedIn)
        assert isinstance(begun, LoggedOff)
        assert isinstance(done, LoggedOff)
        assert on.number == begun.number == done.number
        numbers.append(on.number)
    assert numbers[0] != numbers[1]


def test_no_login_or_question_starts_during_a_logoff(client: Client) -> None:
    log_in(client, "old")
    assert start_logoff(client, OF, "juliet", A, "off") == LoginGranted("old")
    assert take(client, OF, "juliet", B, stays_off=True) == LoggedOff()
    for other in (
        take(client, OF, "juliet", B),
        start_logoff(client, OF, "juliet", B, "off"),
        ask(client, "one"),
    ):
        assert isinstance(other, LoginBusy)


def test_logoff_with_unknown_end_is_ended_by_the_next_caller(client: Client) -> None:
    known: list[tuple[LogoffReason, LoginState, LoginState]] = [
        ("off", LoggedOff("old"), LoggedOff()),
        ("doubted", SessionUncertain("old"), None),
    ]
    for how, before, after in known:
        log_in(client, "old")
        assert start_logoff(client, OF, "juliet", A, how) == LoginGranted("old")
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        assert logins.read_states(client, OF, ["juliet"])[0] == before
        assert ask(client, "one") == LoggedOff()
        assert take(client, OF, "juliet", A) == LoginGranted("old")
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        assert logins.end(client, OF, "juliet", LoggedIn("old"))
        assert logins.read_states(client, OF, ["juliet"])[0] == after


def test_perhaps_logged_in_user_is_checked_before_he_asks(client: Client) -> None:
    for before in (None, LoggedOff()):
        assert logins.read_states(client, OF, ["juliet"])[0] == before
        assert take(client, OF, "juliet", A) == LoginGranted()
        assert logins.put(client, OF, "juliet", "a", "? one") == "unchanged"
        assert isinstance(take(client, OF, "juliet", B), LoginBusy), "it may be under way"
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        assert logins.read_states(client, OF, ["juliet"])[0] == SessionUncertain("? one")
        assert ask(client, "one") == LoggedOff()
        assert start_logoff(client, OF, "juliet", A, "off") is None, "only a login gives his stream"
        assert start_logoff(client, OF, "juliet", A, "doubted") == LoginGranted("? one")
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        assert logins.end(client, OF, "juliet", LoggedIn("? one"))
        log_in(client, "new")
        assert take(client, OF, "juliet", A, stale="new") == LoginGranted()
        assert logins.put(client, OF, "juliet", "a", "? two") == "unchanged"
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
        log_off(client, "new")


def test_logged_off_user_stays_so_when_his_session_is_doubted(client: Client) -> None:
    log_in(client, "old")
    assert start_logoff(client, OF, "juliet", A, "off") == LoginGranted("old")
    assert start_logoff(client, OF, "juliet", A, "doubted") == LoginGranted("old")
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedOff("old")


def test_a_name_is_logged_in_or_it_asks_and_never_both(client: Client) -> None:
    log_in(client, "old")
    assert ask(client, "one") == LoggedIn("")
    log_off(client, "old")
    assert take(client, OF, "juliet", A) == LoginGranted()
    assert isinstance(ask(client, "one"), LoginBusy), "a process logs her in"
    assert logins.put(client, OF, "juliet", "a", "") == "unchanged"
    assert ask(client, "one") == LoginGranted()
    for stays_off in (True, False):
        assert take(client, OF, "juliet", A, stays_off=stays_off) == AskingOnly("one")
    assert logins.read_states(client, OF, ["juliet", "romeo"]) == [AskingOnly("one"), None]
    assert start_logoff(client, OF, "juliet", A, "off") is None
    assert not logins.end(client, OF, "juliet", LoggedIn("one")), "it is no stream"
    assert logins.end(client, OF, "juliet", AskingOnly("one"))
    assert take(client, OF, "juliet", A) == LoginGranted()


def test_question_ending_behind_another_has_readers_look_again(client: Client) -> None:
    for name in ("one", "two"):
        assert ask(client, name) == LoginGranted()
    assert logins.read_states(client, OF, ["juliet"])[0] == AskingOnly("one two")
    assert not logins.end(client, OF, "juliet", AskingOnly("two"))
    assert take(client, OF, "juliet", A) == AskingOnly("one"), "the first may be under way still"
    assert ask(client, "three") == LoginGranted()
    assert logins.end(client, OF, "juliet", AskingOnly("one three"))


def test_last_of_many_questions_of_a_name_are_noted(client: Client) -> None:
    for number in range(100):
        assert ask(client, f"c{number}") == LoginGranted()
    assert logins.read_states(client, OF, ["juliet"])[0] == AskingOnly(
        " ".join(f"c{number}" for number in range(68, 100))
    )


def test_ended_stream_is_forgotten_and_another_one_is_not(client: Client) -> None:
    log_in(client, "old")
    assert not logins.end(client, OF, "juliet", LoggedIn("older"))
    assert logins.read_states(client, OF, ["juliet"])[0] == LoggedIn("old")
    assert logins.end(client, OF, "juliet", LoggedIn("old"))
    assert logins.read_states(client, OF, ["juliet"])[0] is None


def test_foreign_text_is_no_login(client: Client, server: Server) -> None:
    for entry in (b"", b"on", b"on now ofchat", b"asks now one", "on ² ofchat", b'{"stream": "x"}', b"\xff"):
        server.raw.hset(LOGINS, "juliet", entry)
        assert logins.read_states(client, OF, ["juliet"])[0] is None
        assert take(client, OF, "juliet", A, stays_off=True) == LoginGranted()
        assert logins.put(client, OF, "juliet", "a", "") == "unchanged"


def test_a_login_whose_number_is_none_of_redis_is_refused(client: Client, server: Server) -> None:
    server.raw.hset(LOGINS, "juliet", b"on " + b"1" * 5000 + b" ofchat")
    with pytest.raises(StoreRefused):
        logins.read_states(client, OF, ["juliet"])[0]


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: take(client, OF, "juliet", A), LoginGranted()),
    (lambda client: logins.put(client, OF, "juliet", "a", "new"), "noted"),
    (lambda client: start_logoff(client, OF, "juliet", A, "off"), LoginGranted("new")),
    (lambda client: logins.end(client, OF, "juliet", LoggedIn("new")), True),
    (lambda client: logins.put(client, OF, "juliet", "a", ""), "unchanged"),
    (lambda client: claim(client, OF, "juliet", LoginLock("one", LONG_MS)), LoginGranted()),
    (lambda client: logins.put(client, OF, "", "one", ""), "unchanged"),
    (lambda client: logins.end(client, OF, "juliet", AskingOnly("another")), False),
    (lambda client: logins.end(client, OF, "juliet", AskingOnly("one")), True),
]


@on_both
def test_repeated_call_after_a_lost_answer_answers_the_same(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    until(lambda: not server.raw.exists(LEASE, STREAMS), "nothing is left")


def test_two_users_never_have_one_stream(client: Client, server: Server) -> None:
    """Another program may log a user in at the same moment: both get one id, and neither may act on it."""
    log_in(client, "same")
    assert take(client, OTHER, "juliet", B) == LoginGranted()
    assert logins.put(client, OTHER, "juliet", "b", "same") == "noted", "one user has one stream, by any target"
    assert take(client, OTHER, "romeo", B) == LoginGranted()
    assert logins.put(client, OTHER, "romeo", "b", "same") == "shared"
    assert logins.read_states(client, OTHER, ["juliet"])[0] == SessionUncertain("same")
    assert logins.read_states(client, OTHER, ["romeo"])[0] is None
    assert isinstance(take(client, OF, "nurse", A), LoginBusy), "the lock stays for the next login"
    assert logins.put(client, OTHER, "romeo", "b", "new") == "noted"
    assert take(client, OTHER, "juliet", A) == LoginGranted("same"), "she is logged off before she gets another"
    assert logins.put(client, OTHER, "juliet", "a", "newer") == "noted"
    assert server.raw.hgetall(STREAMS) == {b"new": b"other romeo", b"newer": b"other juliet"}


def test_a_stream_of_a_login_that_is_over_may_be_anyones(client: Client, server: Server) -> None:
    log_in(client, "old")
    server.raw.hset(LOGINS, "juliet", b"on 17 new")
    assert take(client, OF, "romeo", B) == LoginGranted()
    assert logins.put(client, OF, "romeo", "b", "old") == "noted"


def test_the_next_waits_for_5_ms(client: Client, server: Server) -> None:
    """The plugin makes ids of milliseconds: a login in the same one gets the same id."""
    assert logins.take(client, OF, "juliet", A) == LoginGranted()
    assert logins.put(client, OF, "juliet", "a", "new") == "noted"
    began_s = time.monotonic()
    assert take(client, OF, "romeo", B) == LoginGranted()
    assert time.monotonic() - began_s > 0.003, "less the time of the answer"
    server.raw.set(LEASE, "", px=LONG_MS, xx=True)
    for again in (A, B):
        assert isinstance(logins.take(client, OF, "romeo", again), LoginBusy)


def test_no_repr_shows_a_stream() -> None:
    assert "ofchat" not in repr(
        (LoggedIn("ofchat1"), LoggedOff("ofchat1"), SessionUncertain("ofchat1"), LoginGranted("ofchat1"))
    )
