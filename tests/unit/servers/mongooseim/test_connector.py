"""What is sent for a job, what is asked besides, and what the probe makes of the answers."""

import json
import threading
from typing import Any

import pytest

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Probe, Rejected, Uncertain
from restbroker.transport.errors import MaybeSent
from tests.support.receiver import Answer, Received
from tests.unit.servers.conftest import Bench, Opened
from tests.unit.servers.mongooseim.conftest import refusal, says

DONE = {"data": {"account": {"registerUser": {"jid": "alice@localhost", "message": "done"}}}}
WHO = {"authStatus": "AUTHORIZED", "authType": "ADMIN", "domain": None}
RUNS = {"status": {"statusCode": "RUNNING", "version": "6.8.0-12-gabc"}}
WELL = {"data": {"checkAuth": WHO, "server": RUNS, "account": {"countUsers": 3}}}
CRASHED = {"data": {"account": {"registerUser": None}}, "errors": [refusal("resolver_crash")]}
NO_DATABASE = {"data": {"checkAuth": WHO, "server": RUNS, "account": {"countUsers": None}},
               "errors": [refusal("resolver_crash", "No", "account", "countUsers")]}  # fmt: skip


def asked(bench: Bench) -> list[str]:
    """The documents that came, in order."""
    return [json.loads(one.body)["query"] for one in bench.server.received]


async def test_a_domain_that_is_missing_is_that_of_the_job(opened: Opened) -> None:
    given: list[dict[str, Any]] = [{}, {"host": "localhost"}, {"domain": None}]
    async with opened(says(DONE)) as bench:
        for one in given:
            got = await bench.sent("account.registerUser", username="alice", password="p", **one)
            assert json.loads(got.body)["variables"]["domain"] == "localhost", one


async def test_unknown_names_and_missing_members_are_refused_unsent(opened: Opened) -> None:
    """So are the few values that MongooseIM would take, crash on, or print with a secret in them."""
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("account.registerUser", {"password": ["hush"]}, '"password" is a list, where a string is needed'),
        (
            "roster.addContacts",
            {"user": "alice@localhost", "contacts": [{"jid": "a@b", "name": "", "group": []}]},
            "has a member 'group', which ContactInput does not have; did you mean groups?",
        ),
        (
            "muc.changeRoomConfiguration",
            {"room": "r@muc.localhost", "config": {"password": ["hush"]}},
            '"config.password" is a list, where a string is needed',
        ),
        ("graphql", {"query": "{ a }", "variables": []}, 'the argument "variables" is not an object'),
        ("graphql", {"query": "{ a }", "operationName": "x"}, 'takes "query" and "variables" alone'),
    ]
    async with opened(says(DONE)) as bench:
        for command, arguments, told in rows:
            outcome = await bench.deliver(command, **arguments)
            assert isinstance(outcome, Rejected), told
            assert outcome.reason.code == "BadArgument", told
            assert told in outcome.reason.message
            assert "hush" not in outcome.reason.message
        assert bench.server.received == []


async def test_a_value_of_a_wrong_type_is_sent_and_not_shown(opened: Opened) -> None:
    said = 'Input coercion failed for type JID with value <<"ab">>. The reason it failed is: jid_without_local_part'
    async with opened(says({"errors": [refusal("input_coercion", said, "..", "x")]}, status=400)) as bench:
        outcome = await bench.deliver("roster.addContacts", user="alice", contacts={"jid": "a@b", "name": "\ud800"})
        assert len(bench.server.received) == 1
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "BadArgument"
    assert outcome.reason.message.endswith("failed for type JID. The reason it failed is: jid_without_local_part")


async def test_a_headline_with_an_id_becomes_a_stanza_from_the_login(opened: Opened) -> None:
    login, done = {"Basic": {"User": "bot@localhost", "Pass": "p"}}, {"data": {"stanza": {"x": {"id": "1"}}}}
    given = {"to": "bob@localhost", "subject": "s", "id": "1"}
    async with opened(says(done), {"Schema": "user"}, Auth=login) as bench:
        got = await bench.sent("stanza.sendMessageHeadLine", **given)
    ends = 'from="bot@localhost" to="bob@localhost" id="1"'
    stanza = f'<message type="headline" {ends}><subject>s</subject></message>'
    assert json.loads(got.body)["variables"] == {"stanza": stanza}


async def test_what_the_server_or_the_login_does_not_have_is_refused_unsent(opened: Opened) -> None:
    message = {"from": "ann@localhost", "to": "bob@localhost", "body": "b", "id": "1"}
    rows: list[tuple[dict[str, str] | None, str, dict[str, str], str, str]] = [
        (None, "account.fly", {}, "UnknownCommand", "has no command account.fly"),
        ({"ServerVersion": "6.2.0"}, "blocklist.addUser", {}, "UnknownCommand", "admins have it since 6.6.0"),
        ({"Schema": "user"}, "account.registerUser", {}, "UnknownCommand", "for a user; admins have it since 6.0.0"),
        ({"Schema": "domain_admin"}, "stanza.sendMessage", message, "BadArgument", "'id', which stanza.sendMessage"),
    ]
    for options, command, given, code, told in rows:
        user = "admin@localhost" if options == {"Schema": "domain_admin"} else "bot@localhost"
        async with opened(says(DONE), options, Auth={"Basic": {"User": user, "Pass": "p"}}) as bench:
            outcome = await bench.deliver(command, **given)
            assert bench.server.received == [], (options, command)
        assert isinstance(outcome, Rejected), (options, command)
        assert (outcome.reason.code, told in outcome.reason.message) == (code, True), outcome.reason


