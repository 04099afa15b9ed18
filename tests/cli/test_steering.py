"""`restbroker queues`, `targets` and `processes` as processes against a real Redis."""

import json
import re
import socket
import time
from pathlib import Path

import attrs

from restbroker.operate import audit
from restbroker.store import pauses, queues
from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.operate.pools import record, serve
from tests.support.terminal import on_a_terminal


def push(store: Client, count: int) -> None:
    jobs = [
        {"class": "Add", "jid": f"j{n}", "args": ["register", {"password": "hush"}, "right-token"]}
        for n in range(count)
    ]
    queues.push(store, "rest", [json.dumps({**job, "enqueued_at": time.time() - 60}).encode() for job in jobs])


def noted(store: Client) -> list[tuple[str, str, str]]:
    """What the record of actions says, oldest first."""
    found = [one.note for one in audit.entries(store, 50)]
    return [(note.action, note.place, note.state) for note in reversed(found)]


def test_a_queue_is_paused_and_resumed_and_everybody_sees_by_whom_and_why(
    shell: Shell, store: Client, place: Path
) -> None:
    push(store, 2)
    serve(store, "ejabberd", 7, ["rest"])
    done = shell("queues", "pause", "rest", "--for", "90m", "--why", "the server moves")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "rest is paused for 1 h 30 min; jobs in progress finish.\n"
    (cells,) = (line.split("\t") for line in shell("queues").stdout.splitlines())
    assert cells[:2] == ["rest", "2"]
    assert 60 <= float(cells[2]) < 100
    assert cells[3] == "paused"
    assert cells[4].endswith(f"@{socket.gethostname()}")
    assert 5300 < float(cells[5]) <= 5400
    assert cells[6:] == ["the server moves", "ejabberd", "node:7", "0"]
    words = " ".join(re.sub(r"\x1b\[\d*m", "", on_a_terminal(["queues", "list"], place, columns=200)).split())
    assert re.search(
        r"rest 2 1 min( \d+ s)? paused by \S+ for 1 h (30|29) min more: \"the server moves\" ejabberd", words
    )
    (shown,) = json.loads(shell("queues", "list", "--json").stdout)
    assert (shown["pause"]["why"], shown["targets"]) == ("the server moves", ["ejabberd"])
    assert shell("queues", "resume", "rest").stderr == "rest is resumed.\n"
    assert shell("queues", "resume", "rest").stderr == "rest was not paused.\n"
    assert noted(store) == [
        ("pause", "queue:rest", "done"),
        ("resume", "queue:rest", "done"),
        ("resume", "queue:rest", "done"),
    ]


def test_some_of_the_jobs_that_wait_are_deleted_only_when_somebody_says_so(shell: Shell, store: Client) -> None:
    push(store, 3)
    planned = shell("queues", "delete", "rest", "--where", "jid = j1", "--dry-run")
    note = "note: Callers that wait get no answer.\n"
    assert (planned.returncode, planned.stderr) == (0, f"{note}1 job of 3 in the queue rest would be deleted.\n")
    assert "j1" in planned.stdout
    refused = shell("queues", "delete", "rest", "--where", "jid = j1")
    assert refused.returncode == 2
    assert (
        "Delete 1 job of the queue rest? This needs your confirmation, but stdin is not a terminal." in refused.stderr
    )
    assert queues.sizes(store, ["rest"]) == {"rest": 3}
    assert noted(store) == []
    done = shell("queues", "delete", "rest", "--where", "jid = j1", "--yes", "--json")
    assert (done.returncode, done.stderr) == (0, f"{note}1 job deleted.\n")
    assert json.loads(done.stdout)["done"] == 1
    assert noted(store)[0] == ("delete", "queue:rest", "begun")
    assert shell("queues", "kill", "rest", "--where", "jid = j0", "--yes").stderr.endswith("\n1 job killed.\n")
    assert [json.loads(raw)["jid"] for raw in queues.peek(store, "rest", 0, 5)] == ["j2"]
    assert "hush" not in planned.stdout + refused.stderr + done.stdout


