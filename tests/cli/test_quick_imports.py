"""What stands in a shell's loop loads what it needs: a library, or a server's catalogue, that slips in costs each turn.

Of the other commands `test_command_line` asks the same without a Redis.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from restbroker.servers import registry
from restbroker.store.client import Client
from tests.cli.conftest import Shell

SLOW = {
    *("asyncio", "ssl", "email", "logging", "http"),
    *("pydantic", "trio", "httpx", "quart", "hypercorn", "prometheus_client", "rich", "click"),
}
# What changes jobs, for commands that show them.
ACTING = {"restbroker.operate.act", "restbroker.cli.actions"}
SCRIPT = """
import atexit, sys
atexit.register(lambda: open("loaded", "w").write(" ".join(sys.modules)))
from restbroker.__main__ import main
main()
"""
JID = "a" * 24
JOB = {"class": "Restbroker", "args": ["register", {"user": "a", "host": "h"}, "right-token"], "jid": JID}


def loaded(words: list[str], place: Path) -> set[str]:
    """The modules that this command had loaded when it ended."""
    command = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {*(place / "loaded").read_text().split()}


@pytest.fixture
def waiting(store: Client) -> None:
    raw = json.dumps({**JOB, "queue": "rest", "error_class": "TimedOut", "error_message": "no answer"})
    for zset in ("dead", "retry", "schedule"):
        store.command("ZADD", store.keys.sorted_set(zset), 1.0, raw)


def quick_commands() -> list[list[str]]:
    pushed = ["enqueue", "register", "user=a", "host=h", "password:=1", "--any"]
    return [pushed, ["stats"], ["dead"], ["retries", "list"], ["scheduled", "show", JID]]


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize("words", quick_commands(), ids=" ".join)
def test_a_quick_command_loads_no_slow_library_and_no_other_server_s_catalogue(words: list[str], place: Path) -> None:
    found = loaded(words, place)
    assert not (SLOW | ACTING) & found
    others = {"rosters", *(kind.partition("-")[0] for kind in registry.KINDS[1:])}
    assert not [name for name in found if set(name.split(".")) & others and name.startswith("restbroker.")]


@pytest.mark.usefixtures("waiting")
def test_stats_that_no_terminal_shows_load_nothing_that_draws_them_or_reads_jobs(place: Path) -> None:
    of_terminals = {"restbroker.operate.summary", "restbroker.operate.context"}
    assert not of_terminals & (loaded(["stats"], place) | loaded(["stats", "--json"], place))


def test_of_several_servers_that_are_configured_only_the_catalogue_of_the_command_s_own_is_loaded(place: Path) -> None:
    path, url = place / "env.json", "http://127.0.0.1:1/api"
    kinds = [kind for kind in registry.KINDS if kind not in ("http", "prosody-roster")]
    targets = {kind: {"Kind": kind, "URL": url, "Queues": [kind]} for kind in kinds}
    document = {name: value for name, value in json.loads(path.read_text()).items() if not name.startswith("Rest")}
    path.write_text(json.dumps({**document, "Targets": targets}))
    told = ["enqueue", "any_name", "a=b", "--any"]
    rows: list[tuple[list[str], list[str]]] = [
        ([*told, "--target", "ejabberd"], ["restbroker.servers.ejabberd.catalogue"]),
        ([*told, "--queue", "openfire-rest"], ["restbroker.servers.openfire.rest.catalogue"]),
        (["dead"], []),
    ]
    for words, expected in rows:
        assert [name for name in loaded(words, place) if name.endswith(".catalogue")] == expected, words


def test_what_serves_others_is_not_read_to_push_or_show_jobs_and_what_is_wrong_there_is_told_by_check(
    place: Path, shell: Shell
) -> None:
    wrong = {"Events": {"Listen": 1}, "Roster": "x", "Stats": True, "StatsUser": "ann", "StatsPassFile": "none"}
    path = place / "env.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **wrong}))
    for words in (["enqueue", "status"], ["dead"]):
        assert not {"restbroker.config.events", "restbroker.config.roster"} & loaded(words, place)
    told = shell("check").stdout
    assert all(name in told for name in ("Events.Listen", "Roster", "StatsPassFile"))
    for words, name in (
        (["events", "tail", "--once"], "Events.Listen"),
        (["roster", "show", "ann"], "Roster"),
        (["health"], "StatsPassFile"),
    ):
        done = shell(*words)
        assert (done.returncode, name in done.stderr) == (2, True)
    path.write_text(path.read_text().replace("Events", "Evnts"))
    assert "Evnts" in shell("dead").stderr
