"""What the catalogue says of MongooseIM's operations, for each kind of login and each version."""

import attrs
import pytest

from restbroker.config.target import Target, Url
from restbroker.connectors.mongooseim.catalogue import for_target, for_version
from restbroker.connectors.mongooseim.options import Options
from restbroker.connectors.mongooseim.schema import Schema, fields_of_input, operations
from restbroker.rules import auth
from restbroker.rules.auth import Wish
from restbroker.rules.command import Command
from restbroker.rules.json_types import Json

ALL = for_version(None)
URL = Url("http", "localhost", 5551, "/api/graphql")


def of(schema: Schema, version: str = "auto", found: str | None = None) -> set[str]:
    target = Target("mim", "mongooseim", URL, ("q",), options=Options(schema, version))
    return set(for_target(target, found).commands)


@pytest.mark.parametrize(
    ("asked", "found", "commands"),
    [
        (None, "6.8.0", 132),
        ("nonsense", "6.8.0", 132),
        ("5.1.0", "6.0.0", 115),
        ("6.0.0", "6.0.0", 115),
        ("6.5.0", "6.2.0", 117),
        ("6.6", "6.6.0", 125),
        ("6.8.0-12-gabc", "6.8.0", 132),
        ("7.0.0", "6.8.0", 132),
    ],
)
def test_a_version_has_what_came_until_then(asked: str | None, found: str, commands: int) -> None:
    catalogue = for_version(asked)
    assert (catalogue.version, len(catalogue.commands)) == (found, commands)


def test_an_argument_that_came_later_is_not_known_before() -> None:
    def arguments(version: str) -> list[str]:
        return [argument.name for argument in for_version(version).commands["account.listUsers"].arguments]

    assert (arguments("6.5.0"), arguments("6.6.0")) == (["domain"], ["domain", "limit", "index"])


def test_who_logs_in_decides_what_there_is() -> None:
    assert "server.stop" in of("admin")
    assert "server.stop" not in of("domain_admin")
    assert "account.registerUser" in of("domain_admin")
    assert "account.unregister" in of("user")
    assert "account.registerUser" not in of("user")
    assert all("graphql" in of(schema) for schema in ("admin", "domain_admin", "user"))


def test_the_configured_version_counts_before_the_one_that_was_found() -> None:
    assert "broadcast.startBroadcast" in of("admin", "6.8.0", "6.0.0")
    assert "broadcast.startBroadcast" not in of("admin", "auto", "6.0.0")


def test_register_user_takes_four_texts_of_which_one_is_secret() -> None:
    spec = ALL.commands["account.registerUser"]
    found = [(a.name, a.type, a.secret, a.optional, a.place) for a in spec.arguments]
    assert found == [
        ("domain", "string", False, False, "host"),
        ("username", "string", False, True, "name"),
        ("password", "string", True, False, None),
    ]
    assert (spec.repeat, spec.result, spec.tags) == ("already_done", "UserPayload", frozenset({"account", "mutation"}))


@pytest.mark.parametrize(
    ("name", "argument", "shape"),
    [
        ("roster.addContact", "groups", ("list", "string")),
        ("roster.addContacts", "contacts", ("list", "object")),
        ("roster.subscribeToAll", "user", ("any", None)),
        ("last.setLast", "timestamp", ("string", None)),
        ("stanza.getLastMessages", "limit", ("integer", None)),
        ("broadcast.deleteInactiveBroadcastsByIds", "ids", ("any", None)),
        ("server.setLoglevel", "level", ("string", None)),
    ],
)
def test_a_command_line_knows_how_to_read_an_argument(name: str, argument: str, shape: tuple[str, str | None]) -> None:
    found = ALL.commands[name].argument(argument)
    assert found is not None
    assert (found.type, found.element) == shape


def test_a_domain_that_must_be_given_is_known_as_host_too() -> None:
    spec = ALL.commands["account.registerUser"]
    assert spec.argument("host") is spec.argument("domain")
    # Without one it is about all domains: that must not become one of them silently.
    assert ALL.commands["session.countSessions"].argument("host") is None


@pytest.mark.parametrize(
    "name", ["stanza.sendMessage", "muc.sendMessageToRoom", "broadcast.startBroadcast", "graphql", "token.requestToken"]
)
def test_what_would_happen_twice_is_unsafe_to_repeat(name: str) -> None:
    assert ALL.commands[name].repeat == "unsafe"


