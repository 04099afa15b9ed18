"""Who is in which room by his present login: whose turn it is, what is forgotten, and when."""

from collections.abc import Callable

import pytest

from restbroker.store import rooms
from restbroker.store.client import Client
from restbroker.store.logins import LoginBusy, LoginGranted, LoginLock
from restbroker.store.rooms import RoomMembership
from tests.store.pools import Server, on_both
from tests.store.proxy import assert_each_may_be_sent_twice
from tests.support.wait import until

LONG_MS = 60_000
A, B = LoginLock("a", LONG_MS), LoginLock("b", LONG_MS)
STAY = RoomMembership("balcony@conference", "juliet", "ofchat-17")
LATER = RoomMembership("balcony@conference", "juliet", "ofchat-18")
KEY = "ns:restbroker:room:of:balcony@conference"


def end(client: Client, state: rooms.State, stay: RoomMembership = STAY) -> None:
    assert rooms.take(client, "of", stay, A, "again") == LoginGranted()
    assert rooms.put(client, "of", stay, "a", state)


def test_one_joins_and_others_wait_also_those_that_only_look(client: Client) -> None:
    assert rooms.take(client, "of", STAY, A, "need") == LoginGranted()
    for need in ("look", "need", "again"):
        busy = rooms.take(client, "of", STAY, B, need)
        assert isinstance(busy, LoginBusy)
        assert 0 < busy.remaining_ms <= LONG_MS
    assert rooms.take(client, "other", STAY, B, "look") == ""
    assert rooms.put(client, "of", STAY, "a", "in")
    assert [rooms.take(client, "of", STAY, B, need) for need in ("look", "need")] == ["in", "in"]
    assert rooms.take(client, "of", STAY, B, "again") == LoginGranted()


def test_user_outside_joins_where_needed_as_a_look_says(client: Client) -> None:
    assert rooms.take(client, "of", STAY, A, "look") == ""
    end(client, "out")
    assert rooms.take(client, "of", STAY, A, "look") == "out"
    assert rooms.take(client, "of", STAY, A, "need") == LoginGranted()
    assert rooms.put(client, "of", STAY, "a", "")
    assert rooms.take(client, "of", STAY, A, "look") == ""


def test_knowledge_of_rooms_ends_with_the_login(client: Client) -> None:
    end(client, "in")
    assert rooms.take(client, "of", LATER, B, "look") == ""
    assert rooms.take(client, "of", LATER, B, "need") == LoginGranted()


def test_join_of_a_dead_process_passes_on_and_late_news_fails(client: Client) -> None:
    assert rooms.take(client, "of", STAY, LoginLock("dead", 50), "need") == LoginGranted()
    until(lambda: rooms.take(client, "of", STAY, B, "need") == LoginGranted(), "the lease ends")
    assert not rooms.put(client, "of", STAY, "dead", "in")
    assert rooms.put(client, "of", STAY, "b", "out")
    assert not rooms.put(client, "of", STAY, "dead", "in")
    assert rooms.take(client, "of", STAY, B, "look") == "out"


@pytest.mark.parametrize(("user", "is_out", "state"), [("juliet", False, ""), ("", True, "out")])
def test_user_who_lost_a_room_is_in_it_by_no_login(client: Client, user: str, is_out: bool, state: rooms.State) -> None:
    """A user who joins meanwhile leaves no trace."""
    end(client, "in")
    rooms.forget(client, "of", STAY.room, user, is_out=is_out)
    assert [rooms.take(client, "of", stay, B, "look") for stay in (STAY, LATER)] == [state, state]
    assert rooms.take(client, "of", STAY, A, "need") == LoginGranted()
    rooms.forget(client, "of", STAY.room, user, is_out=is_out)
    assert not rooms.put(client, "of", STAY, "a", "in")
    assert rooms.take(client, "of", STAY, B, "look") == state
    end(client, "in")
    assert rooms.take(client, "of", STAY, B, "need") == "in"


def test_one_user_lost_a_room_and_the_others_stay(client: Client) -> None:
    other = RoomMembership(STAY.room, "romeo", "ofchat1")
    end(client, "in")
    end(client, "in", other)
    rooms.forget(client, "of", STAY.room, "juliet", is_out=True)
    assert rooms.take(client, "of", other, B, "look") == "in"


def test_record_ends_a_week_after_the_last_use_and_is_bounded(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(client, "in")
    server.raw.pexpire(KEY, 1000)
    assert rooms.take(client, "of", STAY, B, "need") == "in"
    assert rooms.KEPT_MS - LONG_MS < server.raw.pttl(KEY) <= rooms.KEPT_MS
    monkeypatch.setattr(rooms, "MOST_USERS", 3)
    for number in range(10):
        end(client, "in", RoomMembership(STAY.room, f"user{number}", "ofchat1"))
        assert server.raw.hlen(KEY) <= 3


def test_foreign_text_is_nothing(client: Client, server: Server) -> None:
    for entry in (b"", b"in", b"turn", b"turn a", b"turn a never", b'{"in": 1}', b"\xff"):
        server.raw.hset(KEY, "juliet", entry)
        assert rooms.take(client, "of", STAY, B, "look") == ""
        assert not rooms.put(client, "of", STAY, "a", "in")
        assert rooms.take(client, "of", STAY, A, "need") == LoginGranted()


CALLS: list[tuple[Callable[[Client], object], object]] = [
    (lambda client: rooms.take(client, "of", STAY, A, "need"), LoginGranted()),
    (lambda client: rooms.put(client, "of", STAY, "a", "in"), True),
    (lambda client: rooms.take(client, "of", STAY, A, "need"), "in"),
    (lambda client: rooms.forget(client, "of", STAY.room, "juliet", is_out=True), None),
    (lambda client: rooms.take(client, "of", STAY, A, "look"), "out"),
]


@on_both
def test_repeated_call_after_a_lost_answer_answers_the_same(server: Server) -> None:
    assert_each_may_be_sent_twice(server, CALLS)


def test_no_login_is_in_redis_or_in_a_text(client: Client, server: Server) -> None:
    end(client, "in")
    assert b"ofchat" not in repr(server.raw.hgetall(KEY)).encode()
    assert "ofchat" not in repr(STAY)
