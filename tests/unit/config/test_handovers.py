"""Events that become commands of a target: what the file must say, and what each mistake is answered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from restbroker.config.core import Config, LoadedConfig
from restbroker.console.load_config import load_with_notices
from restbroker.errors import ConfigError
from restbroker.job import redact
from restbroker.job.json_types import Json
from restbroker.operate.handovers import CommandJobs
from restbroker.servers import registry
from tests.support.rows import rows
from tests.unit.config.conftest import Refused, Write

COMMANDS: Final = {
    "event": {"Path": "xmpp"},
    "of": {"Path": "{from}", "Body": {"x": "{body?}"}},
    "own": {"Path": "{tea}"},
}
HOOK: Final = {
    "Kind": "http",
    "URL": "https://app.example.org",
    "Queues": ["hook", "low"],
    "Options": {"Commands": COMMANDS},
}
SAFE: Final = {"Secret": "a-secret-of-many-letters", "Allow": ["event"], "Targets": ["hook"], "Signed": True}
POSTED: Final = {"Kind": "webhook", "Path": "/p", "Target": "hook", "Command": "event"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Loads a document as `run` and `check` do, with the commands of targets."""

    def run(document: Mapping[str, Json], environ: Mapping[str, str] | None = None) -> LoadedConfig:
        (tmp_path / "env.json").write_text(json.dumps(document))
        assert environ is None
        return load_with_notices(tmp_path / "env.json")

    return run


def document(source: Any = POSTED, hook: Any = HOOK, listen: str = "127.0.0.1:8081", **tokens: Any) -> dict[str, Any]:
    main = {"RestQueue": "rest", "Token": "t", "Targets": {"hook": hook}}
    return main | {"Tokens": tokens or {"safe": SAFE}, "Events": {"Listen": listen, "Sources": {"src": source}}}


def source_of(loaded: LoadedConfig) -> Any:
    assert loaded.config.events is not None
    return loaded.config.events.sources[0]


def test_an_event_goes_to_the_first_queue_of_the_target(write: Write) -> None:
    loaded = write(document(POSTED | {"Token": "safe", "Expiry": "10m"}))
    source = source_of(loaded)
    assert (source.queue, source.handover.command, source.handover.expire_s) == ("hook", "event", 600.0)
    assert "TokenTooBroad" not in {note.code for note in loaded.notes}


def test_a_member_that_only_other_types_have_is_null(write: Write) -> None:
    hook = HOOK | {"Options": {"Commands": {"event": {"Path": "xmpp", "Body": {"o": "{occ}"}}}}}
    options = {"MapByType": {"a": {"occ": "/occ"}}}
    loaded = write(document(POSTED | {"Options": options}, hook))
    job = CommandJobs(loaded.config)(source_of(loaded).handover, {"type": "b"}, "jid", 1.0)
    assert json.loads(job)["args"][1]["occ"] is None


def test_routes_may_go_elsewhere_or_add_to_the_sources(write: Write) -> None:
    routes = [
        {"Queue": "q", "Class": "C", "Only": {"Types": ["a"]}},
        {"Omit": ["raw"]},
        {"Target": "hook", "Command": "of"},
    ]
    found = source_of(write(document(POSTED | {"Routes": routes}))).routes
    assert [(place.queue, place.handover.command) for place in found] == [("q", ""), ("hook", "event"), ("hook", "of")]


@rows(
    "token",
    [{}, {"Allow": ["*"]}, {"Targets": []}, {"Signed": False}],
)
def test_a_token_that_may_more_is_noted(write: Write, token: dict[str, Any]) -> None:
    loaded = write(document(POSTED | {"Token": "safe"}, safe=SAFE | token) if token else document())
    assert "TokenTooBroad" in {note.code for note in loaded.notes}