def test_what_only_asks_may_be_asked_again() -> None:
    queries = {name for name, spec in ALL.commands.items() if "query" in spec.tags}
    assert {ALL.commands[name].repeat for name in queries} == {"safe"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("server.stop", {"server"}),
        ("server/stop", {"server"}),
        ("Server.Stop", {"server"}),
        ("server.setLoglevel", {"server"}),
        ("server.joinCluster", {"cluster"}),
        ("server.getCookie", {"code"}),
        ("mnesia.backup", {"files", "database"}),
        ("account.importUsers", {"files"}),
        ("gdpr.retrievePersonalData", {"files"}),
        ("domain.removeDomain", {"server"}),
        ("domain.requestRemoveDomain", {"server"}),
        ("domain.setDomainPassword", {"server"}),
        ("graphql", {"files", "cluster", "database", "code", "server"}),
        ("account.registerUser", set()),
        ("domain.domainDetails", set()),
        ("server.status", set()),
    ],
)
def test_what_touches_the_server_itself_is_dangerous(command: str, words: set[str]) -> None:
    found = ALL.dangerous_in(command)
    assert set().union(*found.values()) == words
    tags = ALL.commands[name].tags if (name := ALL.name_in(command)) in ALL.commands else None
    assert tags is None or {tag for tag in tags if tag.startswith("dangerous:")} == {
        f"dangerous:{word}" for word in words
    }


@pytest.mark.parametrize("name", ["files", "path", "node", "resultFilepath"])
def test_no_operation_that_names_a_file_or_a_machine_is_allowed_to_everybody(name: str) -> None:
    takes = {spec.name for spec in ALL.commands.values() if spec.argument(name) is not None}
    assert {command for command in takes if not ALL.dangerous_in(command)} == set()


@attrs.frozen
class Bound:
    """A token that may do everything on these hosts."""

    hosts: tuple[str, ...]
    name: str = "bound"
    allow: tuple[str, ...] = ("*", "dangerous:*")
    targets: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()


def allowed(host: str, command: str, arguments: dict[str, Json], default: str | None = None) -> bool:
    wish = Wish(Command(command, arguments), ALL.commands[command], ALL.dangerous_in(command), default, "t", "q")
    return auth.refusal(Bound((host,)), wish) is None


@pytest.mark.parametrize(
    ("command", "mine", "theirs"),
    [
        ("account.registerUser", {"domain": "a.example"}, {"domain": "b.example"}),
        ("account.removeUser", {"user": "x@a.example"}, {"user": "x@b.example"}),
        ("muc.createInstantRoom", {"room": "r@a.example", "owner": "x@a.example"}, {"room": "r@b.example"}),
        ("muc_light.createRoom", {"mucDomain": "a.example", "owner": "x@a.example"}, {"mucDomain": "b.example"}),
        ("roster.addContacts", {"user": "x@a.example", "contacts": []}, {"contacts": [{"jid": "x@b.example"}]}),
        ("roster.subscribeToAll", {"user": {"jid": "x@a.example"}}, {"user": {"jid": "x@b.example"}}),
        ("roster.deleteContacts", {"user": "x@a.example"}, {"user": "x@a.example", "contacts": ["x@b.example"]}),
        ("stanza.sendMessage", {"from": "x@a.example", "to": "y@a.example"}, {"from": "x@b.example"}),
        ("broadcast.startBroadcast", {"domain": "a.example"}, {"domain": "a.example", "senderJid": "x@b.example"}),
        ("inbox.flushDomainBin", {"domain": "a.example"}, {}),
    ],
)
def test_a_token_that_is_bound_to_a_domain_reaches_no_other(
    command: str, mine: dict[str, Json], theirs: dict[str, Json]
) -> None:
    assert allowed("a.example", command, mine)
    assert not allowed("a.example", command, theirs)


@pytest.mark.parametrize(
    "command", ["graphql", "stanza.sendStanza", "server.status", "inbox.flushGlobalBin", "session.listSessions"]
)
def test_what_names_no_domain_is_not_for_a_token_that_is_bound_to_one(command: str) -> None:
    assert not allowed("localhost", command, {}, default="localhost")


def test_a_domain_that_the_target_fills_in_counts_for_a_token() -> None:
    assert allowed("localhost", "account.countUsers", {}, default="localhost")
    assert not allowed("a.example", "account.countUsers", {}, default="localhost")


@pytest.mark.parametrize("schema", ["admin", "user"])
def test_all_that_an_operation_takes_is_known(schema: Schema) -> None:
    for operation in operations(schema, "6.8.0").values():
        assert all(kind.name in KNOWN or fields_of_input(kind.name) for kind in operation.arguments.values())


KNOWN = {
    *("String", "Int", "PosInt", "NonNegInt", "NonEmptyString", "JID", "BareJID", "FullJID", "UserName", "RoomName"),
    *("DomainName", "ResourceName", "NodeName", "DateTime", "XmlElement", "BroadcastRecipientGroup", "PresenceType"),
    *("PresenceShow", "MUCAffiliation", "MUCRole", "LogLevel", "SubAction", "MutualSubAction"),
}
