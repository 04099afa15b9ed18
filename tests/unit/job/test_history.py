"""What a settlement leaves in the payload of a job that is not done: its history, and what is known of it."""

import json
from typing import Any

import attrs
import pytest

from restbroker.job.command import CommandSpec
from restbroker.job.format import ResponseQueue
from restbroker.job.job import digest
from restbroker.job.outcome import Deferred, Delivered, Rejected, Uncertain
from restbroker.job.settle import (
    Final,
    drop_reply,
    may_send,
    settle,
    settle_crashed,
)
from restbroker.job.settlement import Ack, Dead, Drop, OrphanedJob, Reply, Retry, Schedule
from tests.support.rows import rows
from tests.support.settling import NOW_S, ONCE, WHY, context, job, payload, settled

LONG = attrs.evolve(WHY, message="it broke " + "x" * 300)
KEY = "restbroker:reply:k"
REPLIES = (Reply(b"{}", key=KEY, ttl_s=5),)


DEAD: list[tuple[dict[str, Any], Final, str]] = [
    ({}, Rejected(LONG, "words"), "rejected"),
    ({"retry": False}, Deferred(LONG, text="words"), "failed"),
    ({"retry_count": 1, "failed_at": 1.5}, Deferred(LONG, max_attempts=3, text="words"), "failed"),
    ({"restbroker_deferred": 2}, Deferred(LONG, counts=False, max_attempts=3, text="words"), "failed"),
    ({"restbroker_deferred": 5, "retry": 0}, Deferred(LONG, counts=False, text="words"), "failed"),
    ({"restbroker_uncertain": 2}, Uncertain(LONG), "uncertain"),
    ({"restbroker_uncertain": 1}, Rejected(LONG, "words"), "rejected"),
]
KEPT: list[tuple[dict[str, Any], Final, str]] = [
    ({}, Deferred(LONG), "failed"),
    ({"retry_count": 0, "failed_at": 1.5}, Deferred(LONG, max_attempts=3), "failed"),
    ({"restbroker_deferred": 5}, Deferred(LONG, counts=False), "failed"),
    ({}, Uncertain(LONG), "uncertain"),
]


@rows(("fields", "outcome", "called"), DEAD + KEPT)
def test_each_try_is_the_last_line_of_the_jobs_history(fields: dict[str, Any], outcome: Final, called: str) -> None:
    earlier = {"code": "Earlier"}
    settlement = settle(job(**fields, restbroker_attempts=[earlier]), ONCE, outcome, context())
    assert isinstance(settlement, Dead if (fields, outcome, called) in DEAD else Retry)
    assert payload(settlement)["restbroker_attempts"] == [
        earlier,
        {
            "at": 1_700_000_000.123, "status": 500, "outcome": called, "code": "ServerError", "ms": 12.3,
            "excerpt": "it broke " + "x" * 191,
        },
    ]  # fmt: skip


@pytest.mark.promise("No command is lost", "a job with retry: false dies when it fails")
@rows(("fields", "outcome", "called"), DEAD)
def test_reply_of_a_dead_job_has_the_servers_words(fields: dict[str, Any], outcome: Final, called: str) -> None:
    settlement = settled(Dead, job(**fields, reply_to=KEY), ONCE, outcome)
    (reply,) = settlement.replies
    answer = json.loads(reply.payload)
    assert answer == {
        "jid": "a" * 24, "command": "cmd", "text": "" if called == "uncertain" else "words", "status": 500,
        "outcome": called, "answer": None, "attempts": answer["attempts"], "duration_ms": 12.3,
        "error": {"code": "ServerError", "message": LONG.message, "cure": "mend it"},
        **({"may_have_run": True} if "restbroker_uncertain" in fields else {}),
    }  # fmt: skip


@rows(("before", "times"), [(0, 1), (1, 2), (4, 5), (-3, 1), (-(10**9), 1), ("2", 1), (None, 1), (1.5, 1), (False, 1)])
def test_deferred_job_counts_and_a_strange_count_starts_afresh(before: object, times: int) -> None:
    put_off = settled(Schedule, job(restbroker_deferred=before), ONCE, Deferred(LONG, counts=False, max_attempts=6))
    assert payload(put_off)["restbroker_deferred"] == times
    assert "retry_count" not in payload(put_off)