@rows(
    ("more", "place", "text"),
    [
        ({"Target": None}, "Target", "is missing or empty"),
        ({"Command": None}, "Command", "is missing or empty"),
        ({"Queue": "q"}, "Queue", "given together with Target"),
        ({"Class": "C"}, "Class", "given together with Target"),
        (
            {"Routes": [{"Queue": "q", "Target": "hook", "Command": "of"}]},
            "Routes[0].Queue",
            "given together with Target",
        ),
        ({"Routes": [{"Queue": "q"}]}, "Routes[0].Class", "is missing or empty"),
        ({"Routes": [{"Class": "C"}]}, "Routes[0].Queue", "is missing or empty"),
        ({"Routes": [{"Queue": "low", "Class": "C"}]}, "Routes[0].Queue", "the target hook serves"),
        ({"Routes": [{"Command": "of"}]}, "Routes[0].Target", "is missing or empty"),
        ({"Routes": [{"Arguments": {"x": 1}, "Queue": "q"}]}, "Routes[0].Queue", "given together with Target"),
        ({"Target": "hok"}, "Target", "expected the name of a target (ejabberd, hook), found"),
        ({"Target": "ejabberd"}, "Arguments", "gets nothing of what is posted but by these templates"),
        ({"Command": "evnt"}, "Command", "did you mean event?"),
        ({"Token": "none"}, "Token", "There is no token of this name"),
        ({"Command": "of", "Token": "safe"}, "Token", "safe"),
        ({"Command": "own"}, "Command", "needs tea, which no event has"),
        ({"Fields": {"host": "x"}}, "Command", "gets a member host"),
        ({"Options": {"Map": {"host": "/host"}}}, "Command", "gets a member host"),
        ({"Names": {"server": "host"}}, "Command", "gets a member host"),
        ({"Token": "safe", "Omit": ["from"], "Command": "of"}, "Token", "safe"),
    ],
)
def test_a_command_that_cannot_be_is_refused(refused: Refused, more: dict[str, Any], place: str, text: str) -> None:
    source = {name: value for name, value in (POSTED | more).items() if value is not None}
    found = refused(document(source))
    assert any(problem.startswith(f"Events.Sources.src.{place}: ") and text in problem for problem in found), found


@rows(
    ("url", "listen"),
    [
        ("http://localhost:8081", "127.0.0.1:8081"),
        ("http://127.0.0.1:8081/x", "0.0.0.0:8081"),
        ("http://events.example.org:8081", "events.example.org:8081"),
    ],
)
def test_a_target_that_is_where_events_come_is_refused(refused: Refused, url: str, listen: str) -> None:
    found = refused(document(POSTED | {"Secret": "a-secret-of-many-letters"}, HOOK | {"URL": url}, listen))
    assert any("so each would come again for ever" in problem for problem in found), found


def test_a_member_of_the_map_is_an_argument(write: Write) -> None:
    config: Config = write(document(POSTED | {"Command": "own", "Options": {"Map": {"tea": "/tea"}}})).config
    assert config.events is not None
    assert [place for place, _, _ in config.events.handovers] == ["Events.Sources.src"]


TOLD: Final = {"from": "alerts@example.org", "to": "ops@example.org", "type": "chat", "subject": "", "body": "{title}"}
TELLER: Final = {
    "Secret": "another-secret-of-many-letters",
    "Allow": ["send_message"],
    "Hosts": ["example.org", "rooms.example.org"],
    "Targets": ["chat"],
    "Signed": True,
}


def to_chat(arguments: Any = TOLD, kind: str = "webhook", **more: Any) -> dict[str, Any]:
    source = {"Kind": kind, "Path": "/p", "Target": "chat", "Command": "send_message", "Arguments": arguments}
    if kind == "webhook":
        source["Options"] = {"Map": {"title": "/title", "room_name": "path:0"}}
    chat = {"Kind": "ejabberd", "URL": "http://127.0.0.1:5280/api", "Queues": ["alerts"]}
    events = {"Listen": "127.0.0.1:8081", "Sources": {"src": source | more}}
    return {"RedisURL": "redis://r", "Targets": {"chat": chat, "hook": HOOK}, "Tokens": {"t": TELLER}, "Events": events}


