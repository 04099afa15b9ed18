"""`restbroker dead`, `retries`, `scheduled`, `queues`, `keys`: questions, stops and kills, where people and Redis are.

What each verb prints and refuses is in tests/golden/data/verbs.txt; what it does to jobs is proved in tests/operate.
"""

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restbroker.operate import audit
from restbroker.store import events, history
from restbroker.store.client import Client
from restbroker.store.events import IncomingEvent
from restbroker.store.history import JobEnd
from tests.cli.conftest import NOW_S, Shell, jobs_in, noted, put
from tests.operate.pools import record
from tests.support.process import started
from tests.support.terminal import dialogue, on_a_terminal
from tests.support.wait import until


def put_dead(store: Client, jid: str, command: str = "status") -> None:
    """Put a job into the dead set as restbroker does: with its copy."""
    put(store, "dead", NOW_S, jid, command)
    raw = json.dumps(next(job for job in jobs_in(store, "dead") if job["jid"] == jid))
    store.command("XADD", "ns:restbroker:parked", "*", "ticket", "1:1", "payload", raw)


@pytest.mark.promise("A good citizen", "of what others trim a copy is left")
def test_dead_jobs_that_others_trimmed_are_restored(shell: Shell, store: Client) -> None:
    put_dead(store, "j1")
    store.command("DEL", "ns:dead")
    put(store, "dead", NOW_S + 9, "newer")
    assert "restbroker dead restore j1" in shell("explain", "j1").stderr
    restored = shell("dead", "restore", "j1")
    assert (restored.returncode, "It may have run since it died" in restored.stderr) == (0, True)
    assert shell("dead", "--limit", "1").stdout.split("\t")[1] == "j1", "it would be trimmed again otherwise"
    assert noted(store) == [("restore", "dead", "done")]


def test_a_job_that_a_person_sent_on_is_not_offered_for_restore(shell: Shell, store: Client) -> None:
    put_dead(store, "j1")
    assert shell("dead", "retry", "j1").returncode == 0
    store.command("DEL", "ns:queue:rest")
    assert "dead restore" not in shell("explain", "j1").stderr


@pytest.mark.parametrize(("verb", "zset"), [("dead", "dead"), ("scheduled", "schedule")])
def test_explain_names_who_deleted_a_job(shell: Shell, store: Client, verb: str, zset: str) -> None:
    put(store, zset, NOW_S, "j1")
    assert shell(verb, "delete", "j1", "--yes").returncode == 0
    explained = shell("explain", "j1")
    assert (explained.returncode, "deleted the job j1." in explained.stderr) == (1, True)
    assert ("dead restore j1" in explained.stderr, "it was delivered" in explained.stderr) == (zset == "dead", False)


def test_explain_and_lists_say_how_long_a_job_waits_after_crashes(shell: Shell, store: Client) -> None:
    put(store, "schedule", NOW_S + 40, "j1", restbroker_crashes=3, restbroker_deferred_at=NOW_S)
    explained = shell("explain", "j1")
    assert "It waits 40 s after 3 crashes, until " in explained.stdout
    assert "It was in progress in 3 crashes: it is tried again, later after each, and dies" in explained.stderr
    assert "waits 40 s after 3 crashes" in shell("scheduled").stdout


def test_explain_says_who_received_the_message(shell: Shell, store: Client) -> None:
    events.remember_asking(store, "j1", "j1", "bob@example.org")
    nobody = shell("explain", "j1")
    assert "received by\tnobody, as far as the recent events tell" in nobody.stdout
    assert "Recent events: none. A receipt that is missing says nothing." in nobody.stderr
    for kind, sender in (("receipt", "bob@example.org/phone"), ("displayed", "mal@example.org/x")):
        record = json.dumps({"type": kind, "id": "j1", "from": sender}).encode()
        store.run(*events.push_call(store.keys, [IncomingEvent("ev", b"{}", record, kind)]))
    told = shell("explain", "j1")
    assert re.search(r"^received by\t\S+ \S+  bob@example.org/phone$", told.stdout, re.MULTILINE)
    assert re.search(
        r"^read by\t.*  mal@example.org/x  somebody else: it went to bob@example.org$", told.stdout, re.MULTILINE
    )
    assert re.search(r"Recent events: back to \d", told.stderr)
    as_json = json.loads(shell("explain", "j1", "--json").stdout)
    assert [(event["type"], bool(event["warning"])) for event in as_json["told"]] == [
        ("receipt", False),
        ("displayed", True),
    ]
    assert as_json["told_since"]


def test_a_restored_job_may_have_run_so_a_retry_asks(shell: Shell, store: Client) -> None:
    put_dead(store, "j1", "send_message")
    store.command("DEL", "ns:dead")
    assert shell("dead", "restore", "j1").returncode == 0
    refused = shell("dead", "retry", "j1", "--yes")
    assert (refused.returncode, "--repeat-unsafe" in refused.stderr) == (1, True)
    assert [job["jid"] for job in jobs_in(store, "dead")] == ["j1"]


