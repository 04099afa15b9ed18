"""The stand-in for MongooseIM's GraphQL endpoints answers, refuses and breaks as MongooseIM 6.8 was measured to.

Each row of what was measured is a case here: what restbroker is tested against is itself held to it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.support.mongooseim.asking import REGISTER, SEND, Asker
from tests.support.mongooseim.execution import schema_of
from tests.support.mongooseim.server import MongooseIM
from tests.support.mongooseim.world import Contact

OPERATIONS: Final = 133


@pytest.fixture
def server() -> Iterator[MongooseIM]:
    with MongooseIM(idle_s=0.5, body_timeout_s=0.3) as server:
        server.world.register("alice@localhost", "bob@localhost")
        yield server


@pytest.fixture
def asker(server: MongooseIM) -> Asker:
    return Asker(server)


ON_USER: Final = "mutation($user: JID!) {{ {category} {{ {field} }} }}"


def on_user(category: str, field: str) -> str:
    return ON_USER.format(category=category, field=field)


def test_it_knows_every_operation_of_the_admin_endpoint() -> None:
    schema = schema_of("admin")
    roots = [schema.query_type, schema.mutation_type, schema.subscription_type]
    fields = [field for root in roots if root for field in root.fields.values()]
    assert sum(len(getattr(field.type, "fields", {})) for field in fields) - 3 + 1 == OPERATIONS


def test_a_user_is_registered_and_the_name_is_lower_cased(asker: Asker) -> None:
    done = asker.ask(REGISTER, domain="localhost", username="CAROL", password='a "quoted" one')
    assert (done.status, done.json["data"]["account"]["registerUser"]["jid"]) == (200, "carol@localhost")
    assert asker.server.world.accounts["carol@localhost"] == 'a "quoted" one'
    assert done.headers["content-type"] == "application/json"


def test_without_a_name_one_is_made(asker: Asker) -> None:
    done = asker.ask(REGISTER, domain="localhost", password="x")
    assert done.json["data"]["account"]["registerUser"]["jid"] in asker.server.world.accounts


REFUSED: Final[Mapping[str, tuple[str, dict[str, Any], str]]] = {
    "exists": (REGISTER, {"domain": "localhost", "username": "alice", "password": "x"}, "exists"),
    "unserved domain": (REGISTER, {"domain": "else.where", "username": "a", "password": "x"}, "cannot_register"),
    "no password": (REGISTER, {"domain": "localhost", "username": "a", "password": ""}, "cannot_register"),
    "remove nobody": (on_user("account", "removeUser(user: $user) { jid }"), {"user": "x@localhost"}, "not_allowed"),
    "change nobody's password": (
        on_user("account", 'changeUserPassword(user: $user, newPassword: "n") { jid }'),
        {"user": "x@localhost"},
        "not_allowed",
    ),
    "ban nobody": (
        on_user("account", 'banUser(user: $user, reason: "r") { jid }'),
        {"user": "x@localhost"},
        "user_does_not_exist",
    ),
    "check nobody's password": (
        'query($user: JID!) { account { checkPassword(user: $user, password: "p") { correct } } }',
        {"user": "x@localhost"},
        "user_does_not_exist",
    ),
    "list a domain that is not there": (
        "query($d: DomainName!) { account { listUsers(domain: $d) } }",
        {"d": "else.where"},
        "domain_not_found",
    ),
    "count there": (
        "query($d: DomainName!) { account { countUsers(domain: $d) } }",
        {"d": "else.where"},
        "domain_not_found",
    ),
    "message of nobody": (SEND, {"from": "x@localhost", "to": "bob@localhost", "body": "b"}, "unknown_user"),
    "message of nobody there": (SEND, {"from": "x@else.where", "to": "bob@localhost", "body": "b"}, "unknown_user"),
    "stanza of nobody": (
        "mutation($s: XmlElement) { stanza { sendStanza(stanza: $s) { id } } }",
        {"s": "<message to='bob@localhost'/>"},
        "no_sender",
    ),
    "contact of nobody": (
        on_user("roster", 'addContact(user: $user, contact: "bob@localhost")'),
        {"user": "x@localhost"},
        "user_not_exist",
    ),
    "nobody as a contact": (
        on_user("roster", 'addContact(user: $user, contact: "x@localhost")'),
        {"user": "bob@localhost"},
        "user_not_exist",
    ),
    "no such contact": (
        on_user("roster", 'deleteContact(user: $user, contact: "alice@localhost")'),
        {"user": "bob@localhost"},
        "contact_not_found",
    ),
    "no such session": (
        "mutation($u: FullJID!) { session { kickUserSession(user: $u) { kicked } } }",
        {"u": "bob@localhost/PC"},
        "no_session",
    ),
    "a domain again": (
        'mutation($d: DomainName!) { domain { addDomain(domain: $d, hostType: "localhost") { domain } } }',
        {"d": "localhost"},
        "duplicate",
    ),
    "a domain of no type": (
        'mutation($d: DomainName!) { domain { addDomain(domain: $d, hostType: "x") { domain } } }',
        {"d": "n.example"},
        "unknown_host_type",
    ),
    "a domain that is not there": (
        'mutation($d: DomainName!) { domain { removeDomain(domain: $d, hostType: "x") { domain } } }',
        {"d": "n.example"},
        "not_found",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_operation_is_refused_within_a_200_by_its_code(asker: Asker, case: str) -> None:
    query, variables, code = REFUSED[case]
    done = asker.ask(query, **variables)
    assert (done.status, done.code) == (200, code)
    category, members = next(iter(done.json["data"].items()))
    assert done.errors[0]["path"] == [category, *members]
    assert list(members.values()) == [None]


def test_a_domain_that_is_disabled_registers_nobody(asker: Asker) -> None:
    asker.server.world.domains["localhost"].enabled = False
    assert asker.ask(REGISTER, domain="localhost", username="a", password="x").code == "cannot_register"


SET_LEVEL: Final = "mutation($l: LogLevel!) { server { setLoglevel(level: $l) } }"
WRONG: Final[Mapping[str, tuple[str, dict[str, Any], str]]] = {
    "malformed XML": (
        "mutation($s: XmlElement) { stanza { sendStanza(stanza: $s) { id } } }",
        {"s": "<message"},
        "input_coercion",
    ),
    "a name that is none": (REGISTER, {"domain": "localhost", "username": "a b", "password": "x"}, "input_coercion"),
    "a JID that is none": (on_user("account", "removeUser(user: $user) { jid }"), {"user": "@x"}, "input_coercion"),
    "a wrong type": (REGISTER, {"domain": "localhost", "username": "a", "password": 7}, "input_coercion"),
    "a full JID for a bare one": (
        "mutation($u: BareJID!) { session { kickUser(user: $u) { kicked } } }",
        {"u": "a@b/c"},
        "input_coercion",
    ),
    "zero for a positive number": (
        'query($n: PosInt) { account { listUsers(domain: "localhost", limit: $n) } }',
        {"n": 0},
        "input_coercion",
    ),
    "nothing for what is needed": (REGISTER, {"domain": "localhost", "username": "a"}, "missing_non_null_param"),
    "null for what is needed": (REGISTER, {"domain": "localhost", "password": None}, "missing_non_null_param"),
    "no argument": ("{ account { countUsers } }", {}, "missing_non_null_param"),
    "an unknown field": ("{ account { nope } }", {}, "unknown_field"),
    "an unknown argument": ('{ account { countUsers(domain: "localhost", x: 1) } }', {}, "excess_args"),
    "an unknown enum": ("mutation { server { setLoglevel(level: LOUD) } }", {}, "unknown_enum"),
    "an unknown enum in a variable": (SET_LEVEL, {"l": "LOUD"}, "unknown_enum"),
    "no end": ("{ account { ", {}, "parser_error"),
    "a stray character": ("{ server { status { version } } } £", {}, "scanner_error"),
    "nothing": ("", {}, "no_query_supplied"),
    "a subscription": (
        'subscription { stanza { subscribeForMessages(caller: "alice@localhost") { stanza } } }',
        {},
        "unsupported_operation",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_request_that_does_not_fit_the_schema_is_a_400(asker: Asker, case: str) -> None:
    query, variables, code = WRONG[case]
    done = asker.ask(query, **variables)
    assert (done.status, done.code) == (400, code)
    assert done.errors[0]["path"][0] == "ROOT"


def test_a_body_that_is_no_json_is_a_400_and_an_array_a_500_without_a_body(asker: Asker) -> None:
    assert asker.send(b"{").code == "invalid_json_body"
    assert asker.send(b"{}").code == "no_query_supplied"
    batch = asker.send(b'[{"query":"{ checkAuth { authStatus } }"}]')
    assert (batch.status, batch.body) == (500, b"")


def test_a_body_may_have_eight_megabytes(asker: Asker) -> None:
    body = b'{"query":"{ checkAuth { authStatus } }"}'
    assert asker.send(body + b" " * 7_500_000).status == 200
    refused = asker.send(body + b" " * 8_000_000)
    assert (refused.status, refused.body) == (500, b"")


def test_variables_may_be_json_in_a_string(asker: Asker) -> None:
    body = {"query": SEND, "variables": json.dumps({"from": "alice@localhost", "to": "bob@localhost", "body": "é\n"})}
    assert asker.send(json.dumps(body).encode()).status == 200
    assert asker.server.world.messages[0].body == "é\n"


def test_which_operation_is_meant_may_be_said_by_name(asker: Asker) -> None:
    body = {"query": "query A { checkAuth { authStatus } } query B { server { status { version } } }"}
    assert asker.send(json.dumps({**body, "operationName": "B"}).encode()).json["data"].keys() == {"server"}
    assert asker.send(json.dumps({**body, "operationName": "C"}).encode()).code == "operation_not_found"


def test_a_message_to_nobody_and_one_without_a_text_count_as_sent(asker: Asker) -> None:
    for to, body in (("nobody@localhost", "x"), ("x@unreachable.example", "x"), ("bob@localhost", "")):
        done = asker.ask(SEND, **{"from": "alice@localhost", "to": to, "body": body})
        assert done.json["data"]["stanza"]["sendMessage"]["id"]


def test_a_text_arrives_as_it_is_by_a_variable_and_with_its_backslashes_by_a_literal(asker: Asker) -> None:
    text = 'a "q" \n \\ é 🦄'
    asker.ask(SEND, **{"from": "alice@localhost", "to": "bob@localhost", "body": text})
    sending = 'mutation { stanza { sendMessage(from: "alice@localhost", to: "bob@localhost", body: %s) { id } } }'
    asker.ask(sending % r'"a \"q\" \n"')
    asker.ask(sending % '"""a "q" é"""')
    assert [one.body for one in asker.server.world.messages] == [text, r"a \"q\" \n", 'a "q" é']


CONTACTS: Final = [{"jid": "bob@localhost", "name": "B", "groups": ["g"]}, {"jid": "x@localhost", "name": "X"}]
LISTS: Final[Mapping[str, tuple[str, Any, int]]] = {
    "addContacts": (
        '$c: [ContactInput!]!) { roster { addContacts(user: "alice@localhost", contacts: $c) } }',
        CONTACTS,
        1,
    ),
    "subscribeToAll": (
        '$c: [ContactInput!]!) { roster { subscribeToAll(user: {jid: "alice@localhost", name: "A"}, contacts: $c) } }',
        CONTACTS,
        1,
    ),
    "subscribeAllToAll": (
        "$c: [ContactInput!]!) { roster { subscribeAllToAll(contacts: $c) } }",
        [{"jid": "alice@localhost", "name": "A"}, *CONTACTS],
        2,
    ),
    "deleteContacts": (
        '$c: [JID!]!) { roster { deleteContacts(user: "alice@localhost", contacts: $c) } }',
        ["carol@localhost", "x@localhost"],
        1,
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_part_that_fails_is_a_null_in_the_list_and_an_error_with_its_index(asker: Asker, name: str) -> None:
    asker.server.world.rosters["alice@localhost"] = {"carol@localhost": Contact("carol@localhost")}
    query, contacts, failures = LISTS[name]
    done = asker.ask(f"mutation({query}", c=contacts)
    assert done.status == 200
    told = done.json["data"]["roster"][name]
    assert told[0] is not None
    assert told[1:] == [None] * failures
    assert [one["path"] for one in done.errors] == [["roster", name, at] for at in range(1, failures + 1)]


def test_a_subscription_of_two_is_in_both_rosters(asker: Asker) -> None:
    query = """mutation { roster { setMutualSubscription(
      userA: "alice@localhost", userB: "bob@localhost", action: CONNECT) } }"""
    assert asker.ask(query).code is None
    assert asker.server.world.rosters["bob@localhost"]["alice@localhost"].subscription == "BOTH"
    listed = asker.ask('{ roster { listContacts(user: "alice@localhost") { jid subscription groups } } }')
    assert listed.json["data"]["roster"]["listContacts"] == [
        {"jid": "bob@localhost", "subscription": "BOTH", "groups": []}
    ]


def test_a_room_that_is_not_there_takes_messages_too(asker: Asker) -> None:
    query = """mutation { muc { sendMessageToRoom(
      room: "no@muc.localhost", from: "alice@localhost/PC", body: "hi") } }"""
    assert asker.ask(query).json["data"]["muc"]["sendMessageToRoom"] == "Message sent successfully"


def test_a_room_of_muc_light_is_made_and_found(asker: Asker) -> None:
    made = """mutation { muc_light { createRoom(
      mucDomain: "muclight.localhost", id: "r", owner: "alice@localhost") { jid participants { jid } } } }"""
    room = asker.ask(made).json["data"]["muc_light"]["createRoom"]
    assert room == {"jid": "r@muclight.localhost", "participants": [{"jid": "alice@localhost"}]}
    assert asker.ask(made).code == "already_exist"


def test_who_is_online_is_kicked(asker: Asker) -> None:
    asker.server.world.sessions.update({"bob@localhost/PC", "bob@localhost/phone"})
    kicked = asker.ask('mutation { session { kickUser(user: "bob@localhost") { jid kicked } } }')
    assert len(kicked.json["data"]["session"]["kickUser"]) == 2
    assert asker.ask("{ session { countSessions } }").json["data"]["session"]["countSessions"] == 0


def test_a_contact_that_is_added_again_loses_its_groups(asker: Asker) -> None:
    arguments = 'user: "alice@localhost", contact: "bob@localhost", groups: $g'
    query = f"mutation($g: [String!]) {{ roster {{ addContact({arguments}) }} }}"
    asker.ask(query, g=["friends"])
    asker.ask(query)
    assert asker.server.world.rosters["alice@localhost"]["bob@localhost"].groups == ()


def test_operations_side_by_side_run_in_the_order_of_the_alphabet(asker: Asker) -> None:
    query = """mutation {
      c: account { registerUser(domain: "localhost", username: "z", password: "1") { jid } }
      a: account { registerUser(domain: "localhost", username: "z", password: "2") { jid } } }"""
    done = asker.ask(query)
    assert asker.server.world.accounts["z@localhost"] == "2"
    assert done.errors[0]["path"] == ["c", "registerUser"]


def test_a_password_is_echoed(asker: Asker) -> None:
    query = (
        'query($p: String!) { account { checkPassword(user: "alice@localhost", password: $p) { correct message } } }'
    )
    for password in ("secret", "wrong"):
        told = asker.ask(query, p=password).json["data"]["account"]["checkPassword"]
        assert password in told["message"]
        assert told["correct"] == (password == "secret")


def test_what_is_not_loaded_is_said(asker: Asker) -> None:
    asker.server.unloaded.update({"mod_roster", "service_domain_db"})
    done = asker.ask(on_user("roster", 'addContact(user: $user, contact: "bob@localhost")'), user="alice@localhost")
    assert (done.status, done.code) == (200, "deps_not_loaded")
    assert done.errors[0]["extensions"]["not_loaded_modules"] == ["mod_roster"]
    domain = asker.ask('query { domain { domainDetails(domain: "localhost") { status } } }')
    assert domain.errors[0]["extensions"]["not_loaded_services"] == ["service_domain_db"]


def test_any_other_operation_answers_with_values_of_its_types(asker: Asker) -> None:
    assert asker.ask("{ stat { globalStats { onlineUsers } } }").json["data"]["stat"]["globalStats"] == {
        "onlineUsers": 1
    }
    query = '{ broadcast { getBroadcasts(domain: "localhost") { id executionState createTimestamp } } }'
    assert asker.ask(query).json["data"]["broadcast"]["getBroadcasts"][0]["executionState"] == "RUNNING"


def test_whoever_listens_is_told_of_messages(asker: Asker) -> None:
    told: list[Any] = []
    asker.server.world.told.append(told.append)
    asker.ask(SEND, **{"from": "alice@localhost/PC", "to": "Bob@localhost", "body": "hi"})
    assert [(str(one.sender), str(one.receiver), one.body) for one in told] == [
        ("alice@localhost/PC", "bob@localhost", "hi")
    ]
