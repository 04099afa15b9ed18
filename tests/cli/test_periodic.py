"""`restbroker periodic`, and what `run` and `check` refuse of such commands before anything starts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from restbroker.store import periodic, queues
from restbroker.store.client import Client
from tests.cli.conftest import Shell

NIGHTLY = {"Cron": "30 4 * * *", "TimeZone": "Europe/Berlin", "Command": "status"}
ACCOUNT = {"user": "u", "host": "example.org"}


@pytest.fixture
def keys() -> Mapping[str, Any]:
    return {
        "History": "1h",
        "Tokens": {"few": {"Secret": "another-secret-of-16", "Allow": ["get_*"]}},
        "Periodic": {
            "nightly": NIGHTLY,
            "strict": {"Cron": "0 0 1 1 1", "Command": "check_account", "Arguments": ACCOUNT, "Overlap": "skip"},
        },
    }


def change(place: Path, **members: Any) -> None:
    document = json.loads((place / "env.json").read_text())
    document["Periodic"] = {"nightly": {**NIGHTLY, **members}}
    (place / "env.json").write_text(json.dumps(document))


def jobs(store: Client) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in cast("list[bytes]", store.command("LRANGE", "ns:queue:rest", 0, -1))]


def listed(shell: Shell) -> dict[str, dict[str, Any]]:
    done = shell("periodic", "--json")
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_the_list_says_when_each_is_due_next_and_what_became_of_the_last_time(shell: Shell, store: Client) -> None:
    store.command("HSET", "ns:restbroker:periodic", "nightly", "ab 5")
    found = listed(shell)
    one = found["nightly"]
    assert (one["command"], one["target"], one["queue"], one["cron"]) == ("status", "ejabberd", "rest", "30 4 * * *")
    assert one["meaning"] == "At 04:30 every day"
    assert "04:30 +0" in one["next"]
    assert one["next_utc"].endswith("+0000")
    assert (one["jid"], one["outcome"], one["missed"], one["skipped"]) == (None, None, 0, 0)
    assert found["strict"]["meaning"] == "At 00:00 on the first day of month and on Monday in January"
    store.command("HSET", "ns:restbroker:periodic", "nightly missed", "4", "nightly tick", "missed j")
    assert listed(shell)["nightly"]["missed"] == 4
    row = shell("periodic").stdout.splitlines()[0].split("\t")
    assert (row[0], row[2], row[5], row[6]) == ("nightly", "Europe/Berlin", "missed: no process ran in time", "4")


def test_run_pushes_the_job_now_and_leaves_its_times_alone(shell: Shell, store: Client) -> None:
    store.command("HSET", "ns:restbroker:periodic", "nightly", "ab 5")
    assert (shell("periodic", "run", "nightly", "--dry-run").returncode, jobs(store)) == (0, [])
    done = shell("periodic", "run", "nightly", "--why", "to see it")
    (job,) = jobs(store)
    assert (done.returncode, done.stdout.strip(), job["args"][:2]) == (0, job["jid"], ["status", {}])
    assert periodic.read(store)[1]["nightly"].mark_s == 5
    one = listed(shell)["nightly"]
    assert (one["jid"], one["job"]) == (job["jid"], "queue")
    entry = shell("audit").stdout
    assert "periodic:nightly" in entry
    assert "to see it" in entry
    store.command("DEL", "ns:queue:rest")
    assert listed(shell)["nightly"]["job"] == "gone"


def test_a_job_that_is_not_done_holds_back_what_a_person_runs_too(shell: Shell, store: Client) -> None:
    jid = shell("periodic", "run", "strict").stdout.strip()
    again = shell("periodic", "run", "strict")
    assert (again.returncode, again.stdout, f"{jid} (believed) is not done" in again.stderr) == (1, "", True)
    told = json.loads(shell("periodic", "run", "strict", "--json").stdout)
    assert told == {"periodic": "strict", "jid": None, "not_done": jid, "dry_run": False}
    assert len(jobs(store)) == 1


def test_a_pause_holds_until_its_end_or_until_someone_resumes(shell: Shell) -> None:
    assert "nightly was not paused." in shell("periodic", "resume", "nightly").stderr
    done = shell("periodic", "pause", "nightly", "--for", "2h", "--why", "the server moves")
    assert (done.returncode, "nightly is paused for 2 h." in done.stderr) == (0, True)
    pause = listed(shell)["nightly"]["pause"]
    assert (pause["why"], 7100 < pause["remaining_s"] <= 7200) == ("the server moves", True)
    assert "the server moves" in shell("periodic").stdout
    told = json.loads(shell("periodic", "pause", "nightly", "--json").stdout)
    assert told == {"periodic": "nightly", "was_paused": True, "paused": True, "for_s": None, "dry_run": False}
    assert "nightly is resumed." in shell("periodic", "resume", "nightly").stderr
    assert listed(shell)["nightly"]["pause"] is None
    assert shell("audit").stdout.count("periodic:nightly") == 4


def test_an_unknown_name_is_refused_with_the_known_ones(shell: Shell, store: Client) -> None:
    for verb in ("run", "pause", "resume"):
        done = shell("periodic", verb, "nightl")
        assert (done.returncode, "nightly" in done.stderr) == (2, True)
    assert (jobs(store), store.command("EXISTS", "ns:restbroker:pauses:periodic")) == ([], 0)


@pytest.mark.parametrize(
    ("members", "member", "why"),
    [
        ({"Command": "statuss"}, "Command", "did you mean"),
        ({"Command": "register", "Arguments": {"user": "u", "what": 1}}, "Arguments", "no argument 'what'"),
        ({"Command": "register", "Arguments": {"user": "u"}}, "Arguments", "host"),
        ({"Target": "eu"}, "Target", "There is no target 'eu'"),
        ({"Queue": "other"}, "Queue", "does not serve it, but rest"),
        ({"Token": "few"}, "Token", 'The token "few" does not allow the command status'),
        ({"Token": "none"}, "Token", "These are configured: default, few"),
        ({"Command": "stop"}, "Command", "controls the server itself"),
        ({"Cron": "0 0 31 4 *"}, "Cron", "never due"),
        ({"TimeZone": "europe/berlin"}, "TimeZone", "did you mean Europe/Berlin?"),
    ],
)
def test_run_and_check_refuse_what_can_be_no_job(
    shell: Shell, place: Path, members: dict[str, Any], member: str, why: str
) -> None:
    change(place, **members)
    for words in (("run",), ("check", "--json")):
        done = shell(*words)
        told = done.stderr if words == ("run",) else json.loads(done.stdout)["findings"][0]["message"]
        assert done.returncode == 2
        assert f"Periodic.nightly.{member}: " in told
        assert why in told


def test_a_mistake_in_periodic_keeps_no_one_from_pushing_and_looking(shell: Shell, place: Path, store: Client) -> None:
    change(place, Command="statuss", Cron="never")
    assert shell("enqueue", "status").returncode == 0
    assert len(jobs(store)) == 1
    assert shell("queues").returncode == 0
    assert shell("periodic").returncode == 2


def test_a_queue_of_another_type_is_refused_like_a_push(shell: Shell, store: Client) -> None:
    store.command("SET", "ns:queue:rest", "x")
    assert shell("periodic", "run", "nightly").returncode != 0
    assert queues.sizes(store, ["rest"]) == {"rest": None}
