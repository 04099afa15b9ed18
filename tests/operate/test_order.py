"""`restbroker keys`, deletions and edits where the jobs of one key are done one after the other."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.errors import StoreRefused, UsageError
from restbroker.job.job import MAY_HAVE_RUN_FIELD, UNCERTAIN_FIELD
from restbroker.job.json_types import Json
from restbroker.job.order import Order
from restbroker.job.settlement import Ack, Dead, Retry, Settlement
from restbroker.operate import act, act_waiting, audit, control, keys, names
from restbroker.operate import queues as operate_queues
from restbroker.operate.act import Progress
from restbroker.operate.act_job import Action
from restbroker.operate.act_set import SetJobs
from restbroker.operate.check.queues import check_now, check_queues
from restbroker.operate.context import ConfigContext, context_of
from restbroker.operate.edit import Edit
from restbroker.operate.explain import explain
from restbroker.operate.system import system
from restbroker.operate.where import read
from restbroker.servers.findings import Finding
from restbroker.store import history, queues
from restbroker.store import order as store
from restbroker.store.client import Client
from restbroker.store.jobs import FetchRequest, FetchResult, register
from restbroker.store.order import BusyKey, KeyAction
from restbroker.store.server import server
from restbroker.store.settling import FinishRequest
from tests.operate.conftest import NOW_S, written
from tests.operate.pools import record, serve
from tests.store.pools import FACTS
from tests.support.store_calls import fetch, finish

QUEUES = ("rest", "slow")
UTF_8 = {**os.environ, "LC_ALL": "C.UTF-8"}


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return written(tmp_path, {"e": {"Queues": list(QUEUES), "OrderBy": ["user"], "OnDead": "stop"}})


def job(user: str, number: int) -> bytes:
    fields = {"class": "Add", "args": ["check_account", {"user": user, "host": "h.org"}, "right-token"]}
    return json.dumps({**fields, "jid": f"{user}{number}", "queue": "rest", "enqueued_at": NOW_S}).encode()


class Broker:
    """Takes jobs as a process would, and settles them."""

    def __init__(self, client: Client, target: Target) -> None:
        self.client, self.text, self.base, self.identity = client, target.key_rules, 0, "h:1:x:e"
        assert register(client, self.identity, FACTS, QUEUES, key_rules=self.text)

    def take(self) -> dict[str, str]:
        request = FetchRequest(self.identity, "e", QUEUES, self.base, 50, self.base + 50, key_rules=self.text)
        answer = fetch(self.client, request)
        assert isinstance(answer, FetchResult)
        self.base += len(answer.jobs)
        self.taken = {json.loads(job.raw)["jid"]: job.ticket for job in answer.jobs}
        return self.taken

    def settle(self, ticket: str, by: Settlement) -> None:
        finish(self.client, FinishRequest(self.identity, "e", QUEUES, 0, [(ticket, by)], key_rules=self.text), NOW_S)


@pytest.fixture
def broker(client: Client, target: Target) -> Broker:
    """`a` is stopped, `b` is put off for an hour, `c` is in progress; of each more jobs wait."""
    made = Broker(client, target)
    queues.push(client, "rest", [job(user, number) for user in "abc" for number in range(3)])
    taken = made.take()
    made.settle(taken["a0"], Dead(NOW_S, job("a", 0), effect="stop"))
    made.settle(taken["b0"], Retry(1e9, job("b", 0)))
    return made


def test_held_keys_are_shown_with_why_they_wait(
    client: Client, broker: Broker, known: ConfigContext, target: Target
) -> None:
    found, count = keys.busy_keys(client, [target], known, 10)
    assert [(key.name, key.state, key.waiting, key.jid) for key in found] == [
        ("a", "stopped", 2, "a0"), ("b", "due", 3, ""), ("c", "in_progress", 2, ""),
    ]  # fmt: skip
    assert count == 3
    assert found[1].at_s == pytest.approx(time.time() + 1e9, abs=60)
    place, held = keys.find_key(client, [target], "B", known)
    assert [entry.jid for entry in keys.jobs_of_key(client, place, held, known, 2)] == ["b0", "b1"]
    with pytest.raises(UsageError, match="There is no key z: "):
        keys.find_key(client, [target], "z", known)


@pytest.mark.parametrize(
    ("key", "typed"),
    [("a | b", "'a | b' --target e"), ("-x", "--target e -- -x"), ("a\u2028'\\b", r"$'a\U00002028\'\\b' --target e")],
)
def test_a_key_can_be_named_as_hints_do(
    client: Client, known: ConfigContext, target: Target, key: str, typed: str
) -> None:
    assert names.keys_command("skip", key, " --target e") == f"restbroker keys skip {typed}"
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {typed}"], capture_output=True, env=UTF_8, check=True).stdout
    assert key in words.decode().split("\0")
    client.command("ZADD", client.keys.busy_keys(target.name), 1e12 + 5, "\x1e" + key)
    assert keys.find_key(client, [target], key, known)[1].name == "\x1e" + key


def test_a_key_that_two_targets_hold_needs_its_target(client: Client, target: Target, known: ConfigContext) -> None:
    other = attrs.evolve(target, name="other")
    for place in (target, other):
        client.command("ZADD", client.keys.busy_keys(place.name), 1e12 + 5, "\x1eann\x1fh.org")
    with pytest.raises(UsageError, match=r"Several targets hold the key ann \| h.org") as raised:
        keys.find_key(client, [target, other], "ann | h.org", known)
    assert raised.value.hint == "Name it with --target: e, other."
    assert keys.find_key(client, [other], "ann | h.org", known)[0] is other
    # As the examples write it: a user of a host.
    assert keys.find_key(client, [other], "Ann@h.org", known)[1].name == "\x1eann\x1fh.org"
    with pytest.raises(UsageError, match="not UTF-8"):
        keys.find_key(client, [target], "a\udcff", known)


def test_a_key_of_fair_by_and_order_by_is_shown_whole(client: Client, known: ConfigContext, target: Target) -> None:
    client.command("ZADD", client.keys.busy_keys(target.name), 1e12 + 5, "h.org\x1eann\x1fa")
    ((shown,), _) = keys.busy_keys(client, [target], known, 10)
    assert shown.name == "h.org | ann | a"
    assert keys.find_key(client, [target], "H.org | ann | A", known)[1].state == "stopped"


def steer(client: Client, target: Target, what: KeyAction, held: BusyKey, known: ConfigContext) -> int:
    *_, last = keys.steer(client, target, what, held, known=known, who="ann", why="so")
    return last.done


def resume(client: Client, target: Target, held: BusyKey, known: ConfigContext, **more: Any) -> int:
    *_, last = keys.resume(client, target, held, known, Action("retry", "ann", why="mended"), **more)
    return last.done


def test_people_skip_and_retry(client: Client, broker: Broker, known: ConfigContext, target: Target) -> None:
    actions: tuple[tuple[KeyAction, str], ...] = (("skip", "a"), ("retry", "b"))
    for what, name in actions:
        place, held = keys.find_key(client, [target], name, known)
        assert [steer(client, place, what, held, known) for _ in range(2)] == [1, 0]
        with pytest.raises(UsageError, match="not among the dead jobs"):
            resume(client, place, attrs.evolve(held, state="stopped", jid="gone"), known)
    assert broker.take().keys() == {"a1", "b0"}
    notes = [entry.note for entry in audit.entries(client, 20)]
    assert [(note.action, note.done) for note in notes if note.state == "ended"] == [
        ("keys retry", 0), ("keys retry", 1), ("keys skip", 0), ("keys skip", 1),
    ]  # fmt: skip
    assert sum(note.state == "begun" for note in notes) == len(notes) / 2


@pytest.mark.parametrize(("name", "count", "next_"), [("a", 2, {"a9"}), ("b", 3, {"b9"}), ("c", 2, set())])
def test_job_waiting_with_a_dropped_key_dies(
    client: Client, broker: Broker, settings: Config, target: Target, name: str, count: int, next_: set[str]
) -> None:
    known, kill = context_of(settings), Action("kill", "ann", why="so")
    place, held = keys.find_key(client, [target], name, known)
    *_, last = keys.drop(client, place, held, settings, kill, known)
    assert (last.done, last.refused) == (count, {})
    dead = cast("list[bytes]", client.command("ZRANGE", client.keys.sorted_set("dead"), 0, -1))
    assert {f"{name}1", f"{name}2"} <= {json.loads(raw)["jid"] for raw in dead}
    queues.push(client, "rest", [job(name, 9)])
    # A stopped key goes on, as one that waited for its first job's time; what is in progress still holds its own.
    assert broker.take().keys() == next_


def test_only_jobs_that_were_seen_in_each_queue_are_dropped(
    client: Client, broker: Broker, settings: Config, known: ConfigContext, target: Target
) -> None:
    queues.push(client, "slow", [job("a", number) for number in range(3, 6)])
    broker.take()
    seen = keys.view_key(client, known, target.name, "a", 5)
    assert (seen.counts, [entry.jid for entry in seen.jobs]) == ([2, 3], ["a1", "a2", "a3", "a4", "a5"])
    queues.push(client, "rest", [job("a", 9)])
    broker.take()
    assert keys.view_key(client, known, target.name, "a", 5, seen.seen).seen == seen.seen
    kill = Action("kill", "ann", begins_at_once=True)
    *_, last = keys.drop(client, target, seen.busy, settings, kill, known, seen.counts)
    assert last.done == 5
    assert broker.take().keys() == {"a9"}


def test_a_drop_that_a_person_stops_leaves_its_key_stopped(
    client: Client, broker: Broker, settings: Config, known: ConfigContext, target: Target
) -> None:
    _, held = keys.find_key(client, [target], "a", known)
    steps = keys.drop(client, target, held, settings, Action("kill", "ann", begins_at_once=True), known)
    audit.request_stop(client, next(steps).run, "bob")
    assert [progress.ended for progress in steps] == [False]
    assert keys.find_key(client, [target], "a", known)[1] == held


def test_no_more_jobs_of_a_key_die_than_the_limit(
    client: Client, broker: Broker, settings: Config, known: ConfigContext, target: Target
) -> None:
    place, held = keys.find_key(client, [target], "a", known)
    *_, last = keys.drop(client, place, held, settings, Action("kill", "ann", why="so"), known, limit=1)
    assert last.done == 1
    assert keys.find_key(client, [target], "a", known)[1] == held, "the others would run without their predecessor"


@pytest.mark.parametrize(("what", "name"), [("skip", "a"), ("retry", "b")])
def test_no_key_is_steered_that_the_audit_log_does_not_name(
    client: Client, broker: Broker, known: ConfigContext, target: Target, what: KeyAction, name: str
) -> None:
    place, held = keys.find_key(client, [target], name, known)
    client.command("SET", client.keys.audit, "of another type")
    with pytest.raises(StoreRefused):
        steer(client, place, what, held, known)
    assert keys.find_key(client, [target], name, known)[1] == held


def test_a_person_resumes_a_stopped_key(client: Client, broker: Broker, known: ConfigContext, target: Target) -> None:
    _, held = keys.find_key(client, [target], "a", known)
    assert [resume(client, target, held, known, dry_run=dry_run) for dry_run in (True, False)] == [1, 1]
    taken = broker.take()
    assert taken.keys() == {"a0"}
    broker.settle(taken["a0"], Ack())
    assert broker.take().keys() == {"a1"}
    _, other = keys.find_key(client, [target], "b", known)
    with pytest.raises(UsageError, match="not stopped"):
        resume(client, target, other, known)
    with pytest.raises(UsageError, match="not among the dead jobs any more, or has another key now: a0"):
        resume(client, target, held, known)


def test_a_key_is_not_resumed_whose_job_may_have_run_unasked(
    client: Client, broker: Broker, known: ConfigContext, target: Target
) -> None:
    command = ["send_message", {"user": "d", "host": "h.org"}, "right-token"]
    raw = json.dumps({"class": "Add", "args": command, "jid": "d/0 ż", "queue": "rest"}).encode()
    queues.push(client, "rest", [raw])
    may_have_run = {**json.loads(raw), MAY_HAVE_RUN_FIELD: True, UNCERTAIN_FIELD: True, "error_class": "Uncertain"}
    broker.settle(broker.take()["d/0 ż"], Dead(NOW_S, json.dumps(may_have_run).encode(), effect="stop"))
    _, held = keys.find_key(client, [target], "d", known)
    for dry_run in (True, False):
        with pytest.raises(UsageError, match="may have run already"):
            resume(client, target, held, known, dry_run=dry_run)
    assert broker.take() == {}
    action = Action("retry", "ann", repeat_unsafe=True)
    assert [progress.done for progress in keys.resume(client, target, held, known, action)][-1] == 1
    assert broker.take().keys() == {"d/0 ż"}


@pytest.mark.parametrize("order_by", [Order(("host",)), Order(), None])
def test_a_key_of_another_order_by_is_not_resumed(
    client: Client, broker: Broker, known: ConfigContext, target: Target, order_by: Order | None
) -> None:
    _, held = keys.find_key(client, [target], "a", known)
    changed = attrs.evolve(target, order_by=order_by)
    with pytest.raises(UsageError, match="was changed"):
        resume(client, changed, held, known)
    # Nothing is in the list, of which nothing would be taken.
    assert client.command("LLEN", client.keys.queue("rest")) == 0
    assert steer(client, changed, "skip", held, known)
    assert broker.take().keys() == {"a1"}


def perform(client: Client, settings: Config, action: Action, where: str) -> Progress:
    meant = act_waiting.select(client, "rest", read([where], NOW_S), settings)
    known = context_of(settings)
    *_, last = act.perform(client, meant, action, known)
    return last


def act_on_dead(client: Client, known: ConfigContext, action: Action) -> Progress:
    *_, last = act.perform(client, SetJobs("dead", ("a0",)), action, known)
    return last


def test_who_takes_the_last_job_from_a_stopped_key_is_told(
    client: Client, broker: Broker, settings: Config, known: ConfigContext, target: Target
) -> None:
    """The key of an edited job is another: the first one stays stopped, and nothing offers the job for it again."""
    note = "the key a stays stopped, and its jobs wait. To let it go on: restbroker keys skip a"
    edit = Edit(tokens=Tokens(settings.tokens), values={"host": "h.example"})
    assert act_on_dead(client, known, Action("edit", "ann", edit=edit)).notes == ()
    other = Action("edit", "ann", edit=attrs.evolve(edit, values={"user": "x"}))
    assert act_on_dead(client, known, other).notes == (note,)
    assert [entry.note.left for entry in audit.entries(client, 1)] == [note]
    _, held = keys.find_key(client, [target], "a", known)
    with pytest.raises(UsageError, match="has another key"):
        resume(client, target, held, known)
    assert act_on_dead(client, known, Action("retry", "ann")).notes == (note,)
    (place,) = explain(client, "a1", known).locations
    assert place.order is not None
    assert place.order.next_steps == ("To go on without it: restbroker keys skip a",)


def test_a_deletion_from_a_stopped_key_is_told_and_undone(
    client: Client, broker: Broker, known: ConfigContext, target: Target
) -> None:
    assert "keys skip a" in "".join(act_on_dead(client, known, Action("delete", "ann")).notes)
    (place,) = explain(client, "a1", known).locations
    assert place.order is not None
    assert place.order.next_steps[0] == "To put that one back: restbroker dead restore a0"
    delivered = history.to_record(history.JobEnd("a0", "e", "add", outcome="delivered", status=200, took_ms=1.0))
    client.command("XADD", client.keys.history, "*", "end", delivered)
    (place,) = explain(client, "a1", known).locations
    assert place.order is not None
    assert place.order.next_steps == ("To go on without it: restbroker keys skip a",)


def test_deleted_jobs_hold_no_key(client: Client, broker: Broker, settings: Config) -> None:
    assert perform(client, settings, Action("delete", "ann"), "user = b").done == 3
    queues.push(client, "rest", [job("b", 9)])
    # Its key was held by what was deleted.
    assert broker.take().keys() == {"b9"}


def test_job_taken_out_of_a_line_is_not_counted(
    client: Client, broker: Broker, settings: Config, known: ConfigContext, target: Target
) -> None:
    queues.push(client, "rest", [job("a", number) for number in range(3, 10)])
    broker.take()
    assert perform(client, settings, Action("delete", "ann"), "jid = a4").done == 1
    last = perform(client, settings, Action("delete", "ann"), "jid = a5")
    assert (last.done, last.unseen) == (1, 0)
    assert keys.shown_key(client, target, keys.find_key(client, [target], "a", known)[1], known).waiting == 7
    (place,) = explain(client, "a9", known).locations
    assert place.order is not None
    assert place.order.place == "7th of 7"


def test_a_key_of_several_queues_is_counted_once(
    client: Client, broker: Broker, known: ConfigContext, target: Target
) -> None:
    for number in range(3, 9):
        queues.push(client, QUEUES[number % 2], [job("a", number)])
        broker.take()
    assert keys.shown_key(client, target, keys.find_key(client, [target], "a", known)[1], known).waiting == 8


def test_a_clear_empties_the_lines_of_held_keys(client: Client, broker: Broker, known: ConfigContext) -> None:
    assert [*operate_queues.clear_in_steps(client, "rest", known, "ann")][-1].done == 7
    assert not client.command("EXISTS", client.keys.key_queue("rest"), client.keys.ready_keys("rest"))
    queues.push(client, "rest", [job("b", 9), job("c", 9), job("d", 9)])
    assert broker.take().keys() == {"b9", "d9"}


def test_check_names_keys_that_a_renamed_target_holds(client: Client, broker: Broker, settings: Config) -> None:
    def found() -> list[str]:
        return [
            finding.message for finding in check_queues(client, settings, server(client)) if finding.code == "OrderLeft"
        ]

    assert found() == []
    client.command("ZADD", client.keys.busy_keys("old"), 1e12 + 5, "\x1ea")
    assert found() == ["The target old holds keys, and is not in this configuration. No process serves it."]
    serve(client, "old", 7, ["other"])
    assert found() == []


def stop(client: Client, target: Target, *users: str) -> None:
    broker = Broker(client, target)
    queues.push(client, "rest", [job(user, number) for user in users for number in range(2)])
    for jid, ticket in broker.take().items():
        broker.settle(ticket, Dead(NOW_S, job(jid[:-1], 0), effect="stop"))


def test_check_tells_stopped_keys_also_without_order_by(client: Client, settings: Config, target: Target) -> None:
    """No key is named: it may be a secret."""
    without = attrs.evolve(settings, targets=(attrs.evolve(target, order_by=None, on_dead="go"),))

    def found(config: Config) -> list[Finding]:
        return [finding for finding in check_now(client, config, {}) if finding.code == "OrderStopped"]

    assert found(settings) == []
    stop(client, target, "ann", "right-token")
    for config in (settings, without):
        (one,) = found(config)
        assert (one.level, one.cause) == ("problem", "other")
        assert re.fullmatch(
            r"e has stopped keys \(2 keys, for up to [^)]+\): their jobs wait behind a dead one.", one.message
        )
        assert "keys retry" in str(one.hint)


def test_what_waits_behind_stopped_keys_has_no_rate(client: Client, target: Target) -> None:
    def outlooks() -> dict[str, tuple[object, ...]]:
        found = {one.name: one for one in system(client).queues}
        return {name: (found[name].behind_stopped, found[name].outlook, found[name].empty_in_s) for name in QUEUES}

    stop(client, target, "ann", "bob")
    serve(client, "e", 7, QUEUES)
    queues.push(client, "slow", [job("eve", number) for number in range(5)])
    changes: dict[str, Json] = dict.fromkeys(QUEUES, -2.5)
    record(client, "node:7:ab", queues=[*QUEUES], version="restbroker 1", queue_changes_per_s=changes)
    assert outlooks() == {"rest": (2, "stopped", None), "slow": (0, "draining", 2.0)}
    control.pause(client, "queue", "rest", "ann", "", None)
    assert outlooks()["rest"] == (2, "paused", None)
    client.command("ZADD", client.keys.busy_keys("e"), *(part for n in range(1000) for part in (1e12 + n, f"\x1ek{n}")))
    assert outlooks()["rest"] == (None, "paused", None)


def test_very_many_stopped_keys_are_counted(client: Client, target: Target) -> None:
    held = client.keys.busy_keys("e")
    client.command("ZADD", held, *(part for n in range(2000) for part in (2e12 + n, f"\x1er{n}")))
    assert store.read_stopped(client, ["e"]) == {}
    client.command("ZADD", held, *(part for n in range(3000) for part in (1e12 + n + 1, f"\x1ek{n}")))
    found = store.read_stopped(client, ["e", "other"])
    assert found.keys() == {"e"}
    assert (len(found["e"].keys), found["e"].count_text) == (1000, "3,000 keys")
    assert (found["e"].keys[0].key, found["e"].since_s) == (b"\x1ek0", 1)
