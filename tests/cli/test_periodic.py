"""`restbroker periodic`, and what `run` and `check` refuse of such commands before anything starts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from restbroker.store import periodic
from restbroker.store.client import Client
from tests.cli.conftest import Shell, configure, jobs_in

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


def listed(shell: Shell) -> dict[str, dict[str, Any]]:
    done = shell("periodic", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_the_list_says_what_became_of_the_last_time(shell: Shell, store: Client) -> None:
    store.command("HSET", "ns:restbroker:periodic", "nightly", "ab 5")
    assert (listed(shell)["nightly"]["jid"], listed(shell)["nightly"]["outcome"]) == (None, None)
    assert listed(shell)["strict"]["meaning"] == "At 00:00 on the first day of month and on Monday in January"
    jid = shell("periodic", "run", "nightly").stdout.strip()
    assert periodic.read(store)[1]["nightly"].mark_s == 5, "its times stay"
    assert (listed(shell)["nightly"]["jid"], listed(shell)["nightly"]["job"]) == (jid, "queue")
    store.command("DEL", "ns:queue:rest")
    assert listed(shell)["nightly"]["job"] == "gone"
    store.command("HSET", "ns:restbroker:periodic", "nightly missed", "4", "nightly tick", "missed j")
    row = shell("periodic").stdout.splitlines()[0].split("\t")
    assert (row[0], row[2], row[5], row[6]) == ("nightly", "Europe/Berlin", "missed: no process ran in time", "4")


def test_a_job_that_is_not_done_holds_back_another(shell: Shell, store: Client) -> None:
    jid = shell("periodic", "run", "strict").stdout.strip()
    again = shell("periodic", "run", "strict")
    assert (again.returncode, again.stdout, f"{jid} (believed) is not done" in again.stderr) == (1, "", True)
    outcome = json.loads(shell("periodic", "run", "strict", "--json").stdout)
    assert outcome == {"periodic": "strict", "jid": None, "not_done": jid, "dry_run": False}
    assert [job["jid"] for job in jobs_in(store, "queue:rest")] == [jid]


def test_its_answer_has_the_id_of_the_file(shell: Shell, place: Path, store: Client) -> None:
    configure(place, Periodic={"nightly": {**NIGHTLY, "ReplyId": "online"}}, ResponseQueue="replies")
    assert shell("periodic", "run", "nightly").returncode == 0
    (job,) = jobs_in(store, "queue:rest")
    assert (job["args"][0], job["args"][3]) == ("status", "online")


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
        ({"ReplyId": "online"}, "ReplyId", "has no effect without ResponseQueue"),
        ({"Cron": "0 0 31 4 *"}, "Cron", "never due"),
        ({"TimeZone": "europe/berlin"}, "TimeZone", "did you mean Europe/Berlin?"),
    ],
)
def test_run_and_check_refuse_what_can_be_no_job(
    shell: Shell, place: Path, members: dict[str, Any], member: str, why: str
) -> None:
    configure(place, Periodic={"nightly": {**NIGHTLY, **members}})
    for words in (("run",), ("check", "--json")):
        done = shell(*words)
        message = done.stderr if words == ("run",) else json.loads(done.stdout)["findings"][0]["message"]
        assert done.returncode == 2
        assert f"Periodic.nightly.{member}: " in message
        assert why in message


def test_a_mistake_in_periodic_stops_no_other_command(shell: Shell, place: Path, store: Client) -> None:
    configure(place, Periodic={"nightly": {**NIGHTLY, "Command": "statuss", "Cron": "never"}})
    assert [shell(*words).returncode for words in (("enqueue", "status"), ("queues",), ("periodic",))] == [0, 0, 2]
    assert len(jobs_in(store, "queue:rest")) == 1
