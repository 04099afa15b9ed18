"""`restbroker roster` as a process against a real Redis."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from restbroker.job.json_types import Json
from restbroker.rosters import store as rosters
from restbroker.store import heartbeats, queues
from restbroker.store.client import Client
from tests.cli.conftest import Shell, noted
from tests.operate.pools import serve
from tests.support.process import started
from tests.support.wait import until

Do = Callable[[str], subprocess.CompletedProcess[str]]
TARGET: Json = {
    "Kind": "prosody-roster",
    "URL": "http://127.0.0.1:1/roster_admin",
    "Domain": "example.org",
    "Queues": ["rosters"],
}


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {"RestURL": None, "RestQueue": None, "Targets": {"rosters": TARGET}}


@pytest.fixture
def do(shell: Shell) -> Do:
    return lambda line: shell("roster", *shlex.split(line))


def refreshed(store: Client) -> list[str]:
    """The users with refresh jobs, the oldest first."""
    jobs = [json.loads(job) for job in queues.peek(store, "rosters", 0, 100)]
    assert all(job["args"][0] == "refresh" and job["args"][2] == "right-token" for job in jobs)
    return [user for job in jobs for user in job["args"][1]["users"]]


def test_each_change_of_a_roster_is_followed_by_a_refresh(do: Do, store: Client) -> None:
    done = do("add john ann@example.org --name Ann --group Work --group Friends")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "john: version 1.\n")
    assert refreshed(store) == ["john"]
    assert do("show john@example.org").stdout == "ann@example.org\tAnn\tFriends,Work\n"
    assert do("add john ann@example.org --name Annie").stderr == "john: version 2.\n"
    assert json.loads(do("show john --json").stdout) == {"ann@example.org": {"name": "Annie"}}
    assert do("remove john ann@example.org bob@example.org").stderr == "john: version 3.\n"
    shown = do("show john")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert shown.stderr == "0 contacts, version 3, to be refreshed.\n"
    assert refreshed(store) == ["john"], "he was not refreshed yet"
    verbs = ["add contact", "add contact", "remove contact"]
    assert noted(store) == [(verb, "roster:john", "done") for verb in verbs]


def test_names_that_prosody_cannot_take_are_refused_unwritten(do: Do, store: Client) -> None:
    for line, why in {
        "add john Ann@example.org": "Ann@example.org is not in lower case.\nWrite ann@example.org.",
        "add John ann@example.org": "John is not in lower case.\nWrite john.",
        "add john john@example.org": "john@example.org is the user themselves.\nLeave it out: Prosody hangs on "
        "a user's own address.",
        "import none.ndjson": "none.ndjson cannot be read: No such file or directory.\nCheck the name and the rights.",
    }.items():
        done = do(line)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"restbroker: {why}\n")
    assert rosters.counts(store) == (0, 0)
    assert do("show john").returncode == 1


def test_a_roster_is_deleted_after_a_question_only(do: Do, store: Client) -> None:
    do("add john ann@example.org")
    refused = do("delete john")
    assert refused.returncode == 2
    assert (
        "Delete the roster of john with 1 contact? This needs your confirmation, but stdin is not a terminal."
        in refused.stderr
    )
    assert do("delete john --dry-run").stderr == "The roster of john with 1 contact would be deleted.\n"
    assert do("delete john --yes").stderr == "john has no roster any more.\n"
    assert do("delete john --yes").stderr == "john has no roster.\n"
    assert rosters.users(store) == set()


def test_refreshes_are_requested_by_name_or_for_all(do: Do, store: Client) -> None:
    done = do("refresh zoe john zoe@example.org")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "2 users will be refreshed.")
    assert refreshed(store) == ["zoe", "john"]
    assert len(queues.peek(store, "rosters", 0, 100)) == 1, "one job for both"
    do("add ann john@example.org")
    assert do("refresh --all --dry-run").stderr == "1 user would be refreshed.\n"
    assert do("refresh --all").returncode == 0
    waited = do("refresh zoe --wait --timeout 10ms")
    assert (waited.returncode, waited.stderr.splitlines()[-1]) == (
        6,
        "After 10 ms, 1 job had not ended; they stay queued.",
    )
    assert do("refresh").returncode == 2
    both = do("refresh zoe --all")
    assert (both.returncode, both.stderr.splitlines()[0]) == (2, "restbroker: Users are named, and --all is given.")


def test_a_refresh_that_has_to_wait_says_why_once(do: Do, store: Client) -> None:
    note = "note: No running process serves the queue rosters; its jobs wait for one."
    assert do("refresh zoe").stderr.splitlines() == [note, "1 user will be refreshed."]
    serve(store, "ejabberd", 77, ["rosters"], gate="closed", gate_reason="Nobody listens there.", gate_cure="Start it.")
    down = ["note: The server of the queue rosters gets no jobs now: Nobody listens there. Start it."]
    assert do("refresh zoe").stderr.splitlines() == [*down, "1 user will be refreshed."]
    assert do("refresh zoe --wait --timeout 2200ms").stderr.splitlines()[:2] == [*down, "0 users refreshed."]


def test_awaited_refresh_reports_when_its_server_goes_down(place: Path, do: Do, store: Client) -> None:
    serve(store, "ejabberd", 77, ["rosters"])
    with started(["roster", "refresh", "zoe", "--wait"], directory=place) as process:
        until(lambda: queues.peek(store, "rosters", 0, 1), "the job is queued")
        snapshot = b'{"gate":"closed","gate_reason":"Gone."}'
        served = "node:77:abc:ejabberd"
        assert heartbeats.write_heartbeats(store, [(served, 1)], {served: snapshot})
        process.wait_for("^note: The server of the queue rosters gets no jobs now: Gone.$")


def test_all_rosters_are_exported_to_a_private_file_and_imported(do: Do, place: Path, store: Client) -> None:
    do("add john ann@example.org --name Ann --group Work")
    do("add zoe ann@example.org")
    do("add ann zoe@example.org")
    done = do("export all.ndjson")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 rosters with 3 contacts written.\n")
    assert (place / "all.ndjson").stat().st_mode & 0o777 == 0o600
    assert do("export all.ndjson").returncode == 2, "a file that is there is left alone"
    assert do("export -").stdout == (place / "all.ndjson").read_text("utf-8")
    before = [rosters.user_states(store, ["ann", "john", "zoe"]), rosters.read(store, ["ann", "john", "zoe"])]
    store.command("FLUSHALL")
    done = do("import all.ndjson")
    assert (done.returncode, done.stderr) == (0, "3 rosters with 3 contacts written, 3 of them changed.\n")
    assert rosters.read(store, ["ann", "john", "zoe"]) == before[1]
    assert sorted(refreshed(store)) == ["ann", "john", "zoe"]
    assert do("import all.ndjson").returncode == 2, "replacing is asked for"
    assert do("import all.ndjson --yes").stderr == "3 rosters with 3 contacts written, 0 of them changed.\n"
    assert noted(store)[:2] == [("import", "rosters", "begun"), ("import", "rosters", "ended")]


def test_an_import_leaves_out_users_with_anything_wrong(do: Do, place: Path, store: Client) -> None:
    users = {"john": ["ann@example.org", "Bob@example.org"], "zoe": ["ann@example.org"]}
    lines = [json.dumps({"user": user, "contacts": {jid: {} for jid in jids}}) for user, jids in users.items()]
    (place / "some.ndjson").write_text("\n".join(lines))
    assert do("import some.ndjson --dry-run").stderr == (
        "line 1: john: Bob@example.org is not in lower case. Write bob@example.org.\n"
        "1 roster with 1 contact would be written, 1 of them would change; 1 user refused.\n"
    )
    assert rosters.counts(store) == (0, 0)
    done = do("import some.ndjson --json")
    assert done.returncode == 7
    outcome = json.loads(done.stdout)
    assert (outcome["written"], outcome["changed"], outcome["refused"][0]["user"]) == (1, 1, "john")
    assert rosters.users(store) == {"zoe"}
    (place / "some.csv").write_text("user,jid\njohn,ann@example.org\n")
    done = do("import some.csv")
    assert done.returncode == 1
    assert "scripts in contrib/rosters" in done.stderr