def test_job_deferred_five_times_uses_up_tries_afterwards() -> None:
    outcome = Deferred(LONG, counts=False, retry_after_s=100.0)
    assert isinstance(settle(job(restbroker_deferred=4), ONCE, outcome, context()), Schedule)
    crashed_once = attrs.evolve(job(restbroker_deferred=5, restbroker_uncertain=1), maybe_run=2)
    sixth = settled(Retry, crashed_once, ONCE, outcome)
    assert sixth.delay_s == pytest.approx(100)
    assert (payload(sixth)["retry_count"], payload(sixth)["restbroker_uncertain"]) == (0, 2)


@rows(("wanted_s", "jitter", "after_s"), [(None, 0.0, 2), (None, 0.5, 3.5), (30.0, 0.0, 30), (0.0, 0.5, 1.5)])
def test_job_is_deferred_for_2_s_or_as_asked_and_up_to_3_s_more(
    wanted_s: float | None, jitter: float, after_s: float
) -> None:
    outcome = Deferred(LONG, counts=False, retry_after_s=wanted_s)
    put_off = settled(Schedule, job(), ONCE, outcome, jitter=jitter)
    assert put_off.delay_s == pytest.approx(after_s)


@rows("outcome", [Deferred(LONG, counts=False), Deferred(LONG), Rejected(LONG)])
def test_equal_jobs_of_one_batch_stay_apart_in_a_set(outcome: Final) -> None:
    one, other = (settle(job(), ONCE, outcome, context(unique=number)) for number in (1, 2))
    assert payload(one) != payload(other)


def test_at_most_once_unanswered_command_dies_and_is_not_resent() -> None:
    settlement = settled(Dead, job(), CommandSpec("get", (), "safe"), Uncertain(LONG), at_most_once=True)
    assert payload(settlement)["restbroker_may_have_run"] is True
    assert may_send(job(), ONCE, 2, at_most_once=True)
    assert not may_send(job(restbroker_uncertain=1), ONCE, 2, at_most_once=True)


def test_death_by_a_crash_is_in_the_history_as_perhaps_run() -> None:
    raw = b'{"args":[],"queue":"elsewhere"}'
    dead = settle_crashed(OrphanedJob("life", "7:1", "q", raw), NOW_S)
    fields = json.loads(dead.payload)
    assert (fields["jid"], fields["queue"]) == (digest(raw)[:24], "q")
    assert fields["restbroker_may_have_run"] is True
    (line,) = fields["restbroker_attempts"]
    assert (line["outcome"], line["ms"], line["status"]) == ("uncertain", 0.0, None)
    assert (fields["failed_at"], dead.at_s, dead.replies) == (NOW_S, NOW_S, ())
    unreadable = settle_crashed(OrphanedJob("life", "7:1", "q", b"{x", ResponseQueue("r", "Add")), NOW_S)
    wrapped = json.loads(unreadable.payload)
    assert (wrapped["jid"], wrapped["queue"]) == (digest(b"{x")[:24], "q")
    assert (unreadable.at_s, unreadable.replies) == (NOW_S, ())


@rows("settlement", [Retry(5.0, b"{}", REPLIES), Dead(5.0, b"{}", REPLIES), Drop(REPLIES)])
def test_refused_reply_changes_nothing_else_about_a_failed_job(settlement: Retry | Dead | Drop) -> None:
    assert drop_reply(job(), settlement, "WRONGTYPE", context()) == attrs.evolve(settlement, replies=())


def test_job_with_refused_reply_was_delivered_and_names_the_cure() -> None:
    settlement = drop_reply(job(), Ack(REPLIES), "WRONGTYPE of k", context())
    assert isinstance(settlement, Dead)
    assert (settlement.at_s, settlement.replies) == (NOW_S, ())
    fields = payload(settlement)
    assert fields["error_class"] == "ReplyRefused"
    assert fields["restbroker_attempts"][0]["outcome"] == "delivered"
    assert "WRONGTYPE of k" in fields["error_message"]
    assert "Check the key" in fields["error_message"]


@rows(("negative", "called"), [(True, "negative"), (False, "delivered")])
def test_reply_says_how_the_server_answered(*, negative: bool, called: str) -> None:
    outcome = Delivered("1", 1, 200, negative=negative, note="already done")
    settlement = settled(Ack, job(reply_to=KEY), ONCE, outcome)
    answer = json.loads(settlement.replies[0].payload)
    assert (answer["outcome"], answer["note"], answer["answer"], answer["status"]) == (called, "already done", 1, 200)
