"""Ruby's RetrySet, ScheduledSet and DeadSet (6.4.1) on entries that a broker wrote."""

import json
import time
from typing import Any, Final

import pytest

from restbroker.job.job import MAY_HAVE_RUN_FIELD
from restbroker.job.json_types import Json
from restbroker.store.client import items, raw
from tests.support.scripted import QUEUE, Citizen, jid_of, job
from tests.support.wait import until

LONG_S: Final = 3600.0

PLAIN: Final[dict[str, Json]] = {"text": "Zoë a/b", "number": 7, "list": [True, None], "empty": {}}
# What Ruby's JSON writes in another way than most, or what must not be taken for text of the entry around it.
ODD: Final[dict[str, Json]] = {
    "floats": [1e15, 1e-5, -0.0, 0.1, 1.5e300, 12345678901234.5],
    "integers": [2**53 + 1, -(10**30), 0],
    "texts": ["Zoë 你好 🎉", "a/b", 'quo"te\\', "\u2028\x7f\t\n", ""],
    "nested": {"empty": {}, "none": None, "list": [[], [{}], True]},
}


def failed(citizen: Citizen, *jobs: str | bytes) -> list[dict[str, Any]]:
    """Runs jobs, or jobs of these users, that fail or are refused; Ruby's entries of both sets when all are there."""
    citizen.configure(Backoff={"Base": "1h", "Factor": 1, "Cap": "1h"})  # no try comes before Ruby does
    citizen.start()
    citizen.push(*(job(given) if isinstance(given, str) else given for given in jobs))
    until(lambda: citizen.size("retry") + citizen.size("dead") == len(jobs), "every job failed")
    citizen.wait_until_idle()
    return [*citizen.ask("sets.rb", set="retry")["entries"], *citizen.ask("sets.rb", set="dead")["entries"]]


def scheduled(citizen: Citizen, *users: str, delay: str = "1h") -> list[str]:
    """Schedules jobs by restbroker's own command; returns their ids."""
    commands = [("enqueue", "check_account", f"user={user}", "host=example.org", "--in", delay) for user in users]
    return [citizen.restbroker(*command).strip() for command in commands]


def pause(citizen: Citizen) -> None:
    """Keeps brokers from taking jobs, so that the test sees what is in the queue."""
    citizen.client.command("SADD", "paused", QUEUE)


def resume(citizen: Citizen) -> None:
    """Undoes `pause`, and returns when all is taken and done."""
    citizen.client.command("SREM", "paused", QUEUE)
    citizen.wait_until_idle()


def in_queue(citizen: Citizen) -> list[dict[str, Any]]:
    """The jobs that wait, newest first."""
    return [json.loads(raw(payload)) for payload in items(citizen.client.command("LRANGE", f"queue:{QUEUE}", 0, -1))]


@pytest.mark.promise("Sidekiq: retries", "error, count, first and last failure")
@pytest.mark.promise("Sidekiq: retries", "the class as the name")
def test_an_entry_of_each_set_has_what_ruby_shows_of_its_own(citizen: Citizen) -> None:
    began_s = time.time()
    jobs = [job(user, tags=["a", "b"]) for user in ("fails1", "refused1")]
    entries = {entry["jid"]: entry for entry in failed(citizen, *jobs)}
    for user, code in (("fails1", "ServerError"), ("refused1", "Refused")):
        entry = entries[jid_of(user)]
        assert entry["queue"] == QUEUE
        assert entry["error"] is True
        assert entry["item"]["error_class"] == code
        assert "The server says" in entry["item"]["error_message"]
        assert entry["item"]["retry_count"] == 0
        assert began_s <= entry["item"]["failed_at"] <= time.time()
        assert entry["display_args"][:2] == ["check_account", {"user": user, "host": "example.org"}]
        assert entry["tags"] == ["a", "b"]
        assert began_s - 1 <= entry["created_at"] <= time.time()
    scheduled(citizen, "good1")
    shown = [*entries.values(), *citizen.ask("sets.rb", set="schedule")["entries"]]
    assert [entry["display_class"] for entry in shown] == ["check_account"] * 3
    failing = entries[jid_of("fails1")]
    assert failing["at"] > failing["item"]["failed_at"]
    assert began_s <= entries[jid_of("refused1")]["at"] <= time.time()


@pytest.mark.promise("Sidekiq: web pages and API", "scan, clear, kill_all")
@pytest.mark.nightly
def test_scan_finds_entries_by_any_text_also_beyond_ascii(citizen: Citizen) -> None:
    citizen.start()
    citizen.push(job("fails1"), job("fails-Zoë"), job("fails3", arguments={"note": "a/b 你好"}))
    citizen.wait_until_in("retry", 3)

    def matches(match: str) -> list[str]:
        return sorted(citizen.ask("sets.rb", set="retry", call="scan", match=match)["result"])

    assert matches("fails-Zoë") == [jid_of("fails-Zoë")]
    assert matches("a/b 你好") == [jid_of("fails3")]
    assert matches(jid_of("fails1")) == [jid_of("fails1")]
    assert matches("nobody") == []


