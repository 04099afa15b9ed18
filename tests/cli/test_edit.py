"""`restbroker dead edit`, `retries edit` and `scheduled edit`, as processes against a real Redis."""

import json
import re
import signal
from pathlib import Path
from typing import Any

from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.cli.test_sets import count, put
from tests.support.process import started
from tests.support.terminal import dialogue, on_a_terminal
from tests.support.wait import until

ALICE = {"user": "alice", "host": "example.org", "password": "hush-hush"}


def lay(store: Client, zset: str = "dead", **more: Any) -> None:
    put(store, zset, 1_700_000_000, "j1", args=["register", ALICE, "right-token"], **more)


def arguments_of(store: Client, key: str = "dead") -> dict[str, Any]:
    words = ("LRANGE", f"ns:{key}", 0, -1) if key.startswith("queue:") else ("ZRANGE", f"ns:{key}", 0, -1)
    found = store.command(*words)
    assert isinstance(found, list)
    (raw,) = found
    assert isinstance(raw, bytes)
    values: dict[str, Any] = json.loads(raw)["args"][1]
    return values


def test_an_edit_shows_what_it_would_change_and_changes_nothing_without_a_yes(shell: Shell, store: Client) -> None:
    lay(store)
    words = ("dead", "edit", "j1", "user=bob", "password=newer-secret", "--unset", "none")
    tried = shell(*words, "--dry-run")
    assert tried.returncode == 0
    assert tried.stdout.splitlines() == [
        "j1 (register)", "    user: alice → bob", "    password: *** → *** (what was given)",
    ]  # fmt: skip
    refused = shell(*words)
    assert (refused.returncode, arguments_of(store)) == (2, ALICE)
    assert "--yes" in refused.stderr
    assert "note: password is visible in the command line" in refused.stderr
    done = shell(*words, "--yes", "--json")
    assert (done.returncode, json.loads(done.stdout)["done"]) == (0, 1)
    assert arguments_of(store) == {**ALICE, "user": "bob", "password": "newer-secret"}
    audited = shell("audit").stdout
    shown = tried.stdout + refused.stderr + done.stdout + done.stderr + audited + shell("dead", "show", "j1").stdout
    assert "edit" in audited
    assert not any(word in shown for word in ("hush", "newer-secret", "right-token"))


def test_a_person_on_a_terminal_is_asked(shell: Shell, store: Client, place: Path) -> None:
    lay(store)
    for answer, user, code in (("n", "alice", 1), ("y", "bob", 0)):
        with dialogue(["dead", "edit", "j1", "user=bob"], place) as terminal:
            terminal.until("user: alice → bob")
            terminal.answer("Edit 1 job of the dead set?", answer)
            assert terminal.end() == code
        assert arguments_of(store)["user"] == user


def test_who_was_faster_wins_over_what_was_shown(shell: Shell, store: Client, place: Path) -> None:
    lay(store)
    with dialogue(["dead", "edit", "j1", "user=ann"], place) as slow:
        slow.until("alice → ann")
        assert shell("dead", "edit", "j1", "user=bea", "--yes").returncode == 0
        slow.answer("Edit 1 job of the dead set?", "y")
        assert slow.end() == 1
        assert "someone else was faster" in slow.shown
    assert arguments_of(store)["user"] == "bea"


def test_an_edited_job_is_sent_at_once_with_retry(shell: Shell, store: Client) -> None:
    for command, zset in (("dead", "dead"), ("retries", "retry"), ("scheduled", "schedule")):
        store.command("FLUSHALL")
        lay(store, zset)
        done = shell(command, "edit", "j1", "user=bob", "--retry", "--yes")
        assert (done.returncode, count(store, zset)) == (0, 0)
        assert arguments_of(store, "queue:rest")["user"] == "bob"


def test_what_cannot_be_names_the_reason_and_changes_nothing(shell: Shell, store: Client) -> None:
    lay(store)
    rows = {
        ("j1", "usr=bob"): (1, "did you mean user?"),
        ("j2", "user=bob"): (1, "no job j2"),
        ("j1",): (2, "nothing to change"),
        ("user=bob",): (2, "in exactly one way"),
        ("j1", "user=bob", "--unset", "user"): (2, "removed"),
        ("j1", "user=bob", "--all"): (2, "'j1'"),
        ("j1", "--queue", "elsewhere"): (1, "elsewhere"),
        ("j1", "--command", "regster"): (1, "did you mean"),
    }
    for words, (code, told) in rows.items():
        refused = shell("dead", "edit", *words, "--yes")
        assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
    assert arguments_of(store) == ALICE


def test_many_are_edited_by_a_condition(shell: Shell, store: Client) -> None:
    for n in range(7):
        put(store, "dead", n, f"j{n}", args=["register", {**ALICE, "user": f"u{n}"}, "right-token"])
    tried = shell("dead", "edit", "--where", "arg.user != u0", "host=example.com", "--dry-run")
    assert tried.stdout.count("host: example.org → example.com") == 5
    assert "6 jobs of 7 in the dead set would be edited" in tried.stderr
    assert shell("dead", "edit", "--where", "arg.user != u0", "host=example.com").returncode == 2
    assert shell("dead", "edit", "--where", "arg.user != u0", "host=example.com", "--yes").stderr == "6 jobs edited.\n"
    assert shell("dead", "list", "--where", "arg.host = example.com", "--json").stdout.count('"key"') == 6


