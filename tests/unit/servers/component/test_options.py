"""What a source that is a component may be told, and what is refused before anything connects."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.config.events import EventSource
from restbroker.config.load import load
from restbroker.errors import ConfigError
from restbroker.events import registry as sources
from restbroker.servers import registry as targets
from restbroker.servers.component.options import TAKES, Options
from tests.support.rows import rows

OPTIONS: Final[dict[str, Any]] = {"Name": "Events.example.org", "Hosts": ["example.org"], "Pass": "secret"}


def source_of(place: Path, options: dict[str, Any] | None = None, **more: Any) -> EventSource:
    """The source with these options; `more`: its other keys."""
    given = {"Kind": "ejabberd-component", "Queue": "xmpp", "Class": "Event", "Options": OPTIONS | (options or {})}
    document = {
        "Token": "t",
        "Targets": {
            "one": {"Kind": "ejabberd", "URL": "http://127.0.0.1:5281/api", "Queues": ["rest"]},
            "two": {"Kind": "prosody-rest", "URL": "http://127.0.0.1:5280/rest", "Queues": ["web"]},
        },
        "Events": {"Sources": {"a": given | more}},
    }
    (place / "env.json").write_text(json.dumps(document))
    loaded = load(place / "env.json", {}, {}, targets.kinds(), sources.kinds())
    assert loaded.config.events is not None
    return loaded.config.events.sources[0]


def test_a_source_has_its_defaults_and_names_as_the_server_folds_them(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"Rooms": ["Team@conference.example.org"]})
    options = source.options
    assert isinstance(options, Options)
    assert (options.name, options.hosts, options.rooms) == (
        "events.example.org",
        ("example.org",),
        ("team@conference.example.org",),
    )
    assert (options.address, options.takes, options.lease_s) == (("127.0.0.1", 5347), TAKES, None)
    assert (options.max_unread_s, options.limit_bytes) == (30.0, 1024 * 1024)
    # Copies of one stanza count as one, in any case; what is dropped as our own needs a target.
    assert (source.window_s, source.own_s, source.target, source.secrets) == (60.0, None, None, (options.password,))


def test_a_source_with_a_target_drops_what_that_sends(tmp_path: Path) -> None:
    source = source_of(tmp_path, {"Target": "one"})
    assert source.target is not None
    assert (source.target.name, source.own_s) == ("one", 60.0)
    assert source_of(tmp_path, {"Target": "one"}, DropOwn="5s").own_s == 5.0


@rows(
    ("change", "problem"),
    [
        ({"Name": ""}, "Options.Name: is missing or empty"),
        ({"Hosts": []}, "Options.Hosts: is missing or empty"),
        ({"Pass": ""}, "Options.Pass: is missing or empty"),
        ({"Name": "example.org"}, "Options.Name: .* is also one of Hosts"),
        ({"Name": "events.example.com"}, "Options.Name: .* is a subdomain of none of Hosts: .* in DNS; .* ForeignName"),
        ({"Name": "badexample.org"}, "Options.Name: .* is a subdomain of none of Hosts"),
        ({"Address": "10.0.0.1:5347"}, "Options.TLS: is needed beyond loopback"),
        ({"Address": "xmpp.example.org:5347"}, "Options.TLS: is needed beyond loopback"),
        ({"CAFile": "ca.pem"}, "Options.CAFile: .*"),
        ({"Lease": "10ms"}, "Options.Lease: expected at least 1 s"),
        ({"MaxStanza": 100}, "Options.MaxStanza: expected a whole number from 65536"),
        ({"Take": ["iq"]}, "Options.Take.*: expected one of"),
        ({"Rooms": ["conference.example.org"]}, "Options.Rooms.*: expected a room"),
        ({"Target": "two"}, "Options.Target: expected a target of the kind ejabberd"),
        ({"Target": "three"}, "Options.Target: .* there is no target of that name"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        source_of(tmp_path, change)


@pytest.mark.promise
def test_a_foreign_name_and_another_machine_are_taken_if_they_are_meant(tmp_path: Path) -> None:
    options = source_of(tmp_path, {"Name": "events.example.com", "ForeignName": True}).options
    assert isinstance(options, Options)
    assert options.foreign_name
    options = source_of(tmp_path, {"Address": "xmpp.example.org:5347", "TLS": True}).options
    assert isinstance(options, Options)
    assert options.is_tls


PROSODY: Final = {"Name": "push.example.net", "Hosts": ["Example.org"], "Pass": "secret"}


def test_of_prosody_one_process_takes_notifications(tmp_path: Path) -> None:
    source = source_of(tmp_path, Kind="prosody-component", Options=PROSODY)
    options = source.options
    assert isinstance(options, Options)
    assert (options.server.name, options.takes, options.lease_s) == ("Prosody", ("push",), 15.0)
    assert (options.name, options.hosts, source.secrets) == ("push.example.net", ("example.org",), (options.password,))
    chosen = source_of(tmp_path, Kind="prosody-component", Options=PROSODY | {"Take": ["push"], "Lease": "5s"}).options
    assert isinstance(chosen, Options)
    assert (chosen.takes, chosen.lease_s) == (("push",), 5.0)


@rows(
    ("change", "problem"),
    [
        ({"Take": ["message", "push"]}, r'Options.Take\[0\]: expected one of "push"'),
        ({"Rooms": ["team@conference.example.org"]}, "Rooms"),
        ({"Target": "one"}, "Target"),
        ({"ForeignName": True}, "ForeignName"),
        ({"Hosts": []}, "Options.Hosts: is missing or empty"),
    ],
)
def test_what_prosody_lacks_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        source_of(tmp_path, Kind="prosody-component", Options=PROSODY | change)


def test_dropping_our_own_messages_needs_to_know_who_sends_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DropOwn: has no effect without a Target"):
        source_of(tmp_path, DropOwn="5s")