@pytest.mark.promise("Sidekiq: scheduled jobs", "reschedule")
@pytest.mark.nightly
@pytest.mark.parametrize("zset", ["retry", "schedule", "dead"])
def test_reschedule_moves_an_entry_and_does_not_double_it(citizen: Citizen, zset: str) -> None:
    # Both: arguments with floats that Ruby writes in its own way take another path through restbroker's JSON.
    both = {"fails1" if zset == "retry" else "refused1": PLAIN, "fails2" if zset == "retry" else "refused2": ODD}
    if zset == "schedule":
        for user, arguments in both.items():
            words = [f"{name}:={json.dumps(value)}" for name, value in arguments.items()]
            citizen.restbroker(
                "enqueue", "check_account", f"user={user}", "host=example.org", *words, "--any", "--in", "1h"
            )
    else:
        failed(citizen, *(job(user, arguments=arguments) for user, arguments in both.items()))
    before = {entry["jid"]: entry for entry in citizen.ask("sets.rb", set=zset)["entries"]}
    at_s = time.time() + LONG_S
    for jid in before:
        citizen.ask("sets.rb", set=zset, call="reschedule", jid=jid, at=at_s)
    after = {entry["jid"]: entry for entry in citizen.ask("sets.rb", set=zset)["entries"]}
    assert {jid: entry["value"] for jid, entry in after.items()} == {jid: was["value"] for jid, was in before.items()}
    assert len(after) == 2
    for entry in after.values():
        assert entry["at"] == pytest.approx(at_s, abs=0.01)
        given = entry["item"]["args"][1]
        assert given.items() >= both[given["user"]].items()
    citizen.script.mended.set()
    for jid in before:
        citizen.ask("sets.rb", set=zset, call="reschedule", jid=jid, at=time.time())
    if zset == "schedule":
        citizen.start()
    if zset != "dead":  # what is dead is due for nobody
        until(lambda: citizen.size(zset) == 0, "all are due")
        citizen.wait_until_idle()
        assert citizen.times_sent() == dict.fromkeys(both, 2 if zset == "retry" else 1)


@pytest.mark.promise("Sidekiq: retries", "Retry now costs no try")
def test_manual_retry_keeps_count_and_first_failure_and_delivers(citizen: Citizen) -> None:
    (first,) = (entry["item"] for entry in failed(citizen, "fails1"))
    pause(citizen)
    citizen.ask("sets.rb", set="retry", call="retry", jid=jid_of("fails1"))
    (waiting,) = in_queue(citizen)
    assert waiting["retry_count"] == -1
    assert citizen.size("retry") == 0
    resume(citizen)
    citizen.wait_until_in("retry", 1)
    (again,) = citizen.members("retry")
    assert again["retry_count"] == 0
    assert again["failed_at"] == first["failed_at"]
    assert again["retried_at"] > again["failed_at"]
    assert "retried_at" not in first
    assert len(again["restbroker_attempts"]) == 2
    citizen.script.mended.set()
    citizen.ask("sets.rb", set="retry", call="retry", jid=jid_of("fails1"))
    until(lambda: citizen.times_sent()["fails1"] == 3, "it is tried again")
    citizen.wait_until_idle()
    assert citizen.size("retry") == citizen.size("dead") == 0


@pytest.mark.promise("Sidekiq: dead jobs", "what Ruby trims from the dead set")
@pytest.mark.nightly
def test_jobs_ruby_trims_from_the_dead_set_can_be_restored(citizen: Citizen) -> None:
    failed(citizen, "refused1", "refused2", "refused3", "fails1")
    dead = {entry["jid"]: entry["value"] for entry in citizen.ask("sets.rb", set="dead")["entries"]}
    assert len(dead) == 3
    # Ruby keeps one less than its limit.
    citizen.ask("sets.rb", set="retry", call="kill", jid=jid_of("fails1"), dead_max_jobs=2)
    assert [entry["jid"] for entry in citizen.ask("sets.rb", set="dead")["entries"]] == [jid_of("fails1")]
    citizen.restbroker("dead", "restore", jid_of("refused2"))
    back = {entry["jid"]: entry["value"] for entry in citizen.ask("sets.rb", set="dead")["entries"]}
    # Nobody knows what became of it since.
    assert json.loads(back[jid_of("refused2")]) == {**json.loads(dead[jid_of("refused2")]), MAY_HAVE_RUN_FIELD: True}
    assert set(back) == {jid_of("fails1"), jid_of("refused2")}
    citizen.script.mended.set()
    citizen.ask("sets.rb", set="dead", call="retry", jid=jid_of("refused2"))
    until(lambda: citizen.times_sent()["refused2"] == 2, "the restored job is sent again")
    citizen.wait_until_idle()
    assert [member["jid"] for member in citizen.members("dead")] == [jid_of("fails1")]
