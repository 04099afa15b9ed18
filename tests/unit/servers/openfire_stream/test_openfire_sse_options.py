"""What a source of Openfire's streams needs is judged before anything is asked: a target of that server, passwords."""

import json
from pathlib import Path
from typing import Any

import pytest

from restbroker.config.core import LoadedConfig
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.servers import registry as targets
from restbroker.servers.openfire.stream.options import Options
from tests.support.rows import rows

OPTIONS = {"Target": "chat", "Users": ["Ann", "bob"], "PasswordsFile": "passwords"}
CHAT = {
    "Kind": "openfire-chat",
    "URL": "http://127.0.0.1:7070",
    "Queues": ["chat"],
    "Auth": {"Basic": {"User": "admin", "Pass": "x"}},
}


def loaded(place: Path, options: dict[str, Any], beside: dict[str, Any] | None = None, **more: Any) -> LoadedConfig:
    """The configuration with such a source, and another one with these options."""
    (place / "passwords").write_text("ann:p\nbob:q:r\n# nobody\n\n")
    (place / "passwords").chmod(0o600)
    source = {"Kind": "openfire-sse", "Queue": "q", "Class": "C", "Options": options}
    other = {"Kind": "ejabberd", "URL": "http://127.0.0.1:1/api", "Queues": ["web"]}
    both = {"o": {**source, **more}} | ({} if beside is None else {"p": {**source, "Options": beside}})
    document = {"Token": "t", "Targets": {"chat": CHAT, "web": other}, "Events": {"Sources": both}}
    (place / "env.json").write_text(json.dumps(document))
    return load(place / "env.json", {}, {}, targets.kinds(), sources.kinds())


def test_a_source_has_its_target_and_names_as_the_server_folds_them(tmp_path: Path) -> None:
    found = loaded(tmp_path, OPTIONS | {"Users": ["Ann"], "Askers": ["BOB"]}).config
    assert found.events is not None
    (source,) = found.events.sources
    assert source.target is found.targets[0]
    assert isinstance(source.options, Options)
    # `check` looks whether others can read it.
    assert source.secrets == (source.options.passwords,)
    assert (source.options.users, source.options.askers) == (("ann",), ("bob",))
    assert (source.options.silence_s, source.options.lease_s) == (25.0, 15.0)


@rows(
    ("change", "problem"),
    [
        ({"Target": "web"}, "Options.Target: expected .* openfire-chat, found .*; that one is of the kind ejabberd"),
        ({"Askers": ["ANN"]}, "Options.Users: names a user twice"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    options = {name: value for name, value in (OPTIONS | change).items() if value is not None}
    with pytest.raises(ConfigError, match=problem):
        loaded(tmp_path, options)


def test_a_path_or_a_secret_is_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fetches events itself"):
        loaded(tmp_path, OPTIONS, Path="/events/o")


def test_of_a_user_one_source_is_told(tmp_path: Path) -> None:
    apart = loaded(tmp_path, OPTIONS | {"Users": ["ann"]}, OPTIONS | {"Users": ["bob"]}).config
    assert apart.events is not None
    assert [source.alone for source in apart.events.sources] == [("ann",), ("bob",)]
    with pytest.raises(ConfigError, match=r"p.Options.Users: 'ann' is also one of .*Sources.o"):
        loaded(tmp_path, OPTIONS | {"Users": ["ann"]}, OPTIONS | {"Users": ["bob", "Ann"]})
