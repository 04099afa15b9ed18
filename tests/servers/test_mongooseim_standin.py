"""The stand-in for MongooseIM's GraphQL endpoints answers, refuses and breaks as MongooseIM 6.8 was measured to.

Each row of what was measured is a case here: what restbroker is tested against is itself held to it.
"""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs
import pytest

from tests.support.mongooseim.execution import schema_of
from tests.support.mongooseim.faults import Kind
from tests.support.mongooseim.server import PATH, MongooseIM
from tests.support.mongooseim.world import Contact, Domain
from tests.support.ports import accepts
from tests.support.wait import until

OPERATIONS: Final = 133


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def errors(self) -> list[Any]:
        found = self.json.get("errors", [])
        assert isinstance(found, list)
        return found

    @property
    def code(self) -> str | None:
        codes = [one["extensions"]["code"] for one in self.errors]
        return codes[0] if codes else None


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@attrs.frozen
class Asker:
    """Sends requests to one server, each over a connection of its own."""

    server: MongooseIM

    def send(
        self, body: bytes | None, method: str = "POST", path: str = PATH, host: str = "localhost", **headers: str
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        given = {
            "Host": f"{host}:{self.server.port}",
            "Content-Type": "application/json",
            "Authorization": basic("admin", "secret"),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            line.request(method, path, body, {name: value for name, value in given.items() if value})
            got = line.getresponse()
            return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            line.close()

    def ask(self, query: str, **variables: Any) -> Answer:
        return self.send(json.dumps({"query": query, "variables": variables}).encode())


@pytest.fixture
def server() -> Iterator[MongooseIM]:
    with MongooseIM(idle_s=0.5, body_timeout_s=0.3) as server:
        server.world.register("alice@localhost", "bob@localhost")
        yield server


@pytest.fixture
def asker(server: MongooseIM) -> Asker:
    return Asker(server)


REGISTER: Final = """mutation($domain: DomainName!, $username: UserName, $password: String!) {
  account { registerUser(domain: $domain, username: $username, password: $password) { jid message } } }"""
SEND: Final = """mutation($from: JID!, $to: JID!, $body: String!) {
  stanza { sendMessage(from: $from, to: $to, body: $body) { id } } }"""
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
    query = "{ checkAuth { authStatus } }"
    assert asker.send(json.dumps({"query": query + " " * 7_500_000}).encode()).status == 200
    refused = asker.send(json.dumps({"query": query + " " * 8_000_000}).encode())
    assert (refused.status, refused.body) == (500, b"")


def test_variables_may_be_json_in_a_string(asker: Asker) -> None:
    body = {"query": SEND, "variables": json.dumps({"from": "alice@localhost", "to": "bob@localhost", "body": "é\n"})}
    assert asker.send(json.dumps(body).encode()).status == 200
    assert asker.server.world.messages[0].body == "é\n"


def test_which_operation_is_meant_may_be_said_by_name(asker: Asker) -> None:
    body = {"query": "query A { checkAuth { authStatus } } query B { server { status { version } } }"}
    assert asker.send(json.dumps({**body, "operationName": "B"}).encode()).json["data"].keys() == {"server"}
    assert asker.send(json.dumps({**body, "operationName": "C"}).encode()).code == "operation_not_found"


@pytest.mark.parametrize(
    ("status", "method", "headers"),
    [
        (415, "POST", {"Content_Type": "application/json; charset=utf-8"}),
        (415, "POST", {"Content_Type": "application/graphql"}),
        (415, "POST", {"Content_Type": ""}),
        (406, "POST", {"Accept": "application/xml"}),
        (405, "PUT", {}),
        (405, "OPTIONS", {}),
        (404, "POST", {"path": "/api/other"}),
        (404, "POST", {"host": "127.0.0.1"}),
    ],
)
def test_http_is_as_strict_as_there(asker: Asker, status: int, method: str, headers: dict[str, str]) -> None:
    body = json.dumps({"query": "{ checkAuth { authStatus } }"}).encode()
    done = asker.send(body, method=method, **headers)
    assert (done.status, done.body) == (status, b"")


def test_any_host_is_fine_where_the_listener_says_so() -> None:
    with MongooseIM(host="_") as server:
        body = json.dumps({"query": "{ checkAuth { authStatus } }"}).encode()
        assert Asker(server).send(body, host="127.0.0.1").status == 200


def test_a_get_runs_mutations_too(asker: Asker) -> None:
    query = "mutation%7Baccount%7BremoveUser(user:%22bob@localhost%22)%7Bjid%7D%7D%7D"
    assert asker.send(None, method="GET", path=f"{PATH}?query={query}").status == 200
    assert "bob@localhost" not in asker.server.world.accounts


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (basic("admin", "wrong"), "wrong_credentials"),
        ("", "no_permissions"),
        ("Bearer token", "no_permissions"),
        ("Basic ###", "request_error"),
        ("Odd", "request_error"),
    ],
)
def test_who_does_not_log_in_gets_a_401_without_a_content_type(asker: Asker, authorization: str, code: str) -> None:
    body = json.dumps({"query": "{ server { status { version } } }"}).encode()
    done = asker.send(body, Authorization=authorization)
    assert (done.status, done.code, done.errors[0]["path"]) == (401, code, ["ROOT"])
    assert "content-type" not in done.headers
    assert "www-authenticate" not in done.headers


