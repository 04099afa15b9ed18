"""What `restbroker config diff` says of two configurations: what differs, what of it is shown, and when it counts."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from restbroker.app.reload import AT_START, require_reloadable, takes_effect, warnings_of
from restbroker.config.diff import differences
from restbroker.config.load import CollectedKeys, collect
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.job.json_types import Json
from restbroker.servers import registry
from tests.support.process import run_here
from tests.support.whole_config import SECRET, whole
from tests.unit.config.conftest import Write

Compare = Callable[[Mapping[str, Json], Mapping[str, Json]], dict[str, tuple[Json, Json]]]
PLAIN: Mapping[str, Json] = {"RestURL": "http://127.0.0.1:1/api", "RestQueue": "rest", "Token": "token-of-old"}
TARGET: Mapping[str, Json] = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["a"]}
ROUTES: Sequence[Json] = [{"Queue": "q", "Class": "C"}, {"Queue": "r", "Class": "C"}]
SOURCE: Mapping[str, Json] = {"Kind": "webhook", "Path": "/e", "Queue": "e", "Class": "E", "Secret": SECRET}


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compares two documents, whose files stand in one folder."""

    def collected(name: str, document: Mapping[str, Json]) -> CollectedKeys:
        (tmp_path / name).write_text(json.dumps(document))
        return collect(tmp_path / name, {}, {})

    kinds = {"targets": registry.kinds(), "sources": sources.kinds()}
    return lambda old, new: differences(collected("old.json", old), collected("new.json", new), kinds)


def test_ways_to_write_the_same_are_no_difference(compare: Compare) -> None:
    old = {**PLAIN, "Concurreny": 5, "RequestTimeout": "10s", "Targets": {"a": {**TARGET, "RateLimit": "60/min"}}}
    target = {**{name.lower(): value for name, value in TARGET.items()}, "RateLimit": {"Rate": "1/s"}, "TLS": {}}
    new = {**PLAIN, "concurrency": 5, "REQUESTTIMEOUT": 10, "Stats": False, "_note": 1, "Targets": {"a": target}}
    assert compare(old, new) == {}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({}, {"History": "1d"}, {"History": (None, "1d")}),
        ({"Roster": {}}, {}, {"Roster": ({}, None)}),
        ({}, {"Roster": {"Serve": True}}, {"Roster": (None, {})}),
        ({"Slots": {"a": 1}}, {"Slots": {"a": 2}}, {"Slots": ({"a": 1}, {"a": 2})}),
        (
            {"Targets": {"a": TARGET}},
            {"Targets": {"b": TARGET}},
            {
                **{f"Targets.a.{name}": (value, None) for name, value in TARGET.items()},
                **{f"Targets.b.{name}": (None, value) for name, value in TARGET.items()},
            },
        ),
        (
            {"Targets": {"a": {**TARGET, "Options": {"ApiVersion": 1}}}},
            {"Targets": {"a": {**TARGET, "Kind": "mongooseim", "Options": {"Schema": "user"}}}},
            {
                "Targets.a.Kind": ("ejabberd", "mongooseim"),
                "Targets.a.Options.ApiVersion": (1, None),
                "Targets.a.Options.Schema": (None, "user"),
            },
        ),
        (
            {"Events": {"Sources": {"s": {**SOURCE, "Routes": ROUTES}}}},
            {"Events": {"Sources": {"s": {**SOURCE, "Routes": ROUTES[1:]}}}},
            {
                "Events.Sources.s.Routes[0].Queue": ("q", "r"),
                "Events.Sources.s.Routes[1].Queue": ("r", None),
                "Events.Sources.s.Routes[1].Class": ("C", None),
            },
        ),
    ],
)
def test_each_key_that_differs_is_named(compare: Compare, old: Any, new: Any, found: Mapping[str, object]) -> None:
    assert compare({**PLAIN, **old}, {**PLAIN, **new}) == found


