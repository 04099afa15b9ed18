"""One login of a user for all: who is at it, what the others get, what a logoff leaves."""

from collections.abc import Callable

from restbroker.store import logins
from restbroker.store.client import Client
from restbroker.store.logins import Asks, Busy, Doubted, How, Known, Off, On, Turn, Yours
from tests.store.lanes import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_MS = 60_000
A, B = Turn("a", LONG_MS), Turn("b", LONG_MS)
LOGINS = "ns:restbroker:logins:of"
LEASE = "ns:restbroker:lease:login:of:juliet"


def log_in(client: Client, stream: str, stale: str = "") -> None:
    assert logins.take(client, "of", "juliet", A, stale=stale) == Yours()
    assert logins.put(client, "of", "juliet", "a", stream)


def test_one_logs_a_user_in_and_all_get_his_stream(client: Client, server: Server) -> None:
    assert logins.take(client, "of", "juliet", A) == Yours()
    busy = logins.take(client, "of", "juliet", B)
    assert isinstance(busy, Busy)
    assert 0 < busy.left_ms <= LONG_MS
    assert logins.take(client, "of", "romeo", B) == Yours(), "each user for himself"
    assert logins.take(client, "other", "juliet", B) == Yours(), "each target for itself"
    assert logins.put(client, "of", "juliet", "a", "ofchat-17")
    for turn in (A, B):
        assert logins.take(client, "of", "juliet", turn) == On("ofchat-17")
    assert logins.known(client, "of", "juliet") == On("ofchat-17")
    assert not server.raw.exists(LEASE)


def test_who_knows_a_stream_to_be_gone_gets_the_new_one_or_the_turn(client: Client) -> None:
    log_in(client, "old")
    assert logins.take(client, "of", "juliet", B, stale="older") == On("old")
    assert logins.take(client, "of", "juliet", B, stale="old") == Yours()
    assert isinstance(logins.take(client, "of", "juliet", A, stale="old"), Busy)
    assert logins.put(client, "of", "juliet", "b", "new")
    assert logins.take(client, "of", "juliet", A, stale="old") == On("new")


def test_when_who_logs_in_dies_another_does_and_the_late_answer_changes_nothing(client: Client) -> None:
    assert logins.take(client, "of", "juliet", Turn("dead", 50)) == Yours()
    until(lambda: logins.take(client, "of", "juliet", B) == Yours(), "the lease ends")
    assert not logins.put(client, "of", "juliet", "dead", "late")
    assert logins.put(client, "of", "juliet", "b", "new")
    assert not logins.put(client, "of", "juliet", "dead", "late")
    assert logins.known(client, "of", "juliet") == On("new")


def test_who_was_refused_leaves_the_turn_to_the_next(client: Client) -> None:
    log_in(client, "old")
    assert logins.take(client, "of", "juliet", A, stale="old") == Yours()
    assert not logins.put(client, "of", "juliet", "a", "")
    assert logins.known(client, "of", "juliet") == On("old")
    assert logins.take(client, "of", "juliet", B, stale="old") == Yours()


def log_off(client: Client, stream: str) -> None:
    assert logins.off(client, "of", "juliet", A, "off") == Yours(stream)
    assert logins.end(client, "of", "juliet", On(stream))
    assert not logins.put(client, "of", "juliet", "a", "")


def test_a_logoff_is_seen_by_who_watches_and_undone_by_who_needs_a_login(client: Client) -> None:
    assert logins.known(client, "of", "juliet") is None
    assert logins.off(client, "of", "juliet", A, "off") is None, "nobody knew a stream of her"
    log_in(client, "old")
    log_off(client, "old")
    assert logins.known(client, "of", "juliet") == Off()
    assert logins.off(client, "of", "juliet", A, "off") == Off()
    assert logins.take(client, "of", "juliet", A, stays_off=True) == Off()
    assert logins.take(client, "of", "juliet", A) == Yours()
    assert logins.put(client, "of", "juliet", "a", "new")
    assert logins.take(client, "of", "juliet", B, stays_off=True) == On("new")


def test_a_logoff_names_the_login_that_it_ended(client: Client) -> None:
    numbers = []
    for stream in ("one", "two"):
        log_in(client, stream)
        on = logins.known(client, "of", "juliet")
        assert logins.off(client, "of", "juliet", A, "off") == Yours(stream)
        begun = logins.known(client, "of", "juliet")
        assert logins.end(client, "of", "juliet", On(stream))
        assert not logins.put(client, "of", "juliet", "a", "")
        done = logins.known(client, "of", "juliet")
        assert isinstance(on, On)
        assert isinstance(begun, Off)
        assert isinstance(done, Off)
        assert on.number == begun.number == done.number
        numbers.append(on.number)
    assert numbers[0] != numbers[1]


def test_nobody_logs_in_or_asks_while_somebody_logs_off(client: Client) -> None:
    log_in(client, "old")
    assert logins.off(client, "of", "juliet", A, "off") == Yours("old")
    assert logins.take(client, "of", "juliet", B, stays_off=True) == Off()
    for other in (
        logins.take(client, "of", "juliet", B),
        logins.off(client, "of", "juliet", B, "off"),
        logins.ask(client, "of", "juliet", "one"),
    ):
        assert isinstance(other, Busy)