def test_what_makes_no_sense_of_waiting_jobs_ends_with_2_and_changes_nothing(shell: Shell, store: Client) -> None:
    push(store, 2)
    queues.push(store, "mailers", [b"{}"])
    for arguments, words in [
        (("delete", "rest", "--yes"), "which jobs, in exactly one way"),
        (("delete", "rest", "--yes", "--all", "--where", "jid = j1"), "which jobs, in exactly one way"),
        (("delete", "rset", "--yes", "--all"), "Did you mean rest?"),
        (("delete", "mailers", "--yes", "--all"), "--foreign-queues"),
        (("kill", "rest", "--yes", "--where", "password = hush"), "password"),
        (("kill", "rest", "--yes", "--where", "failure_group = 0123456789"), "is only for failed jobs"),
    ]:
        refused = shell("queues", *arguments)
        assert (refused.returncode, refused.stdout) == (2, ""), arguments
        assert words in refused.stderr
    assert queues.sizes(store, ["rest", "mailers"]) == {"rest": 2, "mailers": 1}


def test_a_queue_is_cleared_only_when_somebody_says_so(shell: Shell, store: Client) -> None:
    push(store, 3)
    assert shell("queues", "clear", "rest", "--dry-run").stderr == "3 jobs would be deleted from rest.\n"
    refused = shell("queues", "clear", "rest")
    assert refused.returncode == 2
    assert "stdin is not a terminal" in refused.stderr
    assert "--yes" in refused.stderr
    assert noted(store) == []
    done = shell("queues", "clear", "rest", "--yes", "--json")
    assert json.loads(done.stdout) == {"queue": "rest", "jobs": 3, "dry_run": False}
    assert done.stderr == "3 jobs were deleted from rest.\n"
    assert noted(store) == [("clear", "queue:rest", "begun"), ("clear", "queue:rest", "ended")]
    assert next(audit.entries(store, 1)).note.done == 3
    assert shell("queues", "clear", "rest").stderr == "0 jobs were deleted from rest.\n"


def test_an_unknown_name_ends_with_the_nearest_known_one_and_a_2(shell: Shell, store: Client) -> None:
    serve(store, "prosody", 7, ["other"])
    record(store, "web:9:ab", queues=["q"])
    for words, hint in [
        (("queues", "pause", "rset"), "Did you mean rest?"),
        (("queues", "peek", "rset"), "Did you mean rest?"),
        (("queues", "clear", "rset", "--yes"), "Did you mean rest?"),
        (("targets", "pause", "prosodi"), "Did you mean prosody?"),
        (("targets", "resume", "ejabbered"), "Did you mean ejabberd?"),
        (("processes", "stop", "web:9:abc", "--yes"), "Did you mean web:9:ab?"),
    ]:
        done = shell(*words)
        assert (done.returncode, hint in done.stderr) == (2, True), done.stderr
    done = shell("queues", "pause", "rest", "--for", "soon")
    assert done.returncode == 2
    assert "--for takes a duration up to 366 days" in done.stderr
    assert pauses.paused_queues(store) == {}
    assert noted(store) == []


def test_processes_are_shown_and_asked_by_name_or_by_host_and_pid(shell: Shell, store: Client) -> None:
    serve(store, "ejabberd", 7, ["rest"])
    record(store, "node:7:abc", version="restbroker 1.0", tag="restbroker", queues=["rest"])
    record(store, "web:9:ab", queues=["q"], version="7.3.2")
    lines = [line.split("\t") for line in shell("processes").stdout.splitlines()]
    assert [line[:2] for line in lines] == [["node:7:abc", "restbroker 1.0"], ["web:9:ab", "7.3.2"]]
    assert [line[8:] for line in lines] == [["ejabberd", "rest"], ["-", "q"]]
    assert (
        shell("processes", "quiet", "web:9", "--dry-run").stderr == "1 process with 0 jobs in progress would "
        "be quieted.\n"
    )
    assert shell("processes", "stop", "web:9").returncode == 2
    assert noted(store) == []
    assert shell("processes", "quiet", "web:9", "node:7:abc", "--yes").returncode == 0
    assert shell("processes", "stop", "web:9:ab", "--yes").stderr == "web:9:ab begins to stop within a few seconds.\n"
    assert store.command("LRANGE", "ns:web:9:ab-signals", 0, -1) == [b"TERM", b"TSTP"]
    assert store.command("LRANGE", "ns:node:7:abc-signals", 0, -1) == [b"TSTP"]
    assert noted(store)[-1] == ("stop", "process:web:9:ab", "done")


