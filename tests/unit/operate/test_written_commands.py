"""The commands of a file, read for the version of their server: which are unfit there, and what is told of them."""

import json
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from restbroker.config.core import Config, LoadedConfig
from restbroker.console.load_config import load_with_notices
from restbroker.operate.problems import problems
from restbroker.operate.system import PoolState, Snapshot
from restbroker.operate.written_commands import unfit_commands
from restbroker.store.identities import ProcessInfo, Registration

EJABBERD: Final = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api"}
OLD: Final = {"name": "ops", "service": "c.example.org", "jid": "bot@example.org", "affiliation": "member"}
NEW: Final = {"room": "ops", "service": "c.example.org", "user": "bot", "host": "example.org", "affiliation": "none"}
ROOM: Final = "set_room_affiliation"
MODULES: Final = "quux_of_mine"
"""A command of a module that nobody knows."""
KINDS: Final[dict[str, dict[str, Any]]] = {
    "account.listUsers": {"Kind": "mongooseim"},
    "get_vcard": {"Kind": "openfire-rest"},
    "disable_user": {"Kind": "prosody-rest", "Options": {"AdminURL": "http://127.0.0.1:1/admin", "AdminToken": "a"}},
}


def loaded(folder: Path, command: str, arguments: dict[str, Any]) -> LoadedConfig:
    """A file with the command in `Periodic`, with a template in a source, and without one in a route of it."""
    source = {"Kind": "webhook", "Path": "/p", "Target": "t", "Command": command}
    filled = {**arguments, [*arguments][-1]: "{type}"}
    document = {
        "Token": "a-right-long-token",
        "Targets": {
            "t": {"Queues": ["t"], **EJABBERD, **KINDS.get(command, {})},
            "other": {"Queues": ["o"], **EJABBERD},
        },
        "Periodic": {"often": {"Cron": "@hourly", "Command": command, "Arguments": arguments, "Target": "t"}},
        "Events": {"Sources": {"s": {**source, "Arguments": filled, "Routes": [{}, {"Arguments": arguments}]}}},
    }
    if command == MODULES:  # an event becomes no such one
        del document["Events"]
    (folder / "env.json").write_text(json.dumps(document))
    return load_with_notices(folder / "env.json")


@pytest.mark.parametrize(
    ("command", "arguments", "version", "why"),
    [
        (ROOM, OLD, "23.01", None),
        (ROOM, OLD, "24.12", "set_room_affiliation has no argument 'jid'; it takes room, service, user, host, affil"),
        (ROOM, OLD, "26.07-1", "affiliation. This is how ejabberd 26.07 takes it."),
        (ROOM, NEW, "24.12-3+deb13u2", None),
        (
            ROOM,
            NEW,
            "23.01",
            "has no argument 'host'; it takes name, service, jid, affiliation. This is how ejabberd 2",
        ),
        (f"{ROOM}/v1", OLD, "24.12", None),
        (f"{ROOM}/v1", OLD, "23.01", "has no command set_room_affiliation/v1. ejabberd 23.01 knows no versions of its"),
        (ROOM, OLD, None, None),
        (ROOM, OLD, "25.08", None),
        (MODULES, {"a": 1}, "24.12", None),
        ("get_ban_details", {"host": "example.org", "user": "ann"}, "23.01", "ejabberd 24.12 has it; this one is 23"),
        ("account.listUsers", {"domain": "example.org", "limit": 5}, "6.8.0", None),
        (
            "account.listUsers",
            {"domain": "example.org", "limit": 5},
            "6.2.1",
            "'limit'; it takes domain. This is how m",
        ),
        ("get_vcard", {"username": "ann"}, "1.3.10", "The target t has no command get_vcard. It came with plugin 1.1"),
        ("disable_user", {"user": "ann"}, "0.12.3", "It needs Prosody 13; this one is 0.12.3."),
    ],
)
def test_the_servers_version_decides(
    tmp_path: Path, command: str, arguments: dict[str, Any], version: str | None, why: str | None
) -> None:
    config = loaded(tmp_path, command, arguments).config
    target, other = config.targets
    found = unfit_commands(config, target, version)
    assert [*found] == ([] if why is None else ["Periodic.often", "Events.Sources.s", "Events.Sources.s.Routes[1]"])
    assert all(why in str(said) for said in found.values() if why)
    assert "bot@" not in repr(found), "no value is shown"
    assert unfit_commands(config, other, version) == {}


def test_a_command_outside_the_catalogue_is_a_note(tmp_path: Path) -> None:
    (note,) = [note for note in loaded(tmp_path, MODULES, {"a": 1}).notes if note.code == "CommandUnknown"]
    assert note.message == "Periodic.often has quux_of_mine, which is no known command of ejabberd."


@pytest.mark.parametrize(
    ("pools", "told"),
    [
        ([("24.12", "Periodic.p"), ("24.12", "Periodic.p")], ["Periodic.p: No. That."]),
        ([("24.12", "Periodic.p"), (None, None)], ["Periodic.p: No. That."]),
        ([("24.12", "Periodic.p"), ("23.01", None)], []),
        ([("24.12", "Periodic.p", {"finishing": True}), ("24.12", None)], []),
        ([("24.12", "Periodic.p", {"heartbeat_age_s": 16.0}), ("23.01", "Periodic.q")], ["Periodic.q: No. That."]),
    ],
)
def test_each_is_one_row_while_the_version_is_known(pools: list[Any], told: list[str]) -> None:
    info, seen, said = ProcessInfo(7, "node", "boot", "ns", 1, "t"), [], {}
    for number, (version, place, *changed) in enumerate(pools):
        fields = {"heartbeat_age_s": 1.0, "dying": False, "in_progress": 0, "server_version": version, "state": "up"}
        seen.append(PoolState(f"node:{number}:x", f"node:{number}", "t", ("t",), **{**fields, **dict(*changed)}))
        unfit = {} if place is None else {place: "No. That."}
        said[f"node:{number}:x"] = Registration(info, ("t",), 1, orjson.dumps({"unfit_commands": unfit}))
    found = problems(Snapshot(targets=tuple(seen), registrations=said), Config(), (), 0.0)
    rows = [row for row in found if row.code == "CommandUnfit"]
    assert [row.text for row in rows] == told
    assert all((row.finding.level, row.finding.area) == ("problem", "t") for row in rows)
