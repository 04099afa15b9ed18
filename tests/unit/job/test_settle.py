"""From outcome to settlement: each row of the table."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import CommandSpec
from restbroker.job.format import ResponseQueue
from restbroker.job.job import spare_jid
from restbroker.job.outcome import Deferred, Delivered, Outcome, Ran, Reason, Rejected, Uncertain, Unsent
from restbroker.job.policy import Policy
from restbroker.job.settle import (
    apply_at_most_once,
    before_sending,
    drop_reply,
    may_send,
    perturb,
    postpone,
    requeue,
    settle,
    settle_crashed,
    settle_cut_off,
)
from restbroker.job.settlement import Ack, Dead, Drop, OrphanedJob, Requeue, Retry, Schedule
from tests.support.rows import rows
from tests.support.settling import NOW_S, ONCE, WHY, context, job, payload, read_again, settled

MakeDead = Callable[[OrphanedJob, float], Dead]
SAFE = CommandSpec("check_account", (), "safe")
CREATE = CommandSpec("register", (), "already_done")
NOT_NOW = Deferred(WHY, counts=False)


def test_reply_is_a_complete_job_with_text_and_reply_id() -> None:
    settlement = settled(Ack, job(), SAFE, Delivered('["a"]', ["a"], 200), reply_id="id-1")
    (reply,) = settlement.replies
    fields = json.loads(reply.payload)
    assert reply.queue == "replies"
    assert fields["class"] == "Add"
    assert fields["args"] == ['["a"]', "id-1"]
    assert (fields["jid"], fields["queue"], fields["retry"]) == ("b" * 24, "replies", True)
    assert isinstance(fields["enqueued_at"], float)
    assert isinstance(fields["created_at"], float)


def test_dead_job_is_answered_only_where_details_are_wanted() -> None:
    plain = settled(Dead, job(), SAFE, Rejected(WHY, "no"), reply_id="x")
    assert plain.replies == ()
    policy = Policy(SidekiqBackoff(), reply_queue="replies", reply_details=True)
    detailed = settled(Dead, job(), SAFE, Rejected(WHY, "no"), policy=policy, reply_id="x")
    assert json.loads(detailed.replies[0].payload)["args"][:2] == ["no", "x"]


def test_reply_to_gets_the_details_and_expires() -> None:
    waiting = job(reply_to="restbroker:reply:abc")
    settlement = settled(Ack, waiting, SAFE, Delivered("0", 0, 200))
    (reply,) = settlement.replies
    assert (reply.key, reply.queue, reply.ttl_s) == ("restbroker:reply:abc", None, 3600)
    assert json.loads(reply.payload)["text"] == "0"


def test_rejected_job_dies_with_code_status_and_cure() -> None:
    """The code is its error class."""
    settlement = settled(Dead, job(), SAFE, Rejected(WHY))
    fields = payload(settlement)
    assert settlement.at_s == NOW_S
    assert fields["error_class"] == "ServerError"
    assert fields["error_message"] == "500 it broke. mend it"
    assert isinstance(fields["failed_at"], float)


def test_message_without_a_server_begins_with_no_status() -> None:
    fields = payload(settled(Retry, job(), SAFE, Uncertain(Reason("TimedOut", "No answer", "Look"))))
    assert fields["error_message"] == "No answer. Look"


@pytest.mark.promise("No command is lost", "a job with dead: false vanishes when it fails")
@pytest.mark.promise("Producers: jobs", "dead: only JSON's false counts")
def test_a_job_that_says_dead_false_is_dropped_when_it_fails() -> None:
    assert settle(job(dead=False), SAFE, Rejected(WHY), context()) == Drop()


def test_retry_after_delays_a_retry_but_never_brings_it_forward() -> None:
    for wanted_s, waits_s in ((100, 100), (1, 15)):
        assert settled(Retry, job(), SAFE, Deferred(WHY, retry_after_s=wanted_s)).delay_s == pytest.approx(waits_s)


@rows("spec", [SAFE, ONCE])
def test_a_failure_of_the_servers_own_is_marked_and_not_counted(spec: CommandSpec) -> None:
    """What it meets of itself counts as done at the next try, and its UncertainRetries are for lost answers alone."""
    marked = settled(Retry, job(), spec, Deferred(WHY, max_attempts=3, ran="maybe"))
    assert payload(marked)["restbroker_may_have_run"] is True
    assert "restbroker_uncertain" not in payload(marked)
    assert "restbroker_may_have_run" in payload(
        settled(Dead, job(retry_count=1), spec, Deferred(WHY, max_attempts=3, ran="maybe"))
    )
    assert "restbroker_may_have_run" in payload(
        settled(Schedule, job(), spec, Deferred(WHY, counts=False, ran="maybe"))
    )
    for ran in ("no", "unlikely"):
        assert "restbroker_may_have_run" not in payload(settled(Retry, job(), spec, Deferred(WHY, ran=ran)))


def test_final_outcome_kills_even_a_repeatable_job() -> None:
    dead = settled(Dead, job(), SAFE, Uncertain(WHY, is_final=True))
    assert payload(dead)["restbroker_may_have_run"] is True


@rows(("ran", "becomes"), [("no", Deferred), ("unlikely", Uncertain), ("maybe", Uncertain)])
def test_at_most_once_only_a_proof_lets_it_be_sent_again(ran: Ran, becomes: type[Outcome]) -> None:
    found = apply_at_most_once(Deferred(WHY, 7.0, counts=False, pause_target=True, ran=ran))
    assert type(found) is becomes
    if isinstance(found, Uncertain):
        assert found.pause_target
        assert isinstance(settle(job(), SAFE, found, context(at_most_once=True)), Dead)


@rows(
    ("outcome", "becomes"),
    [
        (Uncertain(WHY, by_gateway=True), Unsent(WHY)),
        (Uncertain(WHY), Deferred(WHY)),
        (Deferred(WHY, 7.0, pause_target=True, ran="unlikely"), Deferred(WHY, 7.0, pause_target=True)),
        (Deferred(WHY, max_attempts=3, ran="maybe"), Deferred(WHY, max_attempts=3)),
        (Rejected(WHY), Rejected(WHY)),
    ],
)
def test_request_before_the_commands_own_makes_nothing_uncertain(outcome: Outcome, becomes: Outcome) -> None:
    assert before_sending(outcome) == becomes


@rows("spec", [SAFE, CREATE])
def test_uncertain_safe_command_is_retried_as_often_as_allowed(spec: CommandSpec) -> None:
    settlement = settled(Retry, job(restbroker_uncertain=9), spec, Uncertain(WHY))
    assert payload(settlement)["restbroker_uncertain"] == 10


@rows("spec", [ONCE, None])
def test_uncertain_unsafe_command_gets_two_more_sends(spec: CommandSpec | None) -> None:
    fates = [type(settle(job(restbroker_uncertain=n), spec, Uncertain(WHY), context())) for n in range(4)]
    assert fates == [Retry, Retry, Dead, Dead]


@rows("spec", [SAFE, CREATE])
def test_stop_requeues_safe_jobs_as_perhaps_run_without_a_try(spec: CommandSpec) -> None:
    entry = job(retry=0, restbroker_uncertain=2, error_class="X", retry_count=3)
    settlement = settle_cut_off(entry, spec, WHY, context())
    assert isinstance(settlement, Requeue)
    assert json.loads(settlement.payload) == {**entry.fields, "restbroker_uncertain": 3}
    assert settlement.payload.startswith(b'{"class":"Add","args":["cmd",{},"t"]')


@rows("spec", [ONCE, None])
def test_a_stop_puts_nothing_back_that_is_not_safe_to_repeat(spec: CommandSpec | None) -> None:
    assert settle_cut_off(job(), spec, WHY, context()) == settle(job(), spec, Uncertain(WHY), context())


def test_job_that_must_run_at_most_once_dies_at_a_stop() -> None:
    settlement = settle_cut_off(job(), SAFE, WHY, context(at_most_once=True))
    assert isinstance(settlement, Dead)
    assert payload(settlement)["restbroker_may_have_run"] is True


def test_a_job_that_may_have_run_too_often_is_not_sent_again() -> None:
    assert may_send(job(restbroker_uncertain=2), ONCE, 2)
    assert not may_send(job(restbroker_uncertain=3), ONCE, 2)
    assert may_send(job(restbroker_uncertain=3), SAFE, 2)


def test_perturbed_settlement_has_other_bytes_and_the_same_place() -> None:
    settlement = settled(Retry, job(), SAFE, Deferred(WHY))
    other = perturb(settlement, 5)
    assert isinstance(other, Retry)
    assert other.payload != settlement.payload
    assert other.delay_s == settlement.delay_s
    assert payload(other)["failed_at"] == pytest.approx(payload(settlement)["failed_at"], abs=1e-3)


@rows("fields", [{}, {"failed_at": 5.5, "retried_at": 6.5}])
def test_deferred_job_is_perturbed_in_the_time_it_was_deferred(fields: dict[str, float]) -> None:
    for put_off in (postpone(job(**fields), context()), settle(job(**fields), SAFE, NOT_NOW, context())):
        assert isinstance(put_off, Schedule)
        other = perturb(put_off, 5)
        assert isinstance(other, Schedule)
        before, after = payload(put_off), payload(other)
        assert before.pop("restbroker_deferred_at") != after.pop("restbroker_deferred_at")
        assert (before, put_off.delay_s) == (after, other.delay_s)


def test_deferred_job_remembers_that_it_may_have_run() -> None:
    entry = attrs.evolve(job(), maybe_run=2)
    for put_off in (postpone(entry, context()), settle(entry, SAFE, NOT_NOW, context())):
        assert isinstance(put_off, Schedule)
        assert payload(put_off)["restbroker_uncertain"] == 2


def test_dead_uncertain_job_is_resent_by_a_person_as_perhaps_run() -> None:
    settlement = settled(Dead, job(restbroker_uncertain=2), ONCE, Uncertain(WHY))
    again = read_again(settlement.payload)
    assert may_send(again, ONCE, 0)
    assert again.may_have_run


def test_job_with_full_slot_waits_longer_each_time_without_a_try() -> None:
    entry, waits = job(retry_count=3), []
    for _ in range(30):
        put_off = postpone(entry, context())
        waits.append(put_off.delay_s)
        fields = payload(put_off)
        assert fields["retry_count"] == 3
        entry = job(**fields)
    assert waits == [2, 4, 8, 16, 32, *[60] * 25]


@rows(("count", "waits_s"), [("3", 2), (-1, 2), (None, 2), (1.5, 2), (False, 2), (10**30, 60)])
def test_strange_count_of_full_slots_starts_afresh_or_waits_most(count: object, waits_s: int) -> None:
    assert postpone(job(restbroker_crowded=count), context()).delay_s == waits_s


def test_job_killed_by_a_crash_has_its_commands_name_if_readable() -> None:
    named = payload(settle_crashed(fallen(b'{"jid":"j","args":["register",5,"t"]}'), NOW_S))
    assert (named["display_class"], named["args"]) == ("register", ["register", 5, "t"])
    own = payload(settle_crashed(fallen(b'{"jid":"j","args":["register",{},"t"],"display_class":"Mine"}'), NOW_S))
    assert own["display_class"] == "Mine"
    assert "display_class" not in payload(settle_crashed(fallen(b"{x"), NOW_S))


def test_job_killed_by_a_crash_is_answered_as_any_dead_job() -> None:
    fields = {"jid": "j", "args": ["register", {}, "t", "id-1"], "retry_count": 1, "reply_to": "restbroker:reply:w"}
    orphan = fallen(json.dumps(fields).encode(), ResponseQueue("replies", "Mine"))
    by_job, by_key = settle_crashed(orphan, NOW_S).replies
    job = json.loads(by_job.payload)
    assert (by_job.queue, job["queue"], job["class"], job["args"][:2]) == ("replies", "replies", "Mine", ["", "id-1"])
    assert job["jid"] == spare_jid("life", "7:1"), "the same however often it is dead"
    details = json.loads(by_key.payload)
    assert (by_key.key, by_key.ttl_s, details["jid"], details["command"]) == (
        "restbroker:reply:w",
        3600,
        "j",
        "register",
    )
    assert details.items() >= job["args"][2].items()
    assert (details["outcome"], details["error"]["code"], details["attempts"]) == ("uncertain", "Uncertain", 3)
    assert (details["status"], details["answer"], details["text"]) == (None, None, "")
    assert details["error"]["cure"]


def test_job_killed_by_a_crash_has_its_commands_own_words() -> None:
    orphan = fallen(b'{"jid":"j","args":["ask",{},"t"]}')
    spec = CommandSpec("ask", (), "unsafe", unanswered=Reason("AskUnanswered", "", "Ask whether it waits."))
    named = payload(settle_crashed(orphan, NOW_S, {"ask": spec}.get))
    assert named["error_class"] == "AskUnanswered"
    assert named["error_message"].endswith("AtMostOnce forbids sending it again. Ask whether it waits.")
    assert payload(settle_crashed(orphan, NOW_S, {"tell": spec}.get))["error_class"] == "Uncertain"


def test_crash_is_answered_without_details_only_to_a_waiter() -> None:
    assert settle_crashed(fallen(b'{"args":["register",{},"t","id-1"]}'), NOW_S).replies == ()
    (reply,) = settle_crashed(fallen(b'{"args":[5,{},"t","id-1"],"reply_to":"restbroker:reply:w"}'), NOW_S).replies
    assert json.loads(reply.payload)["command"] == ""
    batch = b'{"args":["register",{},"t"],"reply_to":"restbroker:reply:bulk-1"}'
    assert [reply.ttl_s for reply in settle_crashed(fallen(batch), NOW_S).replies] == [86_400]
    assert settle_crashed(fallen(b'{"args":["register",{},"t"],"reply_to":"queue:rest"}'), NOW_S).replies == ()


def fallen(raw: bytes, responses: ResponseQueue | None = None, queues: tuple[str, ...] = ()) -> OrphanedJob:
    return OrphanedJob("life", "7:1", "q", raw, responses, queues)


def stored_for(retry_queue: str) -> list[dict[str, Any]]:
    """A job with this `retry_queue`, of a target that serves "q" and "slow", each way that it is stored."""
    entry, facts = job(retry_queue=retry_queue, queue="default"), context(queues=("q", "slow"))
    orphan = fallen(entry.raw, queues=facts.queues)
    outcomes = (Rejected(WHY), Deferred(WHY), NOT_NOW, Uncertain(WHY))
    settled = [settle(entry, ONCE, outcome, facts) for outcome in outcomes]
    settled += [postpone(entry, facts), drop_reply(entry, Ack(), "no", facts), settle_crashed(orphan, NOW_S)]
    return [payload(settlement) for settlement in settled if isinstance(settlement, Retry | Dead | Schedule)]


@pytest.mark.promise("Security: who can push to the queues", "to reach another queue through retry_queue")
@rows(("named", "again"), [("default", "q"), ("slow", "slow"), ("q", "q"), ("", "q")])
def test_retry_queue_counts_only_where_the_same_target_serves_it(named: str, again: str) -> None:
    assert [(fields["queue"], fields["retry_queue"]) for fields in stored_for(named)] == [(again, named)] * 7


def test_replies_of_dead_jobs_have_a_place_only_with_details() -> None:
    policy = Policy(SidekiqBackoff(), "replies", reply_details=True, reply_class="Mine")
    assert policy.responses == ResponseQueue("replies", "Mine")
    assert attrs.evolve(policy, reply_details=False).responses is None
    assert attrs.evolve(policy, reply_queue=None).responses is None


def test_partly_done_job_has_run_and_is_sent_again() -> None:
    """This holds however seldom it may be repeated."""
    entry = job(restbroker_effected=True, retry=3)
    assert (entry.may_have_run, entry.maybe_run) == (True, 0)
    assert may_send(entry, ONCE, 0)
    back = read_again(requeue(entry).payload)
    assert (back.fields, back.may_have_run, back.maybe_run, back.attempt) == (entry.fields, True, 0, 1)
    again = read_again(requeue(attrs.evolve(entry, maybe_run=1, jid="c" * 24)).payload)
    assert (again.maybe_run, again.jid) == (1, "c" * 24)
