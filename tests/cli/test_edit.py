"""`restbroker dead edit`, `retries edit` and `scheduled edit`, as processes against a real Redis."""

import json
import signal
from pathlib import Path
from typing import Any

from restbroker.store.client import Client
from tests.cli.conftest import Shell
from tests.cli.test_sets import put
from tests.support.process import started
from tests.support.terminal import dialogue
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


def test_a_dry_run_ends_as_the_edit_would(shell: Shell, store: Client) -> None:
    lay(store)
    refused = shell("dead", "edit", "--all", "hots=example.org", "--dry-run")
    assert (refused.returncode, "above" in refused.stderr) == (1, False)
    assert "0 jobs of 1 in the dead set would be edited." in refused.stderr
    sent = shell("dead", "edit", "--all", "user=bob", "--retry", "--dry-run")
    assert (sent.returncode, "1 job of 1 in the dead set would be edited and sent." in sent.stderr) == (0, True)
