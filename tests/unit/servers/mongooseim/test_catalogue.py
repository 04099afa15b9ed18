"""What the catalogue says of MongooseIM's operations, for each kind of login and each version."""

from restbroker.config.target import Target, Url
from restbroker.job.json_types import Json
from restbroker.servers.mongooseim.catalogue import for_target, for_version
from restbroker.servers.mongooseim.options import Options, Schema
from tests.unit.servers.conftest import refused

ALL = for_version(None)
URL = Url("http", "localhost", 5551, "/api/graphql")


def of(schema: Schema, version: str = "auto", found: str | None = None) -> set[str]:
    target = Target("mim", "mongooseim", URL, ("q",), options=Options(schema, version))
    return set(for_target(target, found).commands)


def test_a_version_has_what_came_until_then() -> None:
    rows: list[tuple[str | None, str, int]] = [
        (None, "6.8.0", 132),
        ("nonsense", "6.8.0", 132),
        ("5.1.0", "6.0.0", 115),
        ("6.5.0", "6.2.0", 117),
        ("6.8.0-12-gabc", "6.8.0", 132),
        ("7.0.0", "6.8.0", 132),
    ]
    for asked, found, commands in rows:
        catalogue = for_version(asked)
        assert (catalogue.version, len(catalogue.commands)) == (found, commands), asked


def test_what_touches_the_server_itself_is_dangerous() -> None:
    words = {
        **dict.fromkeys(("server.stop", "server/stop", "Server.Stop"), "server"),
        "mnesia.backup": "database files",
        "graphql": "cluster code database files server",
        "account.registerUser": "",
    }
    assert {name: " ".join(sorted(set().union(*ALL.dangerous_in(name).values()))) for name in words} == words
    # Nor is any that names a file or a machine for everybody.
    places = ("files", "path", "node", "resultFilepath")
    takes = {spec.name for spec in ALL.commands.values() if any(map(spec.argument, places))}
    assert {command for command in takes if not ALL.dangerous_in(command)} == set()


def allowed(host: str, command: str, arguments: dict[str, Json], default: str | None = None) -> bool:
    """Whether a token that may do everything on this host may ask for this."""
    return refused(ALL, command, arguments, default, hosts=(host,), allow=("*", "dangerous:*")) is None


def test_a_token_that_is_bound_to_a_domain_reaches_no_other() -> None:
    rows: list[tuple[str, dict[str, Json], dict[str, Json]]] = [
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
    ]
    for command, mine, theirs in rows:
        assert allowed("a.example", command, mine)
        assert not allowed("a.example", command, theirs)


def test_a_domain_that_the_target_fills_in_counts_for_a_token_and_what_names_none_is_not_for_it() -> None:
    names_none = ("graphql", "stanza.sendStanza", "server.status", "inbox.flushGlobalBin", "session.listSessions")
    assert not any(allowed("localhost", command, {}, default="localhost") for command in names_none)
    assert allowed("localhost", "account.countUsers", {}, default="localhost")
    assert not allowed("a.example", "account.countUsers", {}, default="localhost")