def test_who_one_is_and_the_schema_are_told_to_anybody(asker: Asker) -> None:
    who = asker.send(json.dumps({"query": "{ checkAuth { authStatus } }"}).encode(), Authorization="")
    assert who.json["data"] == {"checkAuth": {"authStatus": "UNAUTHORIZED"}}
    schema = asker.send(json.dumps({"query": "{ __schema { queryType { name } } }"}).encode(), Authorization="")
    assert schema.status == 200


def test_without_a_pair_everybody_is_an_administrator() -> None:
    with MongooseIM(password="") as server:
        body = json.dumps({"query": '{ account { countUsers(domain: "localhost") } }'}).encode()
        assert Asker(server).send(body, Authorization="").json["data"]["account"]["countUsers"] == 0


def test_an_administrator_of_a_domain_is_kept_to_it() -> None:
    with MongooseIM(endpoint="domain_admin") as server:
        server.world.domains["a.example"] = Domain(password="pw")
        asker = Asker(server)

        def ask(query: str, **variables: Any) -> Answer:
            body = json.dumps({"query": query, "variables": variables}).encode()
            return asker.send(body, Authorization=basic("admin@a.example", "pw"))

        assert ask("{ checkAuth { authType domain } }").json["data"]["checkAuth"]["domain"] == "a.example"
        assert ask(REGISTER, domain="a.example", username="u", password="x").status == 200
        foreign = ask(REGISTER, domain="localhost", username="u", password="x")
        assert (foreign.status, foreign.code) == (401, "no_permissions")
        assert foreign.errors[0]["path"] == ["ROOT", "account", "registerUser"]
        assert ask("{ server { status { version } } }").code == "no_permissions"
        body = json.dumps({"query": "{ checkAuth { domain } }"}).encode()
        assert asker.send(body, Authorization=basic("admin@a.example", "no")).code == "wrong_credentials"
        server.unloaded.add("service_domain_db")
        lost = asker.send(body, Authorization=basic("admin@a.example", "pw"))
        assert (lost.status, lost.body) == (500, b"")


def test_a_user_acts_for_himself_alone() -> None:
    with MongooseIM(endpoint="user") as server:
        server.world.register("alice@localhost", "bob@localhost", password="pw")
        asker = Asker(server)

        def ask(query: str) -> Answer:
            return asker.send(json.dumps({"query": query}).encode(), Authorization=basic("alice@localhost", "pw"))

        assert ask('mutation { stanza { sendMessage(to: "bob@localhost", body: "hi") { id } } }').code is None
        assert ask('mutation { roster { addContact(contact: "bob@localhost") } }').code is None
        assert list(server.world.rosters["alice@localhost"]) == ["bob@localhost"]
        foreign = ask(
            'mutation { stanza { sendMessage(from: "bob@localhost", to: "alice@localhost", body: "x") { id } } }'
        )
        assert (foreign.status, foreign.code) == (200, "invalid_sender")


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


def test_without_its_database_what_needs_it_crashes_and_once_more_when_it_is_back(asker: Asker) -> None:
    asker.server.faults.database_away = True
    crashed = asker.ask(REGISTER, domain="localhost", username="new", password="x")
    assert (crashed.status, crashed.code) == (200, "resolver_crash")
    assert asker.ask("{ server { status { version } } }").code is None
    assert asker.ask("{ checkAuth { authStatus } }").code is None
    asker.server.faults.database_away = False
    codes = [asker.ask(REGISTER, domain="localhost", username="new", password="x").code for _ in range(2)]
    assert codes == ["resolver_crash", None]


def test_who_loses_a_race_may_be_told_that_it_cannot_register(asker: Asker) -> None:
    asker.server.faults.add(Kind.RACE, "account.registerUser")
    codes = [asker.ask(REGISTER, domain="localhost", username="alice", password="x").code for _ in range(2)]
    assert codes == ["cannot_register", "exists"]


