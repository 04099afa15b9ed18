"""Pauses that people make, and what they noted of them."""

import pytest

from restbroker.store import limits, pauses, queues
from restbroker.store.client import Client
from restbroker.store.jobs import FetchResult
from restbroker.store.jobs import TargetPaused as NotNow
from restbroker.store.pauses import Pause, PauseEnd
from tests.store.pools import Pool, Server, on_both
from tests.support.wait import until

TARGET = "ns:restbroker:pause:t"


@on_both
def test_paused_queue_is_in_sidekiq_pros_set_with_who_and_why(pool: Pool, server: Server) -> None:
    queues.push(pool.client, "a", [b"1"])
    assert pauses.pause_queue(pool.client, "a", "ann", "the server moves", None) is True
    assert server.raw.smembers("ns:paused") == {b"a"}
    found = pauses.paused_queues(pool.client)
    since_s = found["a"].since_s
    assert found == {"a": Pause("operator", None, "ann", "the server moves", since_s)}
    assert since_s is not None
    assert abs(server.now_us() / 1e6 - since_s) < 5


def test_queue_paused_by_others_has_neither_author_nor_reason(client: Client, server: Server) -> None:
    pauses.pause_queue(client, "b", "ann", "mine", 600.0)
    server.raw.srem("ns:paused", "b")
    server.raw.sadd("ns:paused", "a")
    assert pauses.paused_queues(client) == {"a": Pause("operator")}
    assert pauses.end_due(client) == []
    server.raw.sadd("ns:paused", "b")
    assert pauses.paused_queues(client)["b"] == Pause("operator"), "the old note is gone"


@on_both
def test_ended_pause_ends_once_and_names_its_author(client: Client, server: Server) -> None:
    pauses.pause_queue(client, "a", "ann", "for now", 0.0)
    pauses.pause_queue(client, "b", "ann", "for long", 600.0)
    pauses.pause_queue(client, "c", "ann", "forever", None)
    pauses.pause_target(client, "t", "bob", "", 0.0)
    pauses.pause_target(client, "u", "bob", "", None)
    ended = until(lambda: pauses.end_due(client), "a millisecond passes")
    assert ended == [PauseEnd("queue", "a", "ann", "for now"), PauseEnd("target", "t", "bob", None)]
    assert pauses.end_due(client) == []
    assert server.raw.smembers("ns:paused") == {b"b", b"c"}
    assert set(pauses.paused_queues(client)) == {"b", "c"}
    assert set(pauses.paused_targets(client, ["t"])) == {"u"}, "a target that nobody serves is found by its note"


def test_paused_target_is_not_fetched_for_until_resumed(pool: Pool, server: Server) -> None:
    pauses.pause_target(pool.client, "t", "ann", "it is slow", None)
    assert isinstance(pool.ask(0), NotNow)
    (found,) = pauses.paused_targets(pool.client, ["t"])["t"]
    assert (found.reason, found.remaining_s, found.who, found.why) == ("operator", None, "ann", "it is slow")
    assert pauses.resume_target(pool.client, "t") is True
    assert pauses.resume_target(pool.client, "t") is False
    assert isinstance(pool.ask(0), FetchResult)
    assert server.raw.exists(TARGET, "ns:restbroker:pauses:targets") == 0


def test_a_pause_ends_by_redis_clock(client: Client, server: Server) -> None:
    began_us = server.now_us()
    pauses.pause_target(client, "t", "ann", "", 60.0)
    assert began_us <= int(server.raw.hget(TARGET, "operator")) - 60_000_000 <= server.now_us()


def test_last_word_about_a_target_counts_and_other_reasons_stay(client: Client, server: Server) -> None:
    limits.pause(client, "t", "denied", 60.0)
    for first_s in (None, 6000.0, 60.0):
        pauses.pause_target(client, "t", "ann", "first", first_s)
        pauses.pause_target(client, "t", "bob", "second", 600.0)
        denied, operator = pauses.paused_targets(client, ["t"])["t"]
        assert (denied.reason, denied.who) == ("denied", None)
        assert (operator.reason, operator.who, operator.why) == ("operator", "bob", "second")
        assert operator.remaining_s == pytest.approx(600, abs=30)
        assert server.raw.pttl(TARGET) == pytest.approx(600_000, abs=30_000), "the key ends with the last of its pauses"
        assert set(limits.pauses(client, "t")) == {"denied", "operator"}
    limits.pause(client, "t", "retry_after", 60.0)
    assert server.raw.pttl(TARGET) > 500_000, "a shorter one takes nothing of it"


def test_a_note_counts_only_for_the_pause_that_it_was_made_with(client: Client, server: Server) -> None:
    pauses.pause_target(client, "t", "ann", "mine", 600.0)
    server.raw.hset(TARGET, "operator", 0)
    assert pauses.paused_targets(client, ["t"])["t"] == (Pause("operator"),)


def test_foreign_note_says_nothing_and_never_ends(client: Client, server: Server) -> None:
    server.raw.sadd("ns:paused", "a", "b", "c")
    notes = {"a": "x", "b": "1 2", "c": '5 0 {"who":7,"why":[]}'}
    server.raw.hset("ns:restbroker:pauses:queues", mapping=notes)
    assert pauses.end_due(client) == []
    found = pauses.paused_queues(client)
    assert {(pause.who, pause.why) for pause in found.values()} == {(None, None)}
    assert len(found) == 3


def test_no_control_character_and_no_endless_text_is_kept(client: Client) -> None:
    pauses.pause_queue(client, "a", "ann\n\x1b[31m\udc80", "w" * 1000, None)
    found = pauses.paused_queues(client)["a"]
    assert (found.who, found.why) == ("ann  [31m ", "w" * 300)