def job_of(loaded: LoadedConfig, members: Mapping[str, Json], route: int | None = None) -> Any:
    source = source_of(loaded)
    handover = source.handover if route is None else source.routes[route].handover
    return json.loads(CommandJobs(loaded.config)(handover, members, "jid", 1.0))["args"][:2]


def test_what_is_posted_becomes_a_command_of_any_target(write: Write) -> None:
    members = {"title": "Disk full", "from": "admin@example.org", "to": "ann@example.org", "host": "x", "body": "no"}
    loaded = write(to_chat())
    assert job_of(loaded, members) == ["send_message", TOLD | {"body": "Disk full"}]
    assert "TokenTooBroad" not in {note.code for note in loaded.notes}


@rows(
    ("kind", "command", "arguments"),
    [
        ("ejabberd", "send_message/v0", TOLD),
        ("ejabberd", "send_stanza", {"from": "a@a", "to": "b@b", "stanza": "<message><body>{title}</body></message>"}),
        ("mongooseim", "stanza.sendMessage", {"from": "a@a", "to": "b@b", "body": "{title}"}),
        ("prosody-rest", "message", {"to": "b@b", "type": "chat", "body": "{title}"}),
        ("openfire-rest", "broadcast_message", {"body": "{title}"}),
        ("http", "event", {"text": "{title}", "topic": "alerts"}),
    ],
)
def test_a_message_goes_to_every_kind_of_server(
    write: Write, kind: str, command: str, arguments: dict[str, Any]
) -> None:
    target = HOOK if kind == "http" else {"Kind": kind, "URL": "http://127.0.0.1:5280", "Queues": ["alerts"]}
    told = to_chat(arguments, Command=command) | {"Targets": {"chat": target}, "Tokens": {}, "Token": "t"}
    said = job_of(write(told), {"title": "<Disk>"})
    text = "&lt;Disk&gt;" if "stanza" in arguments else "<Disk>"
    assert said == [command, {name: str(value).replace("{title}", text) for name, value in arguments.items()}]


def test_a_route_adds_arguments_to_its_sources(write: Write) -> None:
    routes = [{"Only": {"Types": ["dev"]}, "Arguments": {"to": "dev@example.org"}}, {}]
    loaded = write(to_chat(Routes=routes))
    assert [job_of(loaded, {"title": "t"}, number)[1]["to"] for number in (0, 1)] == ["dev@example.org", TOLD["to"]]


def test_a_sender_may_choose_a_room_of_one_host(write: Write) -> None:
    loaded = write(to_chat(TOLD | {"to": "{room_name}@rooms.example.org"}))
    assert job_of(loaded, {"title": "t", "room_name": "ops"})[1]["to"] == "ops@rooms.example.org"


def test_the_node_of_a_push_event_is_shown_nowhere(write: Write) -> None:
    """It may be all that it takes to wake the phone."""
    hook = HOOK | {"Options": {"Commands": {"wake": {"Body": {"topic": "{node}", "message": "New message"}}}}}
    options = {"Name": "push.example.org", "Hosts": ["example.org"], "Pass": "pass-of-push", "Take": ["push"]}
    source = {"Kind": "ejabberd-component", "Target": "hook", "Command": "wake", "Options": options}
    loaded = write(document(source, hook, safe=SAFE | {"Allow": ["wake"]}))
    fields = json.loads(CommandJobs(loaded.config)(source_of(loaded).handover, {"node": "k3JxQ0yT"}, "jid", 1.0))
    assert fields["args"][:2] == ["wake", {"node": "k3JxQ0yT"}]
    (target,) = (target for target in loaded.config.targets if target.name == "hook")
    spec = registry.catalogue_of(target, None, "wake").commands["wake"]
    shown = redact.job(fields | {"error_message": "no topic k3JxQ0yT"}, spec, show_bodies=True)
    assert "k3JxQ0yT" not in json.dumps(shown)