def test_a_job_that_waits_for_its_next_try_is_not_restored(shell: Shell, store: Client) -> None:
    put_dead(store, "j1")
    store.command("DEL", "ns:dead")
    put(store, "retry", NOW_S, "j1", "status")
    done = shell("dead", "restore", "j1")
    assert (done.returncode, "waits for its next try" in done.stderr) == (2, True)
    assert jobs_in(store, "dead") == []


@pytest.mark.parametrize(
    ("line", "zset", "said"),
    [
        ("dead delete --all", "dead", "1 job deleted"),
        ("dead retry --all", "dead", "1 job retried"),
        ("scheduled edit host=b.c --where arg.user=*", "schedule", "1 job edited"),
        ("dead delete first", "dead", "It has changed since it was shown"),
    ],
)
def test_jobs_that_changed_during_the_prompt_are_not_touched(
    store: Client, place: Path, line: str, zset: str, said: str
) -> None:
    """Neither one that came, however old it says it is, nor a named one that was retried and failed again."""
    at_s = NOW_S if zset == "dead" else time.time() + 3600
    put(store, zset, at_s, "first")
    with dialogue(line.split(), place) as terminal:
        terminal.until("set?")
        if line.endswith("first"):
            store.command("DEL", "ns:dead")
            put(store, "dead", at_s + 9, "first", error_class="NotFound")
        put(store, zset, at_s - 0.5, "second")
        later = [job for job in jobs_in(store, zset) if job["jid"] == "second" or job["error_class"] == "NotFound"]
        terminal.type("y\n")
        terminal.until(said)
        terminal.end()
    assert [job for job in jobs_in(store, zset) if job in later] == later


def test_edit_is_shown_and_asked_about(store: Client, place: Path) -> None:
    put(store, "dead", NOW_S, "first")
    with dialogue(["dead", "edit", "first", "user=bob"], place) as terminal:
        terminal.until("user: first → bob")
        terminal.answer("Edit 1 job of the dead set?", "n")
        assert terminal.end() == 1
    assert jobs_in(store, "dead")[0]["args"][1]["user"] == "first"


def test_a_stopped_retry_says_how_far_it_came_and_can_go_on(place: Path, shell: Shell, store: Client) -> None:
    for number in range(40):
        put(store, "dead", NOW_S + number, f"j{number}")
    with started(["dead", "retry", "--all", "--yes", "--rate", "1"], directory=place) as slowly:
        until(lambda: len(jobs_in(store, "dead")) < 40, "the first job is retried")
        slowly.signal(signal.SIGINT)
        assert slowly.wait() != 0
        assert "Run the same command again for the rest." in slowly.output()
    left = len(jobs_in(store, "dead"))
    assert 0 < left < 40
    assert noted(store)[-1] == ("retry", "dead", "interrupted")
    assert shell("dead", "retry", "--all", "--yes").stderr == f"{left} jobs retried.\n"
    assert sorted(job["jid"] for job in jobs_in(store, "queue:rest")) == sorted(f"j{n}" for n in range(40))


@pytest.mark.parametrize(
    ("verb", "more", "past"),
    [
        ("delete", [], "deleted"),
        ("move", ["--to", "other", "--foreign-queues"], "moved"),
        ("edit", ["user=bob"], "edited"),
    ],
)
def test_ctrl_c_stops_an_action_on_many_jobs(store: Client, place: Path, verb: str, more: list[str], past: str) -> None:
    """On a terminal it shows how far it is; what was done is printed, and stands in the audit entry."""
    for number in range(300):
        put(store, "dead", NOW_S + number, f"j{number}")
    with dialogue(["dead", verb, *more, "--all", "--yes", "--rate", "20"], place) as terminal:
        terminal.until(f" {past}")  # the bar
        terminal.type("\x03")
        terminal.until("Run the same command again for the rest.")
        assert terminal.end() == 130
        printed = re.findall(rf"(\d+) jobs? {past}\. Run", terminal.shown)
    changed = 300 - sum(job["queue"] == "rest" and job["args"][1]["user"] != "bob" for job in jobs_in(store, "dead"))
    note = next(iter(audit.entries(store, 1))).note
    assert (note.action, note.state, note.done, printed) == (verb, "interrupted", changed, [str(changed)])


def test_a_killed_edit_leaves_each_job_in_one_place(shell: Shell, store: Client, place: Path) -> None:
    names = [f"j{number}" for number in range(400)]
    for name in names:
        put(store, "dead", 1, name)

    def revised() -> int:
        found = jobs_in(store, "dead")
        assert sorted(job["jid"] for job in found) == sorted(names)
        return sum(job.get("restbroker_revision") == 1 for job in found)

    words = ["dead", "edit", "--all", "host=example.com", "--yes"]
    with started([*words, "--rate", "100"], directory=place) as slowly:
        until(lambda: revised() >= 100, "some were edited")
        slowly.signal(signal.SIGKILL)
        slowly.wait()
    assert 100 <= revised() < 400
    assert "nothing would change" in shell(*words).stderr
    assert revised() == 400


