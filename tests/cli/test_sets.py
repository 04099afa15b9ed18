"""The verbs of `restbroker dead`, `retries` and `scheduled`, as processes against a real Redis."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from restbroker.store import history
from restbroker.store.client import Client
from restbroker.store.history import JobEnd
from tests.cli.conftest import Shell
from tests.support.process import started
from tests.support.terminal import dialogue
from tests.support.wait import until

NOW_S = 1_700_000_000


def put(store: Client, zset: str, at_s: float, jid: str, command: str = "register", **more: Any) -> None:
    fields = {
        "class": "Add", "args": [command, {"user": jid, "password": "hush-hush"}, "right-token"], "jid": jid,
        "queue": "rest", "error_class": "ServerError", "error_message": "It failed.", "failed_at": NOW_S + 0.5,
        "retry_count": 1, **more,
    }  # fmt: skip
    store.command("ZADD", f"ns:{zset}", at_s, json.dumps(fields))


def count(store: Client, zset: str) -> int:
    found = store.command("ZCARD", f"ns:{zset}")
    assert isinstance(found, int)
    return found


def test_a_list_is_filtered_and_says_where_it_goes_on(shell: Shell, store: Client) -> None:
    for n in range(6):
        put(store, "dead", NOW_S + n, f"j{n}", error_class="BadToken" if n % 2 else "ServerError")
    first = shell("dead", "list", "--where", "error = BadToken", "--limit", "2")
    assert [line.split("\t")[1] for line in first.stdout.splitlines()] == ["j5", "j3"]
    assert first.stdout.splitlines()[0].split("\t") == [
        "2023-11-14T22:13:25Z", "j5", "register", "BadToken", "It failed.",
    ]  # fmt: skip
    after = first.stderr.split("--after ")[1].strip()
    rest = shell("dead", "list", "--where", "error = BadToken", "--after", after)
    assert [line.split("\t")[1] for line in rest.stdout.splitlines()] == ["j1"]
    assert "--after" not in rest.stderr
    shown = json.loads(shell("dead", "--where", "jid = j4", "--json").stdout)
    assert [(one["jid"], one["arguments"]) for one in shown] == [("j4", {"user": "j4", "password": "***"})]


MEANT: list[tuple[str, str, list[str]]] = [
    ("dead", "dead", ["delete", "--all"]),
    ("scheduled", "schedule", ["edit", "host=b.c", "--where", "arg.user = *"]),
]


@pytest.mark.parametrize(("name", "zset", "words"), MEANT)
def test_what_comes_while_a_person_is_asked_is_left_alone_however_old_it_says_it_is(
    name: str, zset: str, words: list[str], store: Client, place: Path
) -> None:
    at_s = NOW_S if zset == "dead" else time.time() + 3600
    args = ["register", {"user": "ann", "host": "example.org", "password": "p"}, "right-token"]
    put(store, zset, at_s, "first", args=args)
    with dialogue([name, *words], place) as terminal:
        terminal.until("set?")
        put(store, zset, at_s - 0.5, "second", args=args)
        before = store.command("ZRANGEBYSCORE", f"ns:{zset}", at_s - 0.5, at_s - 0.5)
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "1 job " in terminal.shown
    assert store.command("ZRANGEBYSCORE", f"ns:{zset}", at_s - 0.5, at_s - 0.5) == before


def test_a_named_job_that_failed_again_while_a_person_was_asked_is_left_alone(
    shell: Shell, store: Client, place: Path
) -> None:
    args = ["register", {"user": "ann", "host": "example.org", "password": "p"}, "right-token"]
    put(store, "dead", NOW_S, "n1", args=args)
    with dialogue(["dead", "delete", "n1"], place) as terminal:
        terminal.until("set?")
        assert shell("dead", "retry", "n1").returncode == 0
        put(store, "dead", NOW_S + 9, "n1", args=args, error_class="NotFound")
        before = store.command("ZRANGE", "ns:dead", 0, -1)
        terminal.type("y\n")
        assert terminal.end() == 1
    assert "It has changed since it was shown" in terminal.shown
    assert store.command("ZRANGE", "ns:dead", 0, -1) == before


def test_a_summary_counts_those_jobs_for_which_all_conditions_hold(shell: Shell, store: Client) -> None:
    for zset, name in (("dead", "dead"), ("retry", "retries")):
        for n in range(3):
            put(store, zset, NOW_S + n, f"j{n}", failed_at=NOW_S + n)
        put(store, zset, NOW_S, "other", "status", error_message="x")
        words = (name, "summary", "--where", "command = register", "--where", "jid != j0")
        assert shell(*words).stdout.split("\t")[1:3] == ["2", "100.0%"]
        shown = json.loads(shell(*words, "--json").stdout)
        assert [shown["total"], shown["looked_at"], shown["matched"], shown["groups"][0]["jobs"]] == [4, 4, 2, 2]
    refused = shell("dead", "summary", "--where", "comand = register")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_an_option_before_a_verb_is_never_ignored(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    put(store, "dead", NOW_S + 1, "j2", error_class="BadToken")
    for options in (("--where", "error = BadToken"), ("--limit", "1")):
        done = shell("dead", *options, "delete", "--all", "--yes")
        assert (done.returncode, done.stdout) == (2, "")
    assert count(store, "dead") == 2
    done = shell("dead", "--where", "error = BadToken", "--config", "env.json", "delete", "--yes")
    assert (done.returncode, done.stderr) == (0, "1 job deleted.\n")
    assert [job["jid"] for job in json.loads(shell("dead", "--json", "list").stdout)] == ["j1"]


def test_a_condition_that_cannot_be_read_ends_with_2_and_the_nearest_field(shell: Shell) -> None:
    done = shell("dead", "list", "--where", "comand = x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean command?" in done.stderr
    assert "cannot be searched by secrets" in shell("dead", "--where", "password ~ a").stderr


def test_one_job_is_shown_with_all_that_is_known_and_no_secret(shell: Shell, store: Client) -> None:
    tries = [
        {"at": NOW_S + 0.5, "status": 500, "outcome": "failed", "code": "ServerError", "ms": 12.5, "excerpt": "oh"}
    ]
    put(store, "retry", NOW_S, "j1", restbroker_attempts=tries, restbroker_uncertain=1)
    done = shell("retries", "show", "j1")
    assert done.returncode == 0
    assert "argument\tuser: j1\n" in done.stdout
    assert "tried\t2 times\n" in done.stdout
    assert "may have run\tyes; safe to repeat\n" in done.stdout
    assert "hush-hush" not in done.stdout
    assert "status 500  12 ms  oh" in done.stdout
    assert json.loads(shell("retries", "show", "j1", "--json").stdout)["history"] == tries
    missing = shell("dead", "show", "j1")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "restbroker explain j1" in missing.stderr


def test_what_is_not_there_is_told_and_partly_done_ends_with_7(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    assert shell("dead", "retry", "nobody").returncode == 1
    done = shell("dead", "retry", "nobody", "j1", "--json")
    assert done.returncode == 7
    shown = json.loads(done.stdout)
    assert (shown["done"], shown["missing"], shown["dry_run"]) == (1, ["nobody"], False)
    assert "There is no job nobody" in done.stderr


def test_off_a_terminal_what_is_asked_needs_yes(shell: Shell, store: Client) -> None:
    rows: list[tuple[str, ...]] = [
        ("dead", "delete", "j1"),
        ("dead", "retry", "--all"),
        ("retries", "kill", "--where", "jid = j1"),
    ]
    for words in rows:
        store.command("FLUSHALL")
        put(store, "dead", NOW_S, "j1")
        put(store, "retry", NOW_S, "j1")
        refused = shell(*words)
        assert refused.returncode == 2
        assert "1 job of the" in refused.stderr
        assert "--yes" in refused.stderr
        assert (count(store, "dead"), count(store, "retry")) == (1, 1)
        assert shell(*words, "--yes").returncode == 0
        assert count(store, words[0].replace("retries", "retry")) == 0


@pytest.mark.parametrize("words", [(), ("j1", "--all"), ("--all", "--where", "jid = x")])
def test_it_must_be_said_which_jobs_are_meant_and_only_once(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell("dead", "delete", *words)
    assert (done.returncode, done.stdout, "in exactly one way" in done.stderr) == (2, "", True)


def test_who_stops_it_is_told_how_far_it_came_and_can_go_on(place: Path, shell: Shell, store: Client) -> None:
    for n in range(40):
        put(store, "dead", NOW_S + n, f"j{n}")
    with started(["dead", "retry", "--all", "--yes", "--rate", "1"], directory=place) as slowly:
        until(lambda: count(store, "dead") < 40, "the first job is retried")
        slowly.signal(signal.SIGINT)
        assert slowly.wait() != 0
        assert "Run the same command again for the rest." in slowly.output()
    left = count(store, "dead")
    assert 0 < left < 40
    assert store.command("LLEN", "ns:queue:rest") == 40 - left
    assert shell("audit", "--limit", "1").stdout.split("\t")[5] == "interrupted"
    assert shell("dead", "retry", "--all", "--yes").stderr == f"{left} jobs retried.\n"
    assert store.command("LLEN", "ns:queue:rest") == 40


def test_jobs_of_queues_that_nobody_here_serves_are_left_and_a_question_names_them(shell: Shell, store: Client) -> None:
    for number, queue in enumerate(["default", "rest", "default", "mail"]):
        put(store, "dead", NOW_S + number, f"j{number}", queue=queue)
    left = shell("dead", "retry", "j0", "j3")
    assert (left.returncode, left.stderr.startswith("0 jobs retried.\n2 jobs not changed: No target")) == (1, True)
    for words, told in (
        (("retry", "--all", "--foreign-queues"), "does not serve: 'default' (2), 'mail' (1)? This needs"),
        (("retry", "j0", "--foreign-queues"), "'default' (1)? This needs your confirmation"),
        (("delete", "--all"), "does not serve: 'default' (2), 'mail' (1)? This needs"),
    ):
        asked = shell("dead", *words)
        assert (asked.returncode, told in asked.stderr) == (2, True), asked.stderr
    assert count(store, "dead") == 4
    assert shell("dead", "retry", "j1", "--foreign-queues").stderr == "1 job retried.\n", "nothing is to be asked of it"
    done = shell("dead", "retry", "--all", "--foreign-queues", "--yes", "--json")
    assert json.loads(done.stdout)["foreign_queues"] == {"default": 2, "mail": 1}
    assert (store.command("LLEN", "ns:queue:default"), count(store, "dead")) == (2, 0)


def test_a_job_is_explained_in_words_and_in_json(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1", error_class="BadArgument")
    told = shell("explain", "j1")
    assert (told.returncode, told.stdout.startswith("where\tIt died at ")) == (0, True)
    assert "restbroker dead retry j1" in told.stderr
    assert "hush-hush" not in told.stdout
    shell("dead", "retry", "j1")
    shown = json.loads(shell("explain", "j1", "--json").stdout)
    assert [place["kind"] for place in shown["places"]] == ["queue"]
    assert [act["action"] for act in shown["acts"]] == ["retry"]
    record = history.to_record(JobEnd("j2", "ejabberd", "register", "delivered", 200, 12.5))
    store.command("XADD", "ns:restbroker:history", "*", "end", record)
    ended = shell("explain", "j2")
    assert (ended.returncode, "delivered" in ended.stdout) == (0, True)


def test_jobs_are_found_wherever_they_are_in_lines_and_in_json(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "bob")
    put(store, "retry", NOW_S, "ann")
    record = history.to_record(JobEnd("bob-2", "ejabberd", "register", "delivered", 200, 12.5))
    store.command("XADD", "ns:restbroker:history", "*", "end", record)
    done = shell("find", "BOB")
    assert done.returncode == 0
    parked, ended = (line.split("\t") for line in done.stdout.splitlines())
    assert (parked[:2], parked[3:7]) == (["dead", "dead"], ["bob", "rest", "ejabberd", "register"])
    assert json.loads(parked[7]) == {"user": "bob", "password": "***"}
    assert (ended[0], ended[3], ended[7]) == ("ended", "bob-2", "delivered")
    assert done.stderr.startswith("2 jobs found. Looked at ")
    assert "the retry set: 1" in done.stderr
    shown = json.loads(shell("find", "user=bob", "--json").stdout)
    assert [(one["kind"], one["job"]["jid"]) for one in shown["found"]] == [("dead", "bob")]
    assert (shown["ended"], shown["looked_at"]["the retry set"]) == ([], 1)
    assert shown["unseen"] == ["finished jobs, whose records keep no arguments (user)"]


def test_a_search_that_finds_nothing_ends_with_1_and_one_by_a_secret_with_2(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "bob")
    rows = {"nobody": 1, "hush-hush": 1, "password=hush-hush": 2, "user == bob": 2, "user=bob": 0}
    for typed, code in rows.items():
        done = shell("find", typed)
        assert (done.returncode, "hush-hush" in done.stdout) == (code, False), typed


def test_a_refusal_before_anything_is_changed_says_nothing_of_changes(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    store.command("SET", "ns:restbroker:audit", "no stream")
    done = shell("dead", "delete", "j1", "--yes")
    assert done.returncode == 1
    assert "Changes made so far" not in done.stderr
    assert store.command("ZCARD", "ns:dead") == 1
