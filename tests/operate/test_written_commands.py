"""The commands of a file at an ejabberd that is played, as recorded: what `check` and a running process say of them."""

import json
import signal
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from tests.support import process
from tests.support.player import Exchange, Player, recorded
from tests.support.process import run_here
from tests.support.wait import until

OLD: Final = {"name": "ops", "service": "c.localhost", "jid": "bot@localhost", "affiliation": "member"}
NEW: Final = {"room": "ops", "service": "c.localhost", "user": "bot", "host": "localhost", "affiliation": "member"}


def exchanges(version: str) -> list[Exchange]:
    found = recorded(f"ejabberd/{version}/check-admin", f"ejabberd/{version}/check-elsewhere")
    return [attrs.evolve(exchange, headers={}) for exchange in found]


def write(folder: Path, redis_url: str, server: Player, arguments: dict[str, Any]) -> None:
    auth = {"Basic": {"User": "admin@localhost", "Pass": "test"}}
    target = {"Kind": "ejabberd", "URL": f"{server.url}/api", "Domain": "localhost", "Auth": auth, "Queues": ["rest"]}
    command = {"Cron": "@yearly", "Command": "set_room_affiliation", "Arguments": arguments}
    document = {
        "RedisURL": redis_url,
        "Token": "a-right-long-token",
        "Targets": {"t": target},
        "Periodic": {"p": command},
    }
    (folder / "env.json").write_text(json.dumps(document))


def told(folder: Path, *words: str) -> list[str]:
    """What `check` or `stats --problems` says of unfit commands, each thing once."""
    findings = json.loads(run_here([*words, "--json"], directory=folder).stdout)["findings"]
    return [f"{one['level']} {one['message']}" for one in findings if one["code"] == "CommandUnfit"]


@pytest.mark.slow  # a process that starts, and notices that its server was another one's
def test_a_row_comes_and_goes_with_the_version_and_the_file(tmp_path: Path, redis_url: str) -> None:
    def rows() -> list[str]:
        return told(tmp_path, "stats", "--problems")

    with Player(exchanges("24.12")) as server:
        write(tmp_path, redis_url, server, OLD)
        (before,) = told(tmp_path, "check")
        assert before.startswith("problem Periodic.p: set_room_affiliation has no argument 'jid'; it takes room, ")
        with process.started(["run"], directory=tmp_path) as running:
            assert until(rows, "the row of the newer version") == [before] == told(tmp_path, "check")

            server.stop()
            assert run_here(["enqueue", "status"], directory=tmp_path).returncode == 0
            running.wait_for(r"target\.down target=t")
            server.exchanges = exchanges("23.01")
            server.start()
            running.wait_for(r"target\.found target=t version=23\.01")
            until(lambda: not rows(), "the row is gone")
            assert told(tmp_path, "check") == []

            write(tmp_path, redis_url, server, NEW)
            (after,) = told(tmp_path, "check")
            assert "has no argument 'host'; it takes name, service, jid, affiliation. " in after
            assert rows() == [], "the process has not read it yet"
            running.signal(signal.SIGHUP)
            assert until(rows, "the row of the older version") == [after]