def test_texts_for_a_target_of_kind_http_are_not_cut(write: Write) -> None:
    handed: dict[str, Any] = {
        "Target": "hook",
        "Command": "event",
        "Arguments": {"text": "{title}", "as_it_is": [None, "{title}"]},
    }
    said = job_of(write(to_chat(**handed) | {"Tokens": {"t": SAFE}}), {"title": "x" * 20_000})
    assert said == ["event", {"text": "x" * 20_000, "as_it_is": [None, "{title}"]}]


@rows(
    ("arguments", "more", "place", "text"),
    [
        ({"to": "{title}"}, {}, "Arguments.to", 'no sender may choose; write it here: "{to}@example.org".'),
        ({"to": "ops@{title}"}, {}, "Arguments.to", "whose host no sender may choose"),
        ({"to": "{title}@"}, {}, "Arguments.to", "whose host no sender may choose"),
        ({"to": "a@{title}@example.org"}, {}, "Arguments.to", "whose host no sender may choose"),
        ({"to": "{title}/a@example.org"}, {}, "Arguments.to", "whose host no sender may choose"),
        ({"from": "a@example.org/{title}"}, {}, "Arguments.from", "whose host no sender may choose"),
        ({"type": "a@{title}"}, {}, "Arguments.type", "whose host no sender may choose"),
        ({"body": "{titel}"}, {}, "Arguments", "need titel, which no event has; events have body, "),
        ({"body": "{title"}, {}, "Arguments.body", "belongs to no {name}"),
        ({"bodi": "x"}, {}, "Arguments", "send_message has no argument 'bodi'; did you mean body?"),
        ({"body": "<b a='{title}'/>"}, {}, "Arguments.body", "has a member within a tag"),
        ({"body": '<b a="x>{title}"/>'}, {}, "Arguments.body", "has a member within a tag"),
        ({"body": "<b><!-- > {title} --></b>"}, {}, "Arguments.body", "has a member within a tag"),
        ({"to": "{title}@evil.example"}, {"Token": "t"}, "Token", "evil.example"),
        ({}, {"kind": "prosody-rest"}, "Target", "expected the name of a target of the kind http (hook), found"),
        ({}, {"kind": "prosody-rest", "Target": "hook", "Command": "event"}, "Arguments", "has no effect"),
        ({}, {"Target": "hok"}, "Target", "expected the name of a target (chat, hook), found"),
        ({}, {"Command": "send_mesage"}, "Command", "did you mean send_message"),
        ({}, {"Command": "my_own_module"}, "Command", "Nothing is known of its arguments"),
        ({}, {"Command": "unregister"}, "Arguments", "unregister has no argument"),
        ({}, {"Arguments": {}}, "Arguments", "is missing or empty; the kind ejabberd gets nothing of what is posted"),
        ({}, {"Options": {"Shape": "slack", "Body": "xml"}}, "Options.Body", "has no effect together with Shape"),
    ],
)
def test_what_a_sender_would_choose_is_refused(
    refused: Refused, arguments: dict[str, Any], more: dict[str, Any], place: str, text: str
) -> None:
    found = refused(to_chat(TOLD | arguments, **more))
    assert any(problem.startswith(f"Events.Sources.src.{place}: ") and text in problem for problem in found), found


def test_no_sender_chooses_a_host_that_an_argument_names(refused: Refused) -> None:
    arguments = {"name": "ops", "service": "{room_name}", "host": "{room_name}"}
    found = refused(to_chat(arguments, Command="create_room"))
    assert any("Arguments.service: names a host, which no sender may choose" in problem for problem in found), found


@pytest.mark.parametrize(
    ("tell", "why"),
    [
        ({"Target": "nope", "Command": "event"}, r"Tell\.Target: There is no such target"),
        ({"Target": "hook", "Command": "own"}, r"Tell\.Command: needs tea, which no event has; events have code, "),
        ({"Target": "hook", "Command": "event"}, r"Tell\.Command: is one of AtMostOnce"),
    ],
)
def test_what_tells_must_be_a_job_that_cannot_die(write: Write, tell: Json, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        write({"Token": "t", "Targets": {"hook": {**HOOK, "AtMostOnce": ["event"]}}, "Tell": tell})
