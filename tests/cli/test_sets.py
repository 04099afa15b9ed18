"""The verbs of `restbroker dead`, `retries` and `scheduled`, as processes against a real Redis."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from restbroker.servers.api.ladder import EXISTS
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
    ("dead", "dead", ["move", "--to", "rest", "--where", "arg.user = *"]),
    ("retries", "retry", ["retry", "--where", "arg.user = *"]),
    ("retries", "retry", ["kill", "--all"]),
    ("scheduled", "schedule", ["delete", "--where", "arg.user = *"]),
    ("scheduled", "schedule", ["edit", "host=b.c", "--all"]),
]


@pytest.mark.parametrize(("name", "zset", "words"), MEANT)
def test_what_comes_while_a_person_is_asked_is_left_alone_however_old_it_says_it_is(
    name: str, zset: str, words: list[str], store: Client, place: Path
) -> None:
    at_s = NOW_S if zset == "dead" else time.time() + 3600
    args = ["register", {"user": "ann", "host": "example.org", "password": "p"}, "right-token"]
    put(store, zset, at_s, "first", args=args, queue="rest2" if "move" in words else "rest")
    with dialogue([name, *words], place) as terminal:
        terminal.until("set?")
        put(store, zset, at_s - 0.5, "second", args=args, queue="rest2" if "move" in words else "rest")
        before = store.command("ZRANGEBYSCORE", f"ns:{zset}", at_s - 0.5, at_s - 0.5)
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "1 job " in terminal.shown
    assert store.command("ZRANGEBYSCORE", f"ns:{zset}", at_s - 0.5, at_s - 0.5) == before


@pytest.mark.parametrize("verb", ["delete", "edit"])
def test_a_named_job_that_failed_again_while_a_person_was_asked_is_left_alone(
    verb: str, shell: Shell, store: Client, place: Path
) -> None:
    args = ["register", {"user": "ann", "host": "example.org", "password": "p"}, "right-token"]
    put(store, "dead", NOW_S, "n1", args=args)
    with dialogue(["dead", verb, "n1", *(["host=b.c"] if verb == "edit" else [])], place) as terminal:
        terminal.until("set?")
        assert shell("dead", "retry", "n1").returncode == 0
        put(store, "dead", NOW_S + 9, "n1", args=args, error_class="NotFound")
        before = store.command("ZRANGE", "ns:dead", 0, -1)
        terminal.type("y\n")
        assert terminal.end() == 1
    assert "It has changed since it was shown" in terminal.shown
    assert store.command("ZRANGE", "ns:dead", 0, -1) == before


def test_since_and_until_bound_when_a_job_was_parked_failed_or_is_due(shell: Shell, store: Client) -> None:
    now_s = time.time()
    placed: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
        ("old", "dead", now_s - 7200, {}),
        ("new", "dead", now_s - 60, {}),
        ("old", "retry", now_s + 60, {"failed_at": now_s - 7200}),
        ("new", "retry", now_s + 7200, {"failed_at": now_s - 60}),
        ("soon", "schedule", now_s + 60, {}),
        ("late", "schedule", now_s + 7200, {}),
    )
    for name, zset, at_s, more in placed:
        put(store, zset, at_s, name, **more)

    def listed(*words: str) -> list[str]:
        return [line.split("\t")[1] for line in shell(*words).stdout.splitlines()]

    assert listed("dead", "list", "--since", "1h") == listed("dead", "--since", "1h") == ["new"]
    assert listed("dead", "list", "--since", "3h", "--until", "1h") == ["old"]
    assert listed("retries", "list", "--until", "1h") == listed("retries", "--until", "1h") == ["old"]
    assert listed("scheduled", "list", "--since", "1h") == listed("scheduled", "--since", "1h") == ["late"]
    assert listed("scheduled", "list", "--until", "2030-01-01", "--where", "jid = soon") == ["soon"]
    assert listed("dead", "--older-than", "1h") == listed("retries", "list", "--older-than", "1h") == ["old"]
    assert listed("dead", "list", "--newer-than", "1h") == listed("retries", "--newer-than", "1h") == ["new"]
    assert listed("dead", "--older-than", "1h", "--newer-than", "3h", "--where", "jid = 'old'") == ["old"]
    assert shell("dead", "retry", "--newer-than", "1h", "--yes").stderr == "1 job retried.\n"
    assert (count(store, "dead"), count(store, "retry")) == (1, 2)


def test_each_verb_takes_a_group_of_the_summary_and_touches_no_other_job(shell: Shell, store: Client) -> None:
    for zset in ("dead", "retry"):
        for n in range(3):
            put(store, zset, NOW_S + n, f"j{n}", error_class="AlreadyExists", error_message=f"u{n}@e.org exists.")
        put(store, zset, NOW_S + 9, "other")
    (first, _), (whole, _) = (shell("dead", "summary", *more).stdout.splitlines() for more in ((), ()))
    cells = first.split("\t")
    assert (first, cells[1:6]) == (whole, ["3", "75.0%", "ejabberd", "register", "AlreadyExists"])
    assert cells[8:] == ["j2", "u2@e.org exists."]
    shown = json.loads(shell("retries", "summary", "--json", "--limit", "1").stdout)
    assert [(one["group"], one["jobs"], one["hint"]) for one in shown["groups"]] == [(cells[0], 3, EXISTS)]
    for listing in (("dead",), ("dead", "list"), ("retries",), ("retries", "list")):
        found = shell(*listing, "--group", cells[0]).stdout.splitlines()
        assert sorted(line.split("\t")[1] for line in found) == ["j0", "j1", "j2"]
    for verb in (
        ("retry",),
        ("delete",),
        ("kill",),
        ("reschedule", "--in", "5m"),
        ("move", "--to", "mails", "--foreign-queues"),
    ):
        for zset, command in (("dead", "dead"), ("retry", "retries")):
            if (zset, verb[0]) != ("dead", "kill"):
                done = shell(command, *verb, "--group", cells[0], "--dry-run")
                assert done.stderr.startswith(f"3 jobs of 4 in the {zset} set would be "), (verb, done.stderr)
    assert shell("dead", "delete", "--group", cells[0], "--yes").stderr == "3 jobs deleted.\n"
    assert count(store, "dead") == 1


def test_a_summary_counts_those_jobs_for_which_all_conditions_hold(shell: Shell, store: Client) -> None:
    for zset in ("dead", "retry"):
        for n, age_s in enumerate((60, 120, 7200)):
            failed_s = time.time() - age_s
            put(store, zset, failed_s, f"j{n}", failed_at=failed_s)
        put(store, zset, time.time(), "other", "status", error_message="x")
    for name in ("dead", "retries"):
        summary = shell(name, "summary", "--since", "1h", "--where", "command = register")
        assert summary.stdout.split("\t")[1:3] == ["2", "100.0%"]
        assert summary.stderr.startswith("1 cause accounts for 100 % of 2 jobs of the ")
        shown = json.loads(shell(name, "summary", "--older-than", "1h", "--where", "jid = j*", "--json").stdout)
        assert [shown["total"], shown["looked_at"], shown["matched"], shown["groups"][0]["jobs"]] == [4, 4, 1, 1]
        assert shell(name, "summary", "--where", "jid = nobody").stderr.endswith("set for which this holds failed.\n")
        refused = shell(name, "summary", "--where", "comand = register")
        assert (refused.returncode, refused.stdout) == (2, "")


def test_what_is_no_group_changes_nothing(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    for words in (
        ("dead", "delete", "--group", "xyz"),
        ("dead", "delete", "--group", "0123456789", "--group", "9876543210"),
        ("scheduled", "delete", "--group", "0123456789"),
    ):
        done = shell(*words, "--yes")
        assert (done.returncode, done.stdout) == (2, "")
    done = shell("dead", "delete", "--group", "0123456789", "--yes")
    assert done.returncode != 2
    assert count(store, "dead") == 1


def test_an_option_before_a_verb_is_never_ignored(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    put(store, "dead", NOW_S + 1, "j2", error_class="BadToken")
    for options in (("--where", "error = BadToken"), ("--newer-than", "1s"), ("--limit", "1"), ("--trimmed",)):
        done = shell("dead", *options, "delete", "--all", "--yes")
        assert (done.returncode, done.stdout) == (2, "")
    assert count(store, "dead") == 2
    done = shell("dead", "--where", "error = BadToken", "--config", "env.json", "delete", "--yes")
    assert (done.returncode, done.stderr) == (0, "1 job deleted.\n")
    assert [job["jid"] for job in json.loads(shell("dead", "--json", "list").stdout)] == ["j1"]


def test_a_span_that_can_be_read_in_two_ways_deletes_nothing_and_both_are_shown(shell: Shell, store: Client) -> None:
    put(store, "dead", time.time() - 7200, "old")
    for where in ("failed_at < 2m", "at > 2m", "failed_at != 2m", "at = 2m"):
        done = shell("dead", "delete", "--where", where, "--yes")
        assert (done.returncode, count(store, "dead")) == (2, 1)
        assert "Older than 2m: " in done.stderr
        assert "--older-than 2m and --newer-than 2m." in done.stderr
    assert (
        "--older-than: expected a duration, found 'yesterday'."
        in shell("dead", "delete", "--older-than", "yesterday", "--yes").stderr
    )
    assert shell("dead", "delete", "--older-than", "2m", "--yes").returncode == 0
    assert count(store, "dead") == 0


def test_what_is_due_has_no_age_so_a_scheduled_job_is_not_deleted_by_one(shell: Shell, store: Client) -> None:
    rows: list[str] = ["--newer-than", "--older-than"]
    for option in rows:
        store.command("FLUSHALL")
        put(store, "schedule", time.time() + 432_000, "late")
        done = shell("scheduled", "delete", option, "2h", "--yes")
        assert (done.returncode, count(store, "schedule")) == (2, 1)
        assert f"{option} does not apply to scheduled jobs" in done.stderr
        assert "--until 2h" in done.stderr
        assert shell("scheduled", option, "2h").returncode == 2


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


def test_it_must_be_said_which_jobs_are_meant_and_only_once(shell: Shell) -> None:
    rows: dict[tuple[str, ...], str] = dict.fromkeys(
        ((), ("j1", "--all"), ("--all", "--where", "jid = x")), "in exactly one way"
    )
    times: dict[tuple[str, ...], str] = {
        ("--since", "bla", "--yes"): "--since: expected a time, found 'bla'.",
        ("--until", "-", "--yes"): "--until: expected a time, found '-'.",
        ("--older-than", "long", "--yes"): "--older-than: expected a duration, found 'long'.",
    }
    for words, told in {**rows, **times}.items():
        done = shell("dead", "delete", *words)
        assert (done.returncode, done.stdout, told in done.stderr) == (2, "", True)


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
    assert left.stderr.endswith("The queues: 'default' (1), 'mail' (1).\n")
    question = "3 of them to queues that this configuration does not serve: 'default' (2), 'mail' (1)"
    asked = shell("dead", "retry", "--all", "--foreign-queues")
    assert (
        asked.returncode,
        f"Retry 4 jobs of the dead set, {question}? This needs your confirmation, but stdin is not a terminal."
        in asked.stderr,
    ) == (
        2,
        True,
    )
    named = shell("dead", "retry", "j0", "--foreign-queues")
    assert (named.returncode, "'default' (1)? This needs your confirmation" in named.stderr, count(store, "dead")) == (
        2,
        True,
        4,
    )
    assert shell("dead", "retry", "j1", "--foreign-queues").stderr == "1 job retried.\n", "nothing is to be asked of it"
    done = shell("dead", "retry", "--all", "--foreign-queues", "--yes", "--json")
    assert json.loads(done.stdout)["foreign_queues"] == {"default": 2, "mail": 1}
    assert (store.command("LLEN", "ns:queue:default"), count(store, "dead")) == (2, 0)


def test_a_delete_and_a_kill_say_how_many_jobs_are_of_queues_that_nobody_here_serves(
    shell: Shell, store: Client
) -> None:
    told = ", 3 of them from queues that this configuration does not serve: 'default' (2), 'mail' (1)"
    for zset, command, verb, done in (("dead", "dead", "delete", "deleted"), ("retry", "retries", "kill", "killed")):
        for number, queue in enumerate(["default", "rest", "default", "mail"]):
            put(store, zset, NOW_S + number, f"j{number}", queue=queue)
        store.command("ZADD", f"ns:{zset}", NOW_S, b"no job")
        for which, jobs in (("--all", 5 if verb == "delete" else 4), ("--where=command = register", 4)):
            asked = shell(command, verb, which)
            assert f"{verb.capitalize()} {jobs} jobs of the {zset} set{told}? This needs" in asked.stderr
        assert f"1 job of the {zset} set, 1 of them from queues" in shell(command, verb, "j3").stderr
        tried = shell(command, verb, "--where", "command = register", "--dry-run")
        assert f"would be {done}{told}." in tried.stderr
        went = shell(command, verb, "--where", "command = register", "--yes", "--json")
        assert (went.stderr, json.loads(went.stdout)["foreign_queues"]) == (
            f"4 jobs {done}{told}.\n",
            {"default": 2, "mail": 1},
        )


def test_a_job_is_explained_in_words_and_in_json(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1", error_class="BadArgument")
    put(store, "dead", NOW_S, "j9", error_class="BadArguments")
    shapeless = shell("explain", "j9").stderr
    assert "It can only be deleted: restbroker dead delete j9. " in shapeless
    assert "retry" not in shapeless
    put(store, "dead", NOW_S, "j8", error_class="AlreadyExists")
    assert shell("explain", "j8").stderr.splitlines()[0] == "To drop it: restbroker dead delete j8"
    told = shell("explain", "j1")
    assert told.returncode == 0
    assert told.stdout.startswith("where\tIt died at ")
    assert "restbroker dead retry j1" in told.stderr
    assert told.stderr.endswith("To drop it: restbroker dead delete j1\n")
    assert "hush-hush" not in told.stdout
    shell("dead", "retry", "j1")
    shown = json.loads(shell("explain", "j1", "--json").stdout)
    shell("queues", "pause", "rest", "--why", "it moves")
    waiting = shell("explain", "j1").stderr
    assert waiting.startswith("The queue rest is paused by ")
    assert ' until someone resumes it: "it moves".' in waiting
    assert [place["kind"] for place in shown["places"]] == ["queue"]
    assert [act["action"] for act in shown["acts"]] == ["retry"]
    record = history.to_record(JobEnd("j2", "ejabberd", "register", "delivered", 200, 12.5))
    store.command("XADD", "ns:restbroker:history", "*", "end", record)
    ended = shell("explain", "j2")
    assert ended.returncode == 0
    assert ended.stdout.endswith("  delivered  status 200  12 ms  register (ejabberd)\n")


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


def test_a_list_in_json_has_the_same_fields_with_and_without_conditions(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1", error_class="BadToken")
    rows = [(), ("list",), ("--where", "error = BadToken")]
    bare, listed, chosen = (json.loads(shell("dead", *words, "--json").stdout) for words in rows)
    assert bare == listed == chosen
    assert chosen[0]["key"]


def test_a_job_that_says_nothing_of_its_push_has_no_time(shell: Shell, store: Client) -> None:
    store.command("LPUSH", "ns:queue:rest", '{"class":"Add","jid":"j1","args":["safe",{},"t"]}')
    assert json.loads(shell("queues", "peek", "rest", "--json").stdout)[0]["when"] is None
    assert shell("queues", "peek", "rest", "--where", "jid = j1").stdout.startswith("-\tj1\t")


def test_a_refusal_before_anything_is_changed_says_nothing_of_changes(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    store.command("SET", "ns:restbroker:audit", "no stream")
    done = shell("dead", "delete", "j1", "--yes")
    assert done.returncode == 1
    assert "Changes made so far" not in done.stderr
    assert store.command("ZCARD", "ns:dead") == 1