def test_of_secrets_only_digests_of_this_run_are_shown(compare: Compare, tmp_path: Path) -> None:
    """Equal ones are equal in all of one output, and nobody can try words on a log of it."""
    document = whole(tmp_path)
    other = json.loads(json.dumps(document).replace(SECRET, f"{SECRET}-2"))
    first, second = compare(document, other), compare(document, other)
    assert len(first) > 10
    assert SECRET not in repr(first)
    secrets = {place: pair for place, pair in first.items() if place.endswith((".Pass", ".Secret"))}
    assert len({*secrets.values()}) < len(secrets)
    assert all(old != new for old, new in secrets.values())
    assert all(second[place] != pair for place, pair in secrets.items())


def test_a_file_is_compared_by_its_name_alone(compare: Compare) -> None:
    plain = {name: value for name, value in PLAIN.items() if name != "Token"}
    old, new = {**plain, "TokenFile": "secret"}, {**plain, "TokenFile": "other"}
    assert (compare(old, old), compare(old, new)) == ({}, {"TokenFile": ("secret", "other")})


CHANGES: Mapping[str, Json] = {
    "Stats": True,
    "StatsBind": "127.0.0.2",
    "StatsPort": 1,
    "StatsUser": "ann",
    "MetricsToken": "m" * 16,
    "StatsHosts": ["a"],
    "StatsPrefix": "/a",
    "StatsReadOnly": True,
    "HealthBind": "127.0.0.1:1",
    "Roster": {},
    "Events": {"Sources": {"s": SOURCE}},
    "Tell": {},
    "Processes": 2,
    "RedisDatabase": 1,
    "RedisNamespace": "a",
    "LogLevel": "debug",
    "Concurrency": 3,
    "ShutdownTimeout": 30,
    "ResponseQueue": "a",
    "ShowBodies": True,
}


@pytest.mark.parametrize("key", CHANGES)
def test_when_a_change_counts_is_what_a_reload_does(write: Write, key: str) -> None:
    more: Mapping[str, Json] = {"StatsPass": "p" * 12} if key == "StatsUser" else {}
    old, new = write(PLAIN).config, write({**PLAIN, key: CHANGES[key], **more})
    try:
        require_reloadable(old, old, new.config)
        late = [one.message for one in warnings_of(old, new) if one.code == "NeedsRestart"]
        done = "after a restart" if late else "at a reload"
    except ConfigError:
        done = "after a restart; until then a reload refuses the whole file"
    assert {takes_effect(place) for place in (key, f"{key}File", f"{key}.a.B")} == {done}


def test_each_key_of_a_start_is_tried_above() -> None:
    assert {key for keys in AT_START.values() for key in keys.split(" or ")} - CHANGES.keys() == {"StatsPass"}


def test_the_exit_code_tells_whether_anything_changes(tmp_path: Path) -> None:
    plain = {**PLAIN, "RestUser": "a@b", "RestPassFile": "bad"}
    for name, document in {"old": plain, "new": {**plain, "StatsPort": 1, "Token": "t"}, "bad": {}}.items():
        (tmp_path / name).write_text(json.dumps(document))
    old, new, bad = (str(tmp_path / name) for name in ("old", "new", "bad"))
    pipes = [os.pipe(), os.pipe()]
    for _, end in pipes:
        os.write(end, (tmp_path / "new").read_bytes())
        os.close(end)
    for words, code, said in (
        ([old, old], 0, "Nothing changes."),
        ([old, new], 1, "StatsPort: the change takes effect after a restart."),
        (["--config", new, old], 1, "StatsPort: the change takes effect after a restart."),
        ([bad, new], 2, f"{bad} cannot be used"),
        ([old, bad], 2, f"{bad} cannot be used"),
        ([old, new, new], 2, "Too many files"),
        # Its files begin at the old one, or in the folder in use; and it is read once.
        ([old, f"/dev/fd/{pipes[0][0]}"], 1, "StatsPort: the change takes effect after a restart."),
        ([f"/dev/fd/{pipes[1][0]}"] * 2, 2, "The secret file bad cannot be read"),
    ):
        done = run_here(["config", "diff", *words])
        assert (done.returncode, said in done.stderr) == (code, True), words
    set_by = run_here(["config", "diff", "--json", old, new], environ={"RESTBROKER_STATSPORT": "5"})
    assert [row["key"] for row in json.loads(set_by.stdout)["changes"]] == ["Token"]
    assert "RESTBROKER_STATSPORT sets StatsPort, in both." in set_by.stderr
