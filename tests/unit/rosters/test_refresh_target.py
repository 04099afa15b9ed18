"""Which target has Prosody refresh changed rosters, and what its jobs are."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.core import Config
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.rosters.refresh_target import RefreshTarget
from restbroker.servers import registry


def entry(queue: str, **options: Any) -> dict[str, Any]:
    url = "http://127.0.0.1:5280/roster_admin"
    return {"Kind": "prosody-roster", "URL": url, "Domain": "example.org", "Queues": [queue], "Options": options}


def configured(directory: Path, **keys: Any) -> Config:
    targets = {"writes": entry("w", WritesOnly=True), "one": entry("first"), "two": entry("second")}
    file = directory / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": targets, **keys}))
    return load(file, {}, {}, registry.kinds()).config


def chosen(config: Config) -> str | None:
    found = RefreshTarget.from_config(config)
    return None if found is None else found.target.name


def test_without_the_section_it_is_the_first_that_can(tmp_path: Path) -> None:
    assert chosen(configured(tmp_path)) == "one"
    assert chosen(configured(tmp_path, Targets={"writes": entry("w", WritesOnly=True)})) is None


def test_a_target_that_only_writes_cannot_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WritesOnly"):
        configured(tmp_path, Roster={"Target": "writes"})


def test_each_user_gets_a_job_with_the_first_token_that_may(tmp_path: Path) -> None:
    tokens = {
        "app": {"Secret": "a", "Allow": ["get_*"]},
        "abroad": {"Secret": "b", "Hosts": ["example.net"]},
        "here": {"Secret": "c", "Hosts": ["example.org"]},
    }
    found = RefreshTarget.from_config(configured(tmp_path, Token=None, Tokens=tokens))
    assert found is not None
    jobs = {user: json.loads(raw) for user, raw in found.jobs(["john", "aaron"]).payloads.items()}
    assert jobs.keys() == {"john", "aaron"}
    for user, job in jobs.items():
        assert job["args"] == ["refresh", {"users": [user]}, "c"]
        assert (job["queue"], job["retry"], len(job["jid"])) == ("first", True, 24)
    assert jobs["john"]["jid"] != jobs["aaron"]["jid"]


def test_a_token_must_allow_a_refresh(tmp_path: Path) -> None:
    config = configured(tmp_path, Token=None, Tokens={"app": {"Secret": "s", "Allow": ["get_*"]}})
    with pytest.raises(ConfigError, match="No token allows the command refresh"):
        RefreshTarget.from_config(config)
