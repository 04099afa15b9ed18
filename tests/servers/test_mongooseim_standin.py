"""The stand-in for MongooseIM's GraphQL endpoints refuses as MongooseIM 6.8 was measured to, case by case."""

from collections.abc import Mapping
from typing import Any, Final

import httpx

from tests.support.mongooseim.server import MongooseIM

REGISTER: Final = """mutation($domain: DomainName!, $username: UserName, $password: String!) {
  account { registerUser(domain: $domain, username: $username, password: $password) { jid message } } }"""
SEND: Final = """mutation($from: JID!, $to: JID!, $body: String!) {
  stanza { sendMessage(from: $from, to: $to, body: $body) { id } } }"""

ON_USER: Final = "mutation($user: JID!) {{ {category} {{ {field} }} }}"


def on_user(category: str, field: str) -> str:
    return ON_USER.format(category=category, field=field)


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


def test_what_fits_the_schema_is_refused_within_a_200_and_what_does_not_is_a_400() -> None:
    wrong = {}
    with MongooseIM() as server:
        server.world.register("alice@localhost", "bob@localhost")
        for status, cases in ((200, REFUSED), (400, WRONG)):
            for name, (query, variables, code) in cases.items():
                given = {"query": query, "variables": variables}
                done = httpx.post(server.url, json=given, auth=("admin", "secret"), trust_env=False)
                said = done.json()
                error = said["errors"][0]
                found = (done.status_code, error["extensions"]["code"])
                if status == 400:
                    is_right = error["path"][0] == "ROOT"
                else:
                    (category, members), *_ = said["data"].items()
                    is_right = error["path"] == [category, *members] and list(members.values()) == [None]
                if found != (status, code) or not is_right:
                    wrong[name] = (found, said)
    assert not wrong