def test_a_logoff_whose_end_is_not_known_is_ended_by_the_next_who_comes(client: Client) -> None:
    known: list[tuple[How, Known, Known]] = [("off", Off("old"), Off()), ("doubted", Doubted("old"), None)]
    for how, before, after in known:
        log_in(client, "old")
        assert logins.off(client, "of", "juliet", A, how) == Yours("old")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.known(client, "of", "juliet") == before
        assert logins.ask(client, "of", "juliet", "one") == Off()
        assert logins.take(client, "of", "juliet", A) == Yours("old")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.end(client, "of", "juliet", On("old"))
        assert logins.known(client, "of", "juliet") == after


def test_who_may_be_logged_in_is_looked_for_before_he_asks(client: Client) -> None:
    for before in (None, Off()):
        assert logins.known(client, "of", "juliet") == before
        assert logins.take(client, "of", "juliet", A) == Yours()
        assert not logins.put(client, "of", "juliet", "a", "? one")
        assert logins.known(client, "of", "juliet") == Doubted("? one")
        assert logins.ask(client, "of", "juliet", "one") == Off()
        assert logins.off(client, "of", "juliet", A, "off") is None, "only a login gives his stream"
        assert logins.off(client, "of", "juliet", A, "doubted") == Yours("? one")
        assert not logins.put(client, "of", "juliet", "a", "")
        assert logins.end(client, "of", "juliet", On("? one"))
        log_in(client, "new")
        assert logins.take(client, "of", "juliet", A, stale="new") == Yours()
        assert not logins.put(client, "of", "juliet", "a", "? two")
        log_off(client, "new")


def test_who_was_logged_off_stays_so_when_his_session_is_doubted(client: Client) -> None:
    log_in(client, "old")
    assert logins.off(client, "of", "juliet", A, "off") == Yours("old")
    assert logins.off(client, "of", "juliet", A, "doubted") == Yours("old")
    assert logins.known(client, "of", "juliet") == Off("old")


def test_a_name_is_logged_in_or_it_asks_and_never_both(client: Client) -> None:
    log_in(client, "old")
    assert logins.ask(client, "of", "juliet", "one") == On("")
    log_off(client, "old")
    assert logins.take(client, "of", "juliet", A) == Yours()
    assert isinstance(logins.ask(client, "of", "juliet", "one"), Busy), "somebody logs her in"
    assert not logins.put(client, "of", "juliet", "a", "")
    assert logins.ask(client, "of", "juliet", "one") == Yours()
    for stays_off in (True, False):
        assert logins.take(client, "of", "juliet", A, stays_off=stays_off) == Asks("one")
    assert logins.noted(client, "of", ["juliet", "romeo"]) == [Asks("one"), None]
    assert logins.off(client, "of", "juliet", A, "off") is None
    assert not logins.end(client, "of", "juliet", On("one")), "it is no stream"
    assert logins.end(client, "of", "juliet", Asks("one"))
    assert logins.take(client, "of", "juliet", A) == Yours()


def test_a_question_that_ends_behind_another_one_has_its_readers_look_again(client: Client) -> None:
    for claim in ("one", "two"):
        assert logins.ask(client, "of", "juliet", claim) == Yours()
    assert logins.known(client, "of", "juliet") == Asks("one two")
    assert not logins.end(client, "of", "juliet", Asks("two"))
    assert logins.take(client, "of", "juliet", A) == Asks("one"), "the first may be under way still"
    assert logins.ask(client, "of", "juliet", "three") == Yours()
    assert logins.end(client, "of", "juliet", Asks("one three"))


def test_of_many_questions_of_one_name_the_last_are_noted(client: Client) -> None:
    for number in range(100):
        assert logins.ask(client, "of", "juliet", f"c{number}") == Yours()
    assert logins.known(client, "of", "juliet") == Asks(" ".join(f"c{number}" for number in range(68, 100)))


def test_a_stream_that_was_ended_is_forgotten_and_another_one_is_not(client: Client) -> None:
    log_in(client, "old")
    assert not logins.end(client, "of", "juliet", On("older"))
    assert logins.known(client, "of", "juliet") == On("old")
    assert logins.end(client, "of", "juliet", On("old"))
    assert logins.known(client, "of", "juliet") is None


def test_what_somebody_else_wrote_there_is_no_login(client: Client, server: Server) -> None:
    for entry in (b"", b"on", b"on now ofchat", b'{"stream": "x"}', b"\xff"):
        server.raw.hset(LOGINS, "juliet", entry)
        assert logins.take(client, "of", "juliet", A, stays_off=True) == Yours()
        assert not logins.put(client, "of", "juliet", "a", "")


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: logins.take(client, "of", "juliet", A), Yours()),
    (lambda client: logins.put(client, "of", "juliet", "a", "new"), True),
    (lambda client: logins.off(client, "of", "juliet", A, "off"), Yours("new")),
    (lambda client: logins.end(client, "of", "juliet", On("new")), True),
    (lambda client: logins.put(client, "of", "juliet", "a", ""), False),
    (lambda client: logins.ask(client, "of", "juliet", "one"), Yours()),
    (lambda client: logins.end(client, "of", "juliet", Asks("another")), False),
    (lambda client: logins.end(client, "of", "juliet", Asks("one")), True),
]


@on_both
def test_each_call_whose_answer_is_lost_answers_the_same_the_second_time(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)
    assert not server.raw.exists(LEASE)


def test_no_repr_shows_a_stream() -> None:
    assert "ofchat" not in repr((On("ofchat1"), Off("ofchat1"), Doubted("ofchat1"), Yours("ofchat1")))
