"""What the section `Roster` is read as."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from restbroker.app.reload import warnings_of
from restbroker.config.core import LoadedConfig
from restbroker.config.load import load
from restbroker.config.roster import Roster
from restbroker.errors import ConfigError
from restbroker.job.json_types import Json
from restbroker.operate.check.config import check_config
from tests.support.kinds import KINDS, SOURCES, Other

SERVED: dict[str, Json] = {"RestURL": "http://127.0.0.1/api", "RestQueue": "rest", "Token": "t0ken"}
REFRESH: dict[str, Json] = {"Kind": "prosody-roster", "URL": "http://127.0.0.1:5280/roster_admin", "Queues": ["r"]}
Write = Callable[..., LoadedConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Loads a configuration with this section, and with a target that refreshes."""

    def run(roster: Json, environ: Mapping[str, str] | None = None, **keys: Json) -> LoadedConfig:
        path = tmp_path / "env.json"
        targets: dict[str, Json] = {"rosters": {**REFRESH, "Domain": "Example.org"}}
        path.write_text(json.dumps({**SERVED, "JabberDomain": "a.org", "Targets": targets, "Roster": roster, **keys}))
        return load(path, environ or {}, {}, {**KINDS, "prosody-roster": Other}, SOURCES)

    return run


def section(loaded: LoadedConfig) -> Roster:
    assert loaded.config.roster is not None
    return loaded.config.roster


def test_a_roster_is_answered_before_any_refresh_gives_up(write: Write) -> None:
    assert section(write({})).longest_s == 4.0
    targets: dict[str, Json] = {"rosters": {**REFRESH, "RequestTimeout": "2s"}}
    assert section(write({}, Targets=targets)).longest_s == 1.6


def test_a_path_that_names_no_user_is_refused(write: Write) -> None:
    assert section(write({"Path": "/a/b/"})).path == "/a/b/{user}"
    for path in ("/", "/r?user={user}", "/r/{user}/{user}", "/r/x{user}"):
        with pytest.raises(ConfigError, match=r'Roster.Path: expected a path such as "/roster/\{user\}"'):
            write({"Path": path})


@pytest.mark.promise("Security: who can reach the ports", "to read rosters, or to learn the key to them")
def test_an_address_that_others_reach_needs_a_login_and_is_noted_with_one(write: Write) -> None:
    for host in ("192.0.2.1", "[::]", "xmpp.example.org"):
        with pytest.raises(ConfigError, match=r"Roster.Listen: \S+ is open to others, and rosters have no login"):
            write({"Listen": f"{host}:8082", "Serve": False})
        loaded = write({"Listen": f"{host}:8082", "Auth": {"Key": {"Value": "4711-key"}}})
        levels = {finding.code: finding.level for finding in check_config(loaded)}
        assert levels["PlainRosters"] == "warning", host


def test_a_login_that_cannot_be_used_is_refused_by_its_place_without_the_secret(write: Write) -> None:
    rows: list[tuple[Json, str]] = [
        ({}, "Roster.Auth: is empty; give exactly one of Basic and Key"),
        ({"Key": {"Value": "4711&b"}}, "Roster.Auth.Key.Value: must be of letters"),
        ({"Basic": {"User": "a", "Pass": "4711"}, "Key": {"Value": "k"}}, "say the same thing in two ways"),
        ("s3cret-4711", "Roster.Auth: expected an object of Basic, Key, found a string."),
    ]
    for auth, problem in rows:
        with pytest.raises(ConfigError) as caught:
            write({"Auth": auth})
        assert problem in caught.value.message, (auth, problem)
        assert "4711" not in caught.value.message, auth


def test_a_target_that_cannot_refresh_is_refused_and_one_that_is_not_named_is_noted(write: Write) -> None:
    with pytest.raises(ConfigError, match="'ejabberd' is of kind ejabberd; only prosody-roster refreshes rosters"):
        write({"Target": "ejabberd"})
    (note,) = [note for note in write({}).notes if note.code == "NoRosterTarget"]
    assert note.hint == 'Add "Target": "rosters" to it.'
    assert "NoRosterTarget" not in [note.code for note in write({"Target": "rosters"}).notes]
    assert "NoRosterTarget" not in [note.code for note in write({}, Targets={}).notes]


def test_others_may_not_read_its_secret_file_unnoticed(write: Write, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("4711\n")
    (tmp_path / "key").chmod(0o644)
    found = list(check_config(write({"Auth": {"Key": {"ValueFile": "key"}}})))
    readable = [finding.message for finding in found if finding.code == "WorldReadable"]
    assert any(str(tmp_path / "key") in message for message in readable), readable


def test_a_change_counts_after_a_restart_and_that_is_said(write: Write) -> None:
    before = write({}).config
    *_, warned = warnings_of(before, write({"Listen": "127.0.0.1:1"}))
    assert (warned.code, warned.message) == ("NeedsRestart", "Roster: the change takes effect after a restart.")


EVENTS: dict[str, Json] = {
    "Listen": "127.0.0.1:8082",
    "Sources": {"a": {"Kind": "prosody-rest", "Path": "/a", "Queue": "events", "Class": "Event"}},
}


def test_what_one_process_cannot_listen_on_twice_is_refused_with_both_keys(write: Write) -> None:
    rows: list[tuple[str, Mapping[str, Json], str]] = [
        ("127.0.0.1:8082", {"Events": EVENTS}, "Roster.Listen: 127.0.0.1:8082 is taken by Events.Listen;"),
        ("localhost:8082", {"Events": EVENTS}, "Roster.Listen: localhost:8082 is taken by Events.Listen;"),
        ("127.0.0.1:8080", {"Stats": True}, "Roster.Listen: 127.0.0.1:8080 is taken by StatsPort;"),
        ("[::1]:90", {"HealthBind": "[::]:90"}, "Roster.Listen: [::1]:90 is taken by HealthBind;"),
        ("127.0.0.1:1", {"Events": EVENTS, "HealthBind": "0.0.0.0:8082"}, "Events.Listen: 127.0.0.1:8082 is taken by"),
    ]
    for listen, keys, problem in rows:
        with pytest.raises(ConfigError) as caught:
            write({"Listen": listen}, **keys)
        assert caught.value.message.count(problem) == 1, (listen, keys)
        assert caught.value.message.count("is taken by") == 1, (listen, keys)


def test_ports_that_do_not_meet_are_left_alone(write: Write) -> None:
    write({"Listen": "127.0.0.1:8080"})
    write({"Listen": "127.0.0.2:8082"}, Events=EVENTS)
    write({"Listen": "127.0.0.1:8082", "Serve": False}, Events=EVENTS)
    write({"Listen": "127.0.0.1:0"}, Events={**EVENTS, "Listen": "127.0.0.1:0"}, Stats=True, StatsPort=0)