async def test_a_registration_without_a_name_is_not_sent_twice(opened: Opened) -> None:
    async with opened(says(DONE)) as bench:
        outcome = await bench.deliver("account.registerUser", {"maybe_run": True}, password="p")
        assert bench.server.received == []
        assert isinstance(await bench.deliver("account.registerUser", password="p"), Delivered)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "Uncertain"


async def test_after_cannot_register_the_account_is_asked_for(opened: Opened) -> None:
    rows: list[tuple[bool, str]] = [(True, "AlreadyExists"), (False, "Refused")]
    for exists, code in rows:
        refused = {"data": {"account": {"registerUser": None}}, "errors": [refusal("cannot_register", "not_allowed")]}
        found = {"data": {"account": {"checkUser": {"exist": exists}}}}
        async with opened(says(refused, found)) as bench:
            outcome = await bench.deliver("account.registerUser", username="alice", password="p")
            asked = json.loads(bench.server.received[1].body)
        assert asked["variables"] == {"user": "alice@localhost"}, (exists, code)
        assert isinstance(outcome, Rejected), (exists, code)
        assert outcome.reason.code == code, (exists, code)


async def test_a_domain_that_a_crash_was_about_is_asked_about_from_then_on(opened: Opened) -> None:
    async with opened(says(CRASHED, CRASHED, WELL), Domain=None) as bench:
        assert (await bench.connector.probe(bench.link)).ok is False
        await bench.deliver("account.registerUser", username="alice", domain="b.example", password="p")
        await bench.connector.probe(bench.link)
        first, _, _, last = (json.loads(one.body) for one in bench.server.received)
    assert "countUsers" not in first["query"]
    assert last["variables"] == {"domain": "b.example"}


async def test_the_probe_tells_a_server_that_is_well_from_others(opened: Opened) -> None:
    rows: list[tuple[Any, bool, bool, str]] = [
        (WELL, True, False, "MongooseIM 6.8.0-12-gabc answers"),
        (NO_DATABASE, False, False, "cannot reach its database"),
        ({"data": None, "errors": [refusal("internal", "Odd")]}, False, False, "Odd"),
        ({"data": {"checkAuth": {"authStatus": "UNAUTHORIZED"}}}, False, True, "not belong to an admin"),
        ({"data": {"checkAuth": WHO, "server": {"status": {"statusCode": "NOT_RUNNING"}}}}, False, False, "does not"),
        ({"data": {"checkAuth": WHO}, "errors": [refusal("domain_not_found")]}, True, False, "accepts the login"),
        (Answer(401, json.dumps({"errors": [refusal("wrong_credentials")]}).encode()), False, True, "refused"),
    ]
    for answer, ok, denied, told in rows:
        async with opened(says(answer)) as bench:
            probe: Probe = await bench.connector.probe(bench.link)
        assert (probe.ok, probe.denied) == (ok, denied), (answer, ok)
        assert told in probe.detail, (answer, ok)
        assert (probe.hint is None) == ok, (answer, ok)


async def test_the_version_that_the_probe_finds_chooses_the_operations(opened: Opened) -> None:
    old = {"status": {"statusCode": "RUNNING", "version": "6.2.1"}}
    async with opened(says({"data": {"checkAuth": WHO, "server": old, "account": {"countUsers": 1}}})) as bench:
        assert bench.connector.spec("blocklist.addUser") is not None
        assert (await bench.connector.probe(bench.link)).version == "6.2.1"
        assert bench.connector.spec("blocklist.addUser") is None


async def test_who_is_no_admin_asks_for_what_he_may(opened: Opened) -> None:
    rows: list[tuple[str, str, str]] = [
        ("domain_admin", "admin@localhost", "status"),
        ("user", "bot@localhost", "countUsers"),
    ]
    for schema, user, absent in rows:
        login = {"Basic": {"User": user, "Pass": "p"}}
        async with opened(says(WELL), {"Schema": schema}, Auth=login) as bench:
            assert (await bench.connector.probe(bench.link)).ok, (schema, user)
            (text,) = asked(bench)
        assert absent not in text, (schema, user)


MESSAGE = {"from": "alice@localhost", "to": "bob@localhost", "body": "x"}


async def test_a_job_timed_out_for_its_database_only_where_the_server_then_says_that_it_is_away(opened: Opened) -> None:
    call = Call(Command("stanza.sendMessage", MESSAGE), host="localhost", timeout_s=0.25)
    for health in (*(Answer(200, json.dumps(one).encode()) for one in (NO_DATABASE, WELL)), Answer(401, b""), None):
        waits = threading.Event()

        def act(received: Received, health: Answer | None = health, waits: threading.Event = waits) -> Answer:
            if health is None or b"sendMessage" in received.body:
                waits.wait(30)
            return health or Answer(200, b"")

        async with opened(act, RequestTimeout="1s") as bench:
            try:
                if health is None or b"resolver_crash" not in health.body:
                    with pytest.raises(MaybeSent):
                        await bench.connector.deliver(call, bench.link)
                else:
                    outcome = await bench.connector.deliver(call, bench.link)
                    assert isinstance(outcome, Uncertain), health
                    assert (outcome.reason.code, outcome.pause_target) == ("DatabaseAway", True), health
            finally:
                waits.set()