def test_refusal_before_any_change_says_nothing_was_changed(shell: Shell, store: Client) -> None:
    put(store, "dead", NOW_S, "j1")
    store.command("SET", "ns:restbroker:audit", "no stream")
    done = shell("dead", "delete", "j1", "--yes")
    assert (done.returncode, "Nothing was changed." in done.stderr) == (1, True)
    assert len(jobs_in(store, "dead")) == 1


@contextmanager
def full(store: Client) -> Iterator[None]:
    """Have Redis refuse most writes."""
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        yield
    finally:
        store.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("line", ["dead delete --all", "queues delete rest --all", "queues clear rest"])
def test_jobs_can_be_deleted_where_redis_is_full(shell: Shell, store: Client, line: str) -> None:
    key = "dead" if line.startswith("dead") else "queue:rest"
    for number in range(3):
        put(store, "dead", NOW_S + number, f"j{number}")
        store.command("LPUSH", "ns:queue:rest", json.dumps({"class": "A", "jid": f"w{number}", "args": ["status"]}))
    with full(store):
        done = shell(*line.split(), "--yes")
        assert (done.returncode, store.command("EXISTS", f"ns:{key}")) == (0, 0), done.stderr
    assert [noted(store)[place][2] for place in (0, -1)] == ["begun", "ended"]


def test_people_see_pauses_processes_and_actions_in_tables(shell: Shell, store: Client, place: Path) -> None:
    record(store, "web:9:ab", queues=["q"], version="7.3.2")
    assert shell("queues", "pause", "rest", "--for", "90m", "--why", "the server moves").returncode == 0

    def drawn(*words: str) -> str:
        text = re.sub(r"\x1b\[\d*m", "", on_a_terminal(words, place, columns=200))
        return "\n".join(" ".join(line.split()) for line in text.splitlines())

    assert re.search(
        r'rest 0 0 s paused by \S+ for 1 h (30|29) min.* more: "the server moves"', drawn("queues", "list")
    )
    assert re.search(r"PROCESS PROGRAM STATE JOBS.*\nweb:9:ab 7\.3\.2 running 0", drawn("processes"))
    assert re.search(r"WHEN WHO ACTION .*\n[\d:]{8} \S+@\S+ pause queue:rest .*the server moves", drawn("audit"))


def test_audit_lists_what_the_words_say(shell: Shell, store: Client) -> None:
    """An action is found by any of its jobs, and shown as it ended."""
    for number in range(150):
        put(store, "dead", NOW_S + number, f"j{number}")
    assert shell("dead", "retry", "--all", "--yes", "--why", "mended").returncode == 0
    assert shell("queues", "pause", "rest").returncode == 0
    words = ["action=retry", "at newer 2h", "done > 100", "MENDED", "j7"]
    found = [shell("audit", *given).stdout.splitlines() for given in (words, ["place=queue:rest"], ["j7", "who=x"])]
    assert [[line.split("\t")[2:6] for line in lines] for lines in found] == [
        [["retry", "dead", "all", "ended"]],
        [["pause", "queue:rest", "until resumed", "done"]],
        [],
    ]
    assert [entry["state"] for entry in json.loads(shell("audit", "action=pause", "--json").stdout)] == ["done"]
    assert shell("audit", "who=x").stderr.startswith("No action matches. ")
    wrong = shell("audit", "queue=rest")
    assert (wrong.returncode, "A queue is place = queue:NAME" in wrong.stderr) == (2, True)


def end(store: Client, jid: str) -> None:
    record = history.to_record(JobEnd(jid, "ejabberd", "register", outcome="delivered", status=200, took_ms=12.5))
    store.command("XADD", "ns:restbroker:history", "*", "end", record)


def test_history_lists_jobs_and_follows_them(shell: Shell, store: Client, place: Path) -> None:
    missing = shell("history")
    assert (missing.returncode, '"History": "24h"' in missing.stderr) == (2, True)
    for jid in ("j1", "j2", "j3"):
        end(store, jid)
    listed = shell("history", "--limit", "2")
    after = listed.stderr.split()[-1]
    assert [line.split("\t")[1:] for line in listed.stdout.splitlines()] == [
        ["register", "ejabberd", "delivered", "200", "12.5", jid, "-"] for jid in ("j3", "j2")
    ]
    (rest,) = json.loads(shell("history", "--after", after, "--json").stdout)
    assert (rest["jid"], rest["took_ms"], rest["times"]["tries"]) == ("j1", 12.5, 1)
    assert shell("history", "--after", after, "--follow").returncode == 2
    with started(["history", "--where", "jid ~ j", "--limit", "1", "--follow"], directory=place) as tail:
        until(lambda: "j3" in tail.output(), "the last one is shown")
        end(store, "x4")
        end(store, "j5")
        until(lambda: "j5" in tail.output(), "what came is shown")
        tail.signal(signal.SIGINT)
        assert tail.wait() == 0
    assert [line.split("\t")[6] for line in tail.output().splitlines()] == ["j3", "j5"]
