"""What a target of kind `prosody-roster` is, as it comes from a configuration."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.core import Loaded
from restbroker.config.load import load
from restbroker.connectors import registry
from restbroker.connectors.prosody_roster.options import Options
from restbroker.errors import ConfigError


def configured(directory: Path, options: dict[str, Any] | None = None, **members: Any) -> Loaded:
    entry = {
        "Kind": "prosody-roster",
        "URL": "http://127.0.0.1:5280/roster_admin",
        "Domain": "example.org",
        "Queues": ["rosters"],
        **members,
    }
    entry |= {} if options is None else {"Options": options}
    file = directory / "env.json"
    file.write_text(json.dumps({"Token": "t", "Targets": {"rosters": entry}}))
    return load(file, {}, {}, registry.kinds())


def test_without_options_it_gathers_for_a_fifth_of_a_second_and_waits_for_many_at_once(tmp_path: Path) -> None:
    (target,) = configured(tmp_path).config.targets
    assert target.options == Options(debounce_s=0.2, max_wait_s=1.0, batch_size=50, writes_only=False)
    assert (target.concurrency, target.timeout_s, target.host_header) == (200, 5.0, "example.org")
    assert not target.is_local


def test_what_the_target_says_comes_before_the_defaults_of_its_kind(tmp_path: Path) -> None:
    (target,) = configured(tmp_path, Concurrency=20, RequestTimeout="10s").config.targets
    assert (target.concurrency, target.timeout_s) == (20, 10.0)


def test_other_kinds_keep_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"RestURL": "http://127.0.0.1:1", "RestQueue": "rest", "Token": "x"}))
    (target,) = load(file, {}, {}, registry.kinds()).config.targets
    assert (target.concurrency, target.timeout_s) == (20, 10.0)


def test_one_that_only_writes_needs_no_server(tmp_path: Path) -> None:
    (target,) = configured(tmp_path, {"WritesOnly": True}).config.targets
    assert target.is_local


@pytest.mark.parametrize("options", [{"BatchSize": 51}, {"BatchSize": 0}, {"Debounce": "2s", "MaxWait": "1s"}])
def test_what_prosody_or_reason_does_not_take_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        configured(tmp_path, options)


def test_a_missing_domain_is_told(tmp_path: Path) -> None:
    assert [note.code for note in configured(tmp_path, Domain=None, HostHeader="a.b").notes] == ["NoDomain"]
