"""Deleting and killing jobs that wait in a queue, by conditions."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.errors import UsageError
from restbroker.operate import act, act_waiting, audit, find
from restbroker.operate.act import Progress
from restbroker.operate.act_job import Action
from restbroker.operate.context import context_of
from restbroker.operate.where import read
from restbroker.servers import registry
from restbroker.store import queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S, fields_of
from tests.operate.conftest import job as failed


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    document: dict[str, Any] = {
        "RestQueue": "rest",
        "RestURL": "http://127.0.0.1:1/api",
        "Token": "right-token",
        "Tokens": {"bound": {"Secret": "bound-token", "Allow": ["*"], "Queues": ["rest"]}},
        "ResponseQueue": "answers",
        "ResponseDetails": True,
        "DeadLimit": 3,
        "Targets": {
            "e": {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["rest", "slow"]},
            "other": {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["other"]},
        },
    }
    del document["RestQueue"], document["RestURL"]
    (tmp_path / "env.json").write_text(json.dumps(document))
    return load(tmp_path / "env.json", {}, {}, registry.kinds()).config


def job(jid: str, command: str = "register", token: str = "right-token", **more: Any) -> bytes:
    """A job that nobody tried yet."""
    fields = {"class": "Add", "args": [command, {"user": jid}, token], "jid": jid, "enqueued_at": NOW_S, **more}
    return json.dumps(fields).encode()


def perform(
    client: Client, settings: Config, action: Action, *where: str, limit: int | None = None, dry_run: bool = False
) -> Progress:
    """Does it to jobs of the queue `rest`, as they wait now; how it ended."""
    conditions = read(where, NOW_S, ahead=False, hidden=())
    meant = act_waiting.select(client, "rest", conditions, settings, limit)
    knows = context_of(settings)
    *_, last = act.perform(client, meant, action, knows, dry_run=dry_run)
    assert last.ended
    return last


def test_a_waiting_job_without_a_time_may_have_come_since(client: Client, settings: Config) -> None:
    queues.push(
        client,
        "rest",
        [job("timed"), json.dumps({"class": "Add", "jid": "late", "args": ["status", {}, "t"]}).encode()],
    )
    chosen = act_waiting.select(client, "rest", (), settings, 2, until_s=NOW_S + 1)
    *_, last = act.perform(client, chosen, Action("delete", "ann"), context_of(settings))
    assert (last.done, list(last.refused.values()), len(waiting(client))) == (1, [1], 1)


def test_a_waiting_job_without_a_time_has_no_age(client: Client, settings: Config) -> None:
    bare = json.dumps({"class": "Add", "jid": "bare", "args": ["status", {}, "t"]}).encode()
    queues.push(client, "rest", [job("timed"), bare])
    done = {
        age: perform(client, settings, Action("delete", "ann"), age, dry_run=True).done
        for age in ("at < 2001-01-01", "at > 2001-01-01")
    }
    assert done == {"at < 2001-01-01": 0, "at > 2001-01-01": 1}


def waiting(client: Client, queue: str = "rest") -> list[bytes]:
    """What waits, the next one first."""
    return queues.peek(client, queue, 0, 10_000)


def test_only_what_matches_is_deleted_as_the_dry_run_said(client: Client, settings: Config) -> None:
    jobs = [job(f"j{n}", "status" if n % 3 else "register") for n in range(700)]
    queues.push(client, "rest", jobs)
    action = Action("delete", "ann", why="wrong")
    planned = perform(client, settings, action, "command = register", dry_run=True)
    assert waiting(client) == jobs
    assert list(audit.entries(client, 5)) == []
    done = perform(client, settings, action, "command = register")
    assert (planned.total, planned.looked_at, planned.matched, planned.done) == (700, 700, 234, 234)
    assert (done.total, done.looked_at, done.matched, done.done) == (700, 700, 234, 234)
    assert [example.jid for example in done.examples] == ["j0", "j3", "j6", "j9", "j12"]
    assert waiting(client) == [job for n, job in enumerate(jobs) if n % 3]
    notes = [written.note for written in audit.entries(client, 10)]
    assert (notes[0].state, notes[0].action, notes[0].place, notes[0].done) == ("ended", "delete", "queue:rest", 234)
    assert (notes[-1].state, notes[-1].where, notes[-1].why) == ("begun", "command = register", "wrong")


def test_a_limit_takes_the_next_ones_first(client: Client, settings: Config) -> None:
    jobs = [job(f"j{n}") for n in range(500)]
    queues.push(client, "rest", jobs)
    assert perform(client, settings, Action("delete", "ann"), limit=301).done == 301
    assert waiting(client) == jobs[301:]


def test_jobs_added_during_the_prompt_stay_and_taken_ones_count(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(6)])
    meant = act_waiting.select(client, "rest", (), settings)
    queues.push(client, "rest", [job("later")])
    assert client.command("RPOP", "ns:queue:rest") == job("j0")
    knows, action = context_of(settings), Action("delete", "ann")
    *_, last = act.perform(client, meant, action, knows)
    assert (last.total, last.looked_at, last.matched, last.done, last.gone) == (6, 5, 6, 5, 1)
    assert waiting(client) == [job("later")]


def test_job_taken_before_it_was_read_is_gone_or_unseen(client: Client, settings: Config) -> None:
    knows, action = context_of(settings), Action("delete", "ann")

    def begun(*where: str, limit: int | None = None) -> Progress:
        """How it ends if others take five jobs behind its back once the first 250 were read."""
        client.command("DEL", "ns:queue:rest")
        queues.push(client, "rest", [job(f"j{n}") for n in range(600)])
        meant = act_waiting.select(client, "rest", read(where, NOW_S), settings, limit)
        running = act.perform(client, meant, action, knows, dry_run=True)
        next(running)
        client.command("RPOP", "ns:queue:rest", 255)
        *_, last = running
        return last

    last = begun()
    assert (last.looked_at, last.matched, last.done, last.gone, last.unseen) == (595, 600, 595, 5, 0)
    last = begun(limit=252)
    assert (last.matched, last.gone, last.unseen) == (252, 2, 0)
    last = begun("command = register")
    assert (last.matched, last.done, last.gone, last.unseen) == (595, 595, 0, 5)


def test_waiting_jobs_are_not_chosen_by_a_group_of_failures(client: Client, settings: Config) -> None:
    wanted = read(["failure_group = 0123456789"], NOW_S)
    for ask in (
        lambda: act_waiting.select(client, "rest", wanted, settings),
        lambda: find.waiting_page(client, "rest", wanted, context_of(settings)),
    ):
        with pytest.raises(UsageError, match="failure_group is only for failed jobs"):
            ask()


def test_a_killed_job_is_copied_and_answered_as_any_that_died(client: Client, settings: Config) -> None:
    args = ["register", {"user": "u"}, "right-token", "reply-1"]
    batch = "restbroker:reply:bulk-7"
    queues.push(client, "rest", [job("j1", args=args, reply_to=batch), job("j2")])
    assert perform(client, settings, Action("kill", "ann", why="wrong host")).done == 2
    assert waiting(client) == []
    first, second = [fields_of(raw) for raw in client.command("ZRANGE", "ns:dead", 0, -1)]  # type: ignore[union-attr]
    assert (first["jid"], first["queue"], first["error_class"]) == ("j1", "rest", "Killed")
    assert first["error_message"] == "ann killed it: wrong host"
    assert second["jid"] == "j2"
    assert client.command("XLEN", "ns:restbroker:parked") == 2
    (answer,) = map(fields_of, waiting(client, "answers"))
    assert answer["args"][1] == "reply-1"
    assert answer["args"][2]["outcome"] == "rejected"
    assert answer["args"][2]["error"]["code"] == "Killed"
    (reply,) = client.command("LRANGE", f"ns:{batch}", 0, -1)  # type: ignore[misc]
    assert (fields_of(reply)["jid"], fields_of(reply)["error"]["code"]) == ("j1", "Killed")


def test_no_answer_goes_out_for_a_job_without_a_right_token(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job("j1", args=["register", {}, "wrong-token", "reply-1"])])
    assert perform(client, settings, Action("kill", "ann")).done == 1
    assert waiting(client, "answers") == []


def test_none_is_killed_if_the_dead_set_has_no_room_for_all(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job(f"j{n}", "status" if n < 2 else "register") for n in range(5)])
    client.command("ZADD", "ns:dead", 1, failed("d"))
    for dry_run in (True, False):
        done = perform(client, settings, Action("kill", "ann"), dry_run=dry_run)
        assert (done.matched, done.done, sum(done.refused.values())) == (5, 0, 5)
    assert client.command("ZCARD", "ns:dead") == 1
    assert perform(client, settings, Action("kill", "ann"), "command = status").done == 2
    assert waiting(client) == [job(f"j{n}") for n in (2, 3, 4)]
    assert client.command("ZCARD", "ns:dead") == 3


def test_foreign_queues_are_touched_only_if_requested(client: Client, settings: Config) -> None:
    knows = context_of(settings)
    for queue, action in [
        ("mailers", Action("delete", "ann")),
        ("rest", Action("move", "ann", queue="slow")),
        ("rest", Action("retry", "ann")),
    ]:
        with pytest.raises(UsageError):
            act_waiting.select(client, queue, (), settings).require_sense(action, knows)
    jobs = act_waiting.select(client, "mailers", (), settings)
    jobs.require_sense(Action("delete", "ann", foreign_queues=True), knows)


def test_no_secret_of_a_job_is_in_the_record_of_what_was_done(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job("right-token"), job("j2", args=["register", {"password": "hush"}, "right-token"])])
    done = perform(client, settings, Action("delete", "ann"))
    assert done.done == 2
    for text in (repr(list(audit.entries(client, 10))), repr(done)):
        assert "right-token'" not in text
        assert "hush" not in text


def test_a_job_far_from_its_place_is_still_taken(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job(f"old{n}", "status") for n in range(10)])
    queues.push(client, "rest", [job(f"j{n}", "unregister") for n in range(3000)])
    queues.push(client, "rest", [job(f"new{n}", "ping") for n in range(6)])
    meant = act_waiting.select(client, "rest", read(["command = status"], NOW_S, ahead=False, hidden=()), settings)
    knows = context_of(settings)

    last = Progress(0)
    for step in act.perform(client, meant, Action("delete", "ann"), knows):
        last = step
        perform(client, settings, Action("delete", "bob"), "command = unregister")
    assert last.done == 10
    assert [fields_of(raw)["jid"] for raw in waiting(client)] == [f"new{n}" for n in range(6)]