def test_a_lost_answer_was_executed_and_a_cut_was_not(asker: Asker) -> None:
    for kind, name in ((Kind.LOST, "lost"), (Kind.CUT, "cut")):
        asker.server.faults.add(kind)
        with pytest.raises(http.client.RemoteDisconnected):
            asker.ask(REGISTER, domain="localhost", username=name, password="x")
    assert "lost@localhost" in asker.server.world.accounts
    assert "cut@localhost" not in asker.server.world.accounts


def test_a_crash_is_said_or_not(asker: Asker) -> None:
    query = "{ checkAuth { authStatus } }"
    for kind in (Kind.EMPTY, Kind.INTERNAL):
        asker.server.faults.add(kind)
    empty, told = asker.ask(query), asker.ask(query)
    assert (empty.status, empty.body) == (500, b"")
    assert (told.status, told.code) == (500, "internal_server_error")


def line_to(server: MongooseIM) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def request_of(server: MongooseIM, query: str = "{ checkAuth { authStatus } }") -> bytes:
    body = json.dumps({"query": query}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: {basic('admin', 'secret')}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_an_idle_connection_is_closed(server: MongooseIM) -> None:
    assert MongooseIM().idle_s == 5.0
    with line_to(server) as line:
        started_s = time.monotonic()
        assert line.recv(1) == b""
        assert time.monotonic() - started_s >= 0.4


def test_the_thousandth_request_of_a_connection_is_its_last(server: MongooseIM) -> None:
    with line_to(server) as line:
        line.sendall(request_of(server) * 1000)
        came = b"".join(iter(lambda: line.recv(65536), b""))
    answers = came.split(b"HTTP/1.1 ")[1:]
    assert len(answers) == 1000
    assert [at for at, one in enumerate(answers, 1) if b"\r\nconnection: close\r\n" in one] == [1000]


def test_a_body_that_does_not_come_is_a_500(server: MongooseIM) -> None:
    assert MongooseIM().body_timeout_s == 15.0
    with line_to(server) as line:
        line.sendall(request_of(server)[:-3])
        assert line.recv(65536).startswith(b"HTTP/1.1 500 ")
        assert line.recv(1) == b""


def test_a_stop_is_answered_and_the_port_refuses_soon_after(asker: Asker) -> None:
    assert asker.ask("mutation { server { stop } }").status == 200
    until(lambda: not accepts(asker.server.port), "the port refuses")
    asker.server.start()
    assert asker.ask("{ checkAuth { authStatus } }").status == 200


def test_a_kill_resets_what_is_in_flight_and_loses_what_was_just_written(asker: Asker) -> None:
    server = asker.server
    for number in range(20):
        assert asker.ask(REGISTER, domain="localhost", username=f"u{number}", password="x").status == 200
    fault = server.faults.add(Kind.HANG, "server.status")
    with line_to(server) as line:
        line.sendall(request_of(server, "{ server { status { version } } }"))
        assert fault.reached.wait(10)
        assert server.kill() == 20
        with pytest.raises(ConnectionResetError):
            line.recv(1)
    assert not accepts(server.port)
    server.start()
    assert sorted(server.world.accounts) == ["alice@localhost", "bob@localhost"]
    assert asker.ask("{ checkAuth { authStatus } }").status == 200


def test_what_is_older_outlives_a_kill(asker: Asker) -> None:
    asker.ask(REGISTER, domain="localhost", username="old", password="x")
    assert asker.server.kill(lost_s=0.0) == 0
    assert "old@localhost" in asker.server.world.accounts


def test_what_costs_time_waits_for_a_core() -> None:
    with MongooseIM(cores=1, costs_s={"account.registerUser": 0.1}) as server, ThreadPoolExecutor() as pool:
        started_s = time.monotonic()
        asked = [pool.submit(Asker(server).ask, REGISTER, domain="localhost", password="x") for _ in range(3)]
        assert [one.result().code for one in asked] == [None, None, None]
        assert time.monotonic() - started_s >= 0.3


def test_whoever_listens_is_told_of_messages(asker: Asker) -> None:
    told: list[Any] = []
    asker.server.world.told.append(told.append)
    asker.ask(SEND, **{"from": "alice@localhost/PC", "to": "Bob@localhost", "body": "hi"})
    assert [(str(one.sender), str(one.receiver), one.body) for one in told] == [
        ("alice@localhost/PC", "bob@localhost", "hi")
    ]
