"""Deleting, killing and moving jobs that wait in a queue, by conditions."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.errors import UsageError
from restbroker.operate import act_waiting, audit, find
from restbroker.operate.act_job import UNCHANGED, Action
from restbroker.operate.context import context_of
from restbroker.operate.edit import Edit
from restbroker.operate.tally import Progress
from restbroker.operate.where import read
from restbroker.servers import registry
from restbroker.store import queues
from restbroker.store.client import Client
from tests.operate.conftest import NOW_S, fields_of
from tests.operate.conftest import job as failed

SIGNATURE = "v1q:flat:1700000000:" + "a" * 64


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
    meant = act_waiting.select(client, "rest", conditions, limit)
    knows = context_of(settings)
    *_, last = act_waiting.perform(client, action, meant, settings, knows, dry_run=dry_run, rest=lambda _: None)
    assert last.ended
    return last


def waiting(client: Client, queue: str = "rest") -> list[bytes]:
    """What waits, the next one first."""
    return queues.peek(client, queue, 0, 10_000)


def test_only_what_fits_is_deleted_and_a_dry_run_says_the_same_and_changes_nothing(
    client: Client, settings: Config
) -> None:
    jobs = [job(f"j{n}", "status" if n % 3 else "register") for n in range(700)]
    queues.push(client, "rest", jobs)
    action = Action("delete", "ann", why="wrong")
    planned = perform(client, settings, action, "command = register", dry_run=True)
    assert waiting(client) == jobs
    assert list(audit.entries(client, 5)) == []
    done = perform(client, settings, action, "command = register")
    assert (planned.total, planned.looked_at, planned.matched, planned.done) == (700, 700, 234, 234)
    assert (done.total, done.looked_at, done.matched, done.done) == (700, 700, 234, 234)
    assert [one.jid for one in done.examples] == ["j0", "j3", "j6", "j9", "j12"]
    assert waiting(client) == [one for n, one in enumerate(jobs) if n % 3]
    notes = [written.note for written in audit.entries(client, 10)]
    assert (notes[0].state, notes[0].action, notes[0].place, notes[0].done) == ("ended", "delete", "queue:rest", 234)
    assert (notes[-1].state, notes[-1].where, notes[-1].why) == ("begun", "command = register", "wrong")


def test_a_limit_takes_the_next_ones_first(client: Client, settings: Config) -> None:
    jobs = [job(f"j{n}") for n in range(500)]
    queues.push(client, "rest", jobs)
    assert perform(client, settings, Action("delete", "ann"), limit=301).done == 301
    assert waiting(client) == jobs[301:]


def test_what_came_while_a_person_was_asked_stays_and_what_was_taken_is_told(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(6)])
    meant = act_waiting.select(client, "rest", ())
    queues.push(client, "rest", [job("later")])
    assert client.command("RPOP", "ns:queue:rest") == job("j0")
    knows, action = context_of(settings), Action("delete", "ann")
    *_, last = act_waiting.perform(client, action, meant, settings, knows, rest=lambda _: None)
    assert (last.total, last.looked_at, last.matched, last.done, last.gone) == (6, 5, 6, 5, 1)
    assert waiting(client) == [job("later")]


def test_what_was_taken_before_it_was_read_is_gone_if_it_was_meant_and_else_told_as_not_looked_at(
    client: Client, settings: Config
) -> None:
    knows, action = context_of(settings), Action("delete", "ann")

    def begun(*where: str, limit: int | None = None) -> Progress:
        """How it ends if others take five jobs behind its back once the first 150 were read."""
        client.command("DEL", "ns:queue:rest")
        queues.push(client, "rest", [job(f"j{n}") for n in range(600)])
        meant = act_waiting.select(client, "rest", read(where, NOW_S), limit)
        running = act_waiting.perform(client, action, meant, settings, knows, dry_run=True, rest=lambda _: None)
        next(running)
        client.command("RPOP", "ns:queue:rest", 155)
        *_, last = running
        return last

    last = begun()
    assert (last.looked_at, last.matched, last.done, last.gone, last.unseen) == (595, 600, 595, 5, 0)
    last = begun(limit=152)
    assert (last.matched, last.gone, last.unseen) == (152, 2, 0)
    last = begun("command = register")
    assert (last.matched, last.done, last.gone, last.unseen) == (595, 595, 0, 5)


def test_jobs_are_not_chosen_by_a_group_of_failures_and_nothing_is_read(client: Client, settings: Config) -> None:
    wanted = read(["failure_group = 0123456789"], NOW_S)
    for ask in (
        lambda: act_waiting.select(client, "rest", wanted),
        lambda: find.waiting_page(client, "rest", wanted, context_of(settings)),
    ):
        with pytest.raises(UsageError, match="failure_group is only for failed jobs"):
            ask()


def test_a_job_that_is_bound_to_its_queue_is_not_moved(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job("signed", token=SIGNATURE), job("bound", token="bound-token")])
    done = perform(client, settings, Action("move", "ann", queue="other"))
    signed, bound = done.refused
    assert "signature is for the queue" in signed
    assert 'The token "bound" does not allow jobs in the queue' in bound
    assert (done.done, len(waiting(client))) == (0, 2)


def test_a_killed_job_is_found_in_the_dead_set_copied_and_answered_as_any_that_died(
    client: Client, settings: Config
) -> None:
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
    (told,) = client.command("LRANGE", f"ns:{batch}", 0, -1)  # type: ignore[misc]
    assert (fields_of(told)["jid"], fields_of(told)["error"]["code"]) == ("j1", "Killed")


def test_who_shows_no_right_token_gets_nothing_pushed_to_the_response_queue(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job("j1", args=["register", {}, "wrong-token", "reply-1"])])
    assert perform(client, settings, Action("kill", "ann")).done == 1
    assert waiting(client, "answers") == []


def test_no_more_is_killed_than_the_dead_set_may_hold(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job(f"j{n}") for n in range(5)])
    client.command("ZADD", "ns:dead", 1, failed("d"))
    for dry_run in (True, False):
        done = perform(client, settings, Action("kill", "ann"), dry_run=dry_run)
        assert (done.matched, done.done, sum(done.refused.values())) == (5, 2, 3)
    assert waiting(client) == [job(f"j{n}") for n in (2, 3, 4)]
    assert client.command("ZCARD", "ns:dead") == 3


def test_queues_of_others_are_touched_only_where_that_is_said(client: Client, settings: Config) -> None:
    knows = context_of(settings)
    for queue, action in [
        ("mailers", Action("delete", "ann")),
        ("rest", Action("move", "ann", queue="mailers")),
        ("rest", Action("move", "ann", queue="rest")),
        ("rest", Action("retry", "ann")),
    ]:
        with pytest.raises(UsageError):
            act_waiting.require_sense(queue, action, knows)
    act_waiting.require_sense("mailers", Action("delete", "ann", foreign_queues=True), knows)
    queues.push(client, "rest", [job("j1")])
    assert perform(client, settings, Action("move", "ann", queue="mailers", foreign_queues=True)).done == 1
    assert [fields_of(raw)["queue"] for raw in waiting(client, "mailers")] == ["mailers"]


def test_no_secret_of_a_job_is_in_the_record_of_what_was_done(client: Client, settings: Config) -> None:
    queues.push(client, "rest", [job("right-token"), job("j2", args=["register", {"password": "hush"}, "right-token"])])
    done = perform(client, settings, Action("delete", "ann"))
    assert done.done == 2
    for text in (repr(list(audit.entries(client, 10))), repr(done)):
        assert "right-token'" not in text
        assert "hush" not in text


def edit(settings: Config, **values: Any) -> Action:
    return Action("edit", "ann@web1", why="wrong name", edit=Edit(tokens=Tokens(settings.tokens), values=values))


def test_an_edited_job_keeps_its_place_and_a_dry_run_shows_the_same_and_changes_nothing(
    client: Client, settings: Config
) -> None:
    account = {"user": "u", "host": "h"}
    raws = [job(f"j{n}", args=["status" if n % 3 else "unregister", account, "right-token"]) for n in range(400)]
    queues.push(client, "rest", raws)
    planned = perform(client, settings, edit(settings, user="bob"), "command = unregister", limit=120, dry_run=True)
    assert waiting(client) == raws
    done = perform(client, settings, edit(settings, user="bob"), "command = unregister", limit=120)
    assert (planned.matched, planned.done) == (done.matched, done.done) == (120, 120)
    assert [(was.jid, now.arguments) for was, now in planned.previews][:2] == [
        ("j0", {"user": "bob", "host": "h"}),
        ("j3", {"user": "bob", "host": "h"}),
    ]
    now = [fields_of(raw) for raw in waiting(client)]
    assert [one["jid"] for one in now] == [f"j{n}" for n in range(400)]
    changed = [one for one in now if one["args"][1]["user"] == "bob"]
    assert [one["jid"] for one in changed] == [f"j{n}" for n in range(0, 360, 3)]
    assert changed[0]["restbroker_attempts"][0]["excerpt"] == "ann@web1 changed user."
    note = next(audit.entries(client, 1)).note
    assert (note.action, note.where, note.done) == ("edit", "command = unregister, at most 120 (set user)", 120)
    assert note.changes.startswith("j0: user: ")
    assert (note.changes.count(" → bob"), note.changes.count("; ")) == (5, 4)


def test_what_its_producer_signed_what_no_catalogue_takes_and_what_another_edited_meanwhile_is_left(
    client: Client, settings: Config
) -> None:
    args = ["unregister", {"user": "u", "host": "h"}]
    signed, foreign, own = (job(token, args=[*args, token]) for token in (SIGNATURE, "nobody's", "right-token"))
    queues.push(client, "rest", [signed, foreign, b"no job"])
    done = perform(client, settings, edit(settings, user="bob"))
    assert (done.done, done.matched, len(done.refused)) == (0, 3, 2)
    assert any("does not belong to this configuration" in why for why in done.refused)
    client.command("DEL", "ns:queue:rest")
    queues.push(client, "rest", [own])
    for change, told in ((edit(settings, usr="bob"), "did you mean user?"), (edit(settings, user="u"), UNCHANGED.why)):
        ((why, _),) = perform(client, settings, change).refused.items()
        assert told in why
    assert waiting(client) == [own]
    queues.push(client, "rest", [job("newest", "status")])
    knows, meant = context_of(settings), act_waiting.select(client, "rest", read(["command = unregister"], NOW_S))
    assert perform(client, settings, edit(settings, user="eve"), limit=1).done == 1
    *_, last = act_waiting.perform(client, edit(settings, user="bob"), meant, settings, knows, rest=lambda _: None)
    assert (last.done, next(iter(last.refused))[:25]) == (0, "Someone edited it meanwhi")
    assert fields_of(waiting(client)[0])["args"][1]["user"] == "eve"


def test_jobs_of_a_queue_that_nobody_serves_are_not_edited(client: Client, settings: Config) -> None:
    with pytest.raises(UsageError, match="so their rights are unknown"):
        act_waiting.require_sense("mailers", edit(settings, user="bob"), context_of(settings))
    with pytest.raises(UsageError, match="nothing to change"):
        act_waiting.require_sense("rest", Action("edit", "ann"), context_of(settings))


def test_a_job_far_from_its_place_since_another_person_took_many_out_is_still_taken(
    client: Client, settings: Config
) -> None:
    queues.push(client, "rest", [job(f"old{n}", "status") for n in range(10)])
    queues.push(client, "rest", [job(f"j{n}", "unregister") for n in range(3000)])
    queues.push(client, "rest", [job(f"new{n}", "ping") for n in range(6)])
    meant = act_waiting.select(client, "rest", read(["command = status"], NOW_S, ahead=False, hidden=()))
    knows = context_of(settings)

    def meanwhile(_busy_s: float) -> None:
        perform(client, settings, Action("delete", "bob"), "command = unregister")

    steps = act_waiting.perform(client, Action("delete", "ann"), meant, settings, knows, rest=meanwhile)
    *_, last = steps
    assert (last.done, last.gone) == (10, 0)
    assert [fields_of(raw)["jid"] for raw in waiting(client)] == [f"new{n}" for n in range(6)]