def test_on_a_terminal_each_process_has_one_line(shell: Shell, store: Client, place: Path) -> None:
    record(store, "web:9:ab", queues=["q"], version="7.3.2")
    drawn = [
        line.split()
        for line in re.sub(r"\x1b\[\d*m", "", on_a_terminal(["processes"], place, columns=200)).splitlines()
    ]
    assert drawn[0][:4] == ["PROCESS", "PROGRAM", "STATE", "JOBS"]
    assert drawn[1][:2] == ["web:9:ab", "7.3.2"]
    assert json.loads(shell("processes", "--json").stdout)[0]["name"] == "web:9:ab"


def test_a_process_that_gives_no_sign_of_life_is_called_silent(shell: Shell, store: Client) -> None:
    for name, age_s in (("node:7:abc", 0), ("web:9:ab", 4000)):
        record(store, name, version="7.3.2")
        store.command("HSET", f"ns:{name}", "beat", f"{time.time() - age_s:.3f}")
    assert [line.split("\t")[2] for line in shell("processes").stdout.splitlines()] == ["running", "silent"]


def test_an_action_is_listed_once_with_its_last_state(shell: Shell, store: Client, place: Path) -> None:
    begun = audit.AuditEntry(who="ann", action="retry", place="dead", state="begun")
    run = audit.write(store, begun)
    audit.write(store, attrs.evolve(begun, state="going on", run=run, done=1))
    audit.write(store, attrs.evolve(begun, place="retry"))
    audit.write(store, attrs.evolve(begun, state="ended", run=run, done=2))
    lines = [line.split("\t")[3:7] for line in shell("audit", "--limit", "2").stdout.splitlines()]
    assert lines == [["dead", "-", "ended", "2"], ["retry", "-", "begun", "0"]]
    drawn = re.sub(r"\x1b\[\d*m", "", on_a_terminal(["audit"], place, columns=200))
    rows = [line.split()[2:] for line in drawn.splitlines()[1:]]
    assert rows == [["ann", "retry", "dead", "ended,", "2", "done"], ["ann", "retry", "retry", "begun"]]
    assert len(json.loads(shell("audit", "--json").stdout)) == 4


def test_a_dry_run_of_a_pause_or_its_end_changes_nothing(shell: Shell, store: Client) -> None:
    push(store, 1)
    serve(store, "ejabberd", 7, ["rest"])
    for group, name in (("queues", "rest"), ("targets", "ejabberd")):
        paused = shell(group, "pause", name, "--for", "1h", "--dry-run")
        assert paused.stderr.startswith(f"{name} would be paused for 1 h;")
        assert "paused" in shell(group, "resume", name, "--dry-run").stderr
    assert pauses.paused_queues(store) == {}
    assert pauses.paused_targets(store, ["ejabberd"]).get("ejabberd", ()) == ()
    assert noted(store) == []


def test_waiting_jobs_are_searched_by_conditions_and_it_says_where_to_go_on(shell: Shell, store: Client) -> None:
    push(store, 30)
    done = shell("queues", "peek", "rest", "--where", "jid = j1*", "--limit", "2")
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["j1", "j10"]
    assert "hush" not in done.stdout
    after = done.stderr.split("--after ")[1].strip()
    (last,) = json.loads(shell("queues", "peek", "rest", "--where", "jid = j19", "--after", after, "--json").stdout)
    assert (last["jid"], last["arguments"]) == ("j19", {"password": "***"})
    (plain, *_) = json.loads(shell("queues", "peek", "rest", "--json").stdout)
    assert plain.keys() == last.keys()
    assert shell("queues", "peek", "rest", "--where", "comand = x").returncode == 2
    assert shell("queues", "peek", "rest", "--after", "5").returncode == 2