def test_an_edit_that_is_killed_leaves_each_job_in_one_place_and_goes_on_with_the_rest(
    shell: Shell, store: Client, place: Path
) -> None:
    names = {f"j{n}" for n in range(400)}
    for name in names:
        put(store, "dead", 1, name, args=["register", {**ALICE, "user": name}, "right-token"])

    def revised() -> int:
        found = store.command("ZRANGE", "ns:dead", 0, -1)
        assert isinstance(found, list)
        fields = [json.loads(raw) for raw in found if isinstance(raw, bytes)]
        assert {one["jid"] for one in fields} == names
        assert len(fields) == len(names)
        return sum(one.get("restbroker_revision") == 1 for one in fields)

    words = ["dead", "edit", "--all", "host=example.com", "--yes"]
    with started([*words, "--rate", "100"], directory=place) as slowly:
        until(lambda: revised() >= 100, "some were edited")
        slowly.signal(signal.SIGKILL)
        slowly.wait()
    assert 100 <= revised() < 400
    assert "nothing would change" in shell(*words).stderr
    assert revised() == 400


def test_a_job_that_can_be_edited_is_told_how_and_one_that_was_not_let_in_is_not(
    shell: Shell, store: Client, place: Path
) -> None:
    for zset, name, jid in (("dead", "dead", "j1"), ("retry", "retries", "j2"), ("schedule", "scheduled", "j3")):
        put(store, zset, 1_700_000_000, jid, error_class="BadArgument")
        assert f"restbroker {name} edit {jid} NAME=VALUE --retry" in shell("explain", jid).stderr
    put(store, "dead", 1_700_000_001, "j4", error_class="BadToken", error_message="No such token.")
    assert "edit" not in shell("explain", "j4").stderr
    told = " ".join(on_a_terminal(["dead", "summary"], place, columns=200).split())
    assert re.search(
        r"Correct the arguments\. \(restbroker dead edit --group \w+ NAME=VALUE --retry; or --rename OLD=NEW\)", told
    )
    assert told.count("dead edit") == 1


def test_each_job_keeps_its_own_secret_by_another_name_and_one_secret_for_all_is_warned_of(
    shell: Shell, store: Client
) -> None:
    for number in range(3):
        given = {"user": f"u{number}", "host": "example.org", "pasword": f"its-own-{number}"}
        put(store, "dead", 1_700_000_000 + number, f"j{number}", args=["register", given, "right-token"])
    one = shell("dead", "edit", "--all", "password=-", "--unset", "pasword", "--dry-run", stdin="new-one")
    assert (one.returncode, "password becomes the same in all 3 jobs" in one.stderr) == (0, True)
    for wrong in ("pasword", "=password", "pasword=", "a=a"):
        assert shell("dead", "edit", "--all", "--rename", wrong, "--yes").returncode == 2
    done = shell("dead", "edit", "--all", "--rename", "pasword=password", "--yes")
    assert (done.returncode, done.stderr) == (0, "3 jobs edited.\n")
    raws = store.command("ZRANGE", "ns:dead", 0, -1)
    assert isinstance(raws, list)
    assert [json.loads(raw)["args"][1]["password"] for raw in raws] == [f"its-own-{number}" for number in range(3)]  # type: ignore[arg-type]


def test_a_dry_run_ends_as_the_edit_would(shell: Shell, store: Client) -> None:
    lay(store)
    refused = shell("dead", "edit", "--all", "hots=example.org", "--dry-run")
    assert (refused.returncode, "above" in refused.stderr) == (1, False)
    assert "0 jobs of 1 in the dead set would be edited." in refused.stderr
    sent = shell("dead", "edit", "--all", "user=bob", "--retry", "--dry-run")
    assert (sent.returncode, "1 job of 1 in the dead set would be edited and sent." in sent.stderr) == (0, True)


def test_who_waits_for_jobs_of_a_paused_queue_is_told_so(shell: Shell, store: Client) -> None:
    lay(store)
    assert shell("queues", "pause", "rest", "--why", "a move").returncode == 0
    waited = shell("dead", "edit", "j1", "user=bob", "--retry", "--wait", "--timeout", "1s", "--yes")
    assert (waited.returncode, "note: " in waited.stderr, "a move" in waited.stderr) == (6, True, True)


def test_no_edit_and_no_move_shows_a_value_that_was_hidden(shell: Shell, store: Client) -> None:
    lacking = {"user": "alice", "host": "example.org", "pw": "hush-hush"}
    for command, zset in (("dead", "dead"), ("retries", "retry"), ("scheduled", "schedule")):
        lay(store, zset)
        put(store, zset, 1_700_000_001, "j2", args=["register", lacking, "right-token"])
        rows = (
            ("edit", "j1", "--rename", "password=reason", "--command", "ban_account"),
            ("edit", "j2", "password=newone", "--any"),
            ("move", "j2", "--to", "foreign", "--foreign-queues"),
        )
        for words in rows if zset == "dead" else rows[:2]:
            for more in (("--dry-run",), ("--dry-run", "--json"), ("--yes",)):
                answer = shell(command, *words, *more)
                assert (answer.returncode, "hush" in answer.stdout + answer.stderr) == (1, False)
                assert "is hidden, and" in answer.stdout + answer.stderr
    fields = {"class": "Add", "jid": "q1", "queue": "rest", "args": ["register", ALICE, "right-token"]}
    store.command("LPUSH", "ns:queue:rest", json.dumps(fields))
    waiting = ("--all", "--rename", "password=reason", "--command", "ban_account", "--yes")
    assert "'password' is hidden" in shell("queues", "edit", "rest", *waiting).stderr
    told = (shell("audit", "--json"), shell("dead", "show", "j2"), shell("explain", "j2"), shell("find", "hush"))
    assert "hush" not in "".join(one.stdout + one.stderr for one in told)
