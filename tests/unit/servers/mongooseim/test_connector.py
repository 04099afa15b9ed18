"""What is sent for a job, what is asked besides, and what is made of the answers. Each answer's code: golden fates."""

import json
import threading
from typing import Any

import pytest

from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Outcome, Probe, Rejected, Uncertain
from restbroker.transport.message import MaybeSent
from tests.support.receiver import Answer, Received
from tests.unit.servers.conftest import Opened, fate, refused_unsent
from tests.unit.servers.mongooseim.conftest import refusal, says

DONE = {"data": {"account": {"registerUser": {"jid": "alice@localhost", "message": "done"}}}}
WHO = {"authStatus": "AUTHORIZED", "authType": "ADMIN", "domain": None}
RUNS = {"status": {"statusCode": "RUNNING", "version": "6.8.0-12-gabc"}}
WELL = {"data": {"checkAuth": WHO, "server": RUNS, "account": {"countUsers": 3}}}
CRASHED = {"data": {"account": {"registerUser": None}}, "errors": [refusal("resolver_crash")]}
NO_DATABASE = {"data": {"checkAuth": WHO, "server": RUNS, "account": {"countUsers": None}},
               "errors": [refusal("resolver_crash", "No", "account", "countUsers")]}  # fmt: skip


async def test_a_domain_that_is_missing_is_that_of_the_job(opened: Opened) -> None:
    given: list[dict[str, Any]] = [{}, {"host": "localhost"}, {"domain": None}]
    async with opened(says(DONE)) as bench:
        for call in given:
            got = await bench.sent("account.registerUser", username="alice", password="p", **call)
            assert json.loads(got.body)["variables"]["domain"] == "localhost", call


async def test_unknown_names_and_missing_members_are_refused_unsent(opened: Opened) -> None:
    """The few values that MongooseIM would take, crash on, or print with a secret in them are refused, too."""
    rows: list[tuple[str, dict[str, Any], str]] = [
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
        # It would pass them on to clients, which end the connection.
        *(
            ("stanza.sendStanza", {"stanza": f"<message{odd}</message>"}, '"stanza" is not well-formed: ')
            for odd in ("><body>&#27;[31m</body>", " id='&#x1B;'>", "><body>&nbsp;</body>", "><x:y/>")
        ),
        (
            "roster.subscription",
            {"user": "alice@localhost", "contact": "b@localhost", "action": "hush INVITE"},
            '"action" must be one of INVITE, ACCEPT, DECLINE, CANCEL',
        ),
    ]
    async with opened(says(DONE)) as bench:
        for command, arguments, reason in rows:
            why = await refused_unsent(bench, command, **arguments)
            assert reason in why
            assert "hush" not in why


async def test_command_missing_at_server_or_login_is_refused_unsent(opened: Opened) -> None:
    message = {"from": "ann@localhost", "to": "bob@localhost", "body": "b", "id": "1"}
    rows: list[tuple[dict[str, str] | None, str, dict[str, str], str, str]] = [
        (None, "account.fly", {}, "UnknownCommand", "has no command account.fly"),
        ({"ServerVersion": "6.2.0"}, "blocklist.addUser", {}, "UnknownCommand", "admins have it since 6.6.0"),
        ({"Schema": "user"}, "account.registerUser", {}, "UnknownCommand", "for a user; admins have it since 6.0.0"),
        ({"Schema": "domain_admin"}, "stanza.sendMessage", message, "BadArgument", "'id', which stanza.sendMessage"),
    ]
    for options, command, given, code, words in rows:
        user = "admin@localhost" if options == {"Schema": "domain_admin"} else "bot@localhost"
        async with opened(says(DONE), options, Auth={"Basic": {"User": user, "Pass": "p"}}) as bench:
            outcome = await bench.deliver(command, **given)
            assert bench.server.received == [], (options, command)
        assert isinstance(outcome, Rejected), (options, command)
        assert (outcome.reason.code, words in outcome.reason.message) == (code, True), outcome.reason


async def test_a_registration_without_a_name_is_not_sent_twice(opened: Opened) -> None:
    async with opened(says(DONE)) as bench:
        outcome = await bench.deliver("account.registerUser", {"maybe_run": True}, password="p")
        assert bench.server.received == []
        assert isinstance(await bench.deliver("account.registerUser", password="p"), Delivered)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "Uncertain"


async def test_domain_of_a_crash_is_asked_about_from_then_on(opened: Opened) -> None:
    async with opened(says(CRASHED, CRASHED, WELL), Domain=None) as bench:
        assert (await bench.connector.probe(bench.link)).ok is False
        await bench.deliver("account.registerUser", username="alice", domain="b.example", password="p")
        await bench.connector.probe(bench.link)
        first, _, _, last = (json.loads(request.body) for request in bench.server.received)
    assert "countUsers" not in first["query"]
    assert last["variables"] == {"domain": "b.example"}


async def test_probe_distinguishes_a_healthy_server(opened: Opened) -> None:
    rows: list[tuple[Any, bool, bool, str]] = [
        (WELL, True, False, "MongooseIM 6.8.0-12-gabc answers"),
        (NO_DATABASE, False, False, "cannot reach its database"),
        ({"data": None, "errors": [refusal("internal", "Odd")]}, False, False, "Odd"),
        ({"data": {"checkAuth": {"authStatus": "UNAUTHORIZED"}}}, False, True, "not belong to an admin"),
        ({"data": {"checkAuth": WHO, "server": {"status": {"statusCode": "NOT_RUNNING"}}}}, False, False, "does not"),
        ({"data": {"checkAuth": WHO}, "errors": [refusal("domain_not_found")]}, True, False, "accepts the login"),
        (Answer(401, json.dumps({"errors": [refusal("wrong_credentials")]}).encode()), False, True, "refused"),
    ]
    for answer, ok, denied, detail in rows:
        async with opened(says(answer)) as bench:
            probe: Probe = await bench.connector.probe(bench.link)
        assert (probe.ok, probe.denied) == (ok, denied), (answer, ok)
        assert detail in probe.detail, (answer, ok)
        assert (probe.hint is None) == ok, (answer, ok)


async def test_the_version_that_the_probe_finds_chooses_the_operations(opened: Opened) -> None:
    old = {"status": {"statusCode": "RUNNING", "version": "6.2.1"}}
    async with opened(says({"data": {"checkAuth": WHO, "server": old, "account": {"countUsers": 1}}})) as bench:
        assert bench.connector.spec("blocklist.addUser") is not None
        assert (await bench.connector.probe(bench.link)).version == "6.2.1"
        assert bench.connector.spec("blocklist.addUser") is None


MESSAGE = {"from": "alice@localhost", "to": "bob@localhost", "body": "x"}


async def test_time_out_is_the_databases_only_if_the_server_says_so(opened: Opened) -> None:
    call = Call(Command("stanza.sendMessage", MESSAGE), host="localhost", timeout_s=0.25)
    for health in (*(Answer(200, json.dumps(data).encode()) for data in (NO_DATABASE, WELL)), Answer(401, b""), None):
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


REGISTER, REMOVE, SECRET = "account.registerUser", "account.removeUser", "s3cr3t-p4ssw0rd"


def failed(command: str, *errors: Json, data: Json = None) -> Json:
    category, _, name = command.partition(".")
    return {"data": data or {category: {name: None}}, "errors": list(errors)}


async def fate_of(opened: Opened, command: str, how: dict[str, Any], *answers: Any, **given: Any) -> Outcome:
    """What becomes of a command that is answered so."""
    async with opened(says(*answers)) as bench:
        outcome: Outcome = await bench.deliver(command, how, **given)
    return outcome


async def test_done_before_counts_if_every_error_says_so(opened: Opened) -> None:
    command, given = "muc.deleteRoom", {"room": "r@muc.localhost", "reason": "x"}
    rows: list[tuple[list[str], str]] = [
        (["room_not_found"], "Delivered already done"),
        (["room_not_found", "category_disabled"], "Rejected NotFound"),
    ]
    for codes, wanted in rows:
        said = failed(command, *map(refusal, codes))
        assert fate(await fate_of(opened, command, {"maybe_run": True}, said, **given)) == wanted, codes


async def test_whether_the_account_exists_says_what_a_refusal_means(opened: Opened) -> None:
    rows: list[tuple[str, str, bool, bool, str]] = [
        (REGISTER, "cannot_register", True, False, "Rejected AlreadyExists"),
        (REGISTER, "cannot_register", False, True, "Rejected Refused"),
        (REMOVE, "not_allowed", False, True, "Delivered already done"),
        (REMOVE, "not_allowed", False, False, "Rejected NotFound"),
    ]
    for command, code, exists, maybe_run, wanted in rows:
        given = {"user": "alice@localhost"} if command == REMOVE else {"username": "alice", "password": "p"}
        found = {"data": {"account": {"checkUser": {"exist": exists}}}}
        async with opened(says(failed(command, refusal(code)), found, WELL)) as bench:
            outcome = await bench.deliver(command, {"maybe_run": maybe_run}, **given)
            assert json.loads(bench.server.received[1].body)["variables"] == {"user": "alice@localhost"}, command
        assert fate(outcome) == wanted, (command, exists, maybe_run)


async def test_a_value_in_the_spelling_of_erlang_is_in_no_message(opened: Opened) -> None:
    """Erlang breaks long texts, and writes others as numbers: neither would be recognised as a message's text."""
    value = '<<"<message><body>one long text that goes on, and then">>,\n  <<"goes on. The reason it failed is: x">>'
    said = f"Input coercion failed for type XmlElement with value {value}. The reason it failed is: <<112,195,182>>"
    answer = Answer(400, json.dumps({"errors": [refusal("input_coercion", said)]}).encode())
    outcome = await fate_of(opened, "stanza.sendStanza", {}, answer, stanza="<message/>")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "BadArgument"
    assert "goes" not in outcome.reason.message
    assert outcome.reason.message.endswith("for type XmlElement. The reason it failed is: <<112,195,182>>")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Input coercion failed for type JID with value {}. The reason is: x", "failed for type JID. The reason is: x"),
        ("Input coercion failed for type JID with value {}", "Input coercion failed for type JID"),
        ("Cannot parse line 12 because of {}", "Cannot parse line 12"),
        ("{} is not present", ""),
    ],
)
async def test_a_long_message_is_masked_and_loses_its_quotes(opened: Opened, said: str, shown: str) -> None:
    """Also a secret that lies across the place where the text is cut, and a quote whose end is missing."""
    for quoted in (f"{'failed for type a with value ' * 15_000}{SECRET}", f"{'x ' * 10}{SECRET} " * 20_000):
        answer = Answer(400, json.dumps({"errors": [refusal("input_coercion", said.replace("{}", quoted))]}).encode())
        outcome = await fate_of(opened, REGISTER, {}, answer, username="alice", password=SECRET)
        assert isinstance(outcome, Rejected)
        assert SECRET[:6] not in repr(outcome)
        assert outcome.reason.message.endswith(shown)


async def test_a_module_that_is_not_loaded_is_named(opened: Opened) -> None:
    lacks = {"not_loaded_modules": ["mod_muc"], "not_loaded_services": []}
    said = failed("muc.deleteRoom", refusal("deps_not_loaded", "It is so", "muc", "deleteRoom", **lacks))
    outcome = await fate_of(opened, "muc.deleteRoom", {}, said, room="r@muc.localhost", reason="x")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.hint == "Load mod_muc in MongooseIM for that domain."


async def test_a_password_is_masked_in_what_was_answered(opened: Opened) -> None:
    """Also in the answer to a document of one's own, to what had been done before, and to what was done in part."""
    checked: Json = {"data": {"account": {"checkPassword": {"message": f"{SECRET} for alice@localhost"}}}}
    variables: Json = {"password": SECRET}
    error = refusal("exists", f"{SECRET} for alice@localhost and b4sic-s3cr3t")
    partly = failed(REGISTER, error, data={"account": {"registerUser": {}}})
    new = {"username": "alice", "password": SECRET}
    rows: list[tuple[str, dict[str, Any], Json, dict[str, Any]]] = [
        ("account.checkPassword", {}, checked, {"user": "alice@localhost", "password": SECRET}),
        ("graphql", {}, checked, {"query": "…", "variables": variables}),
        (REGISTER, {"maybe_run": True}, failed(REGISTER, error), new),
        (REGISTER, {"ok_if_exists": True}, failed(REGISTER, error), new),
        (REGISTER, {}, partly, new),
    ]
    for command, how, said, given in rows:
        outcome = await fate_of(opened, command, how, said, **given)
        assert isinstance(outcome, Delivered), (command, how)
        for text in (outcome.text, json.dumps(outcome.body)):
            assert "*** for alice@localhost" in text, (command, how)
            assert "s3cr3t" not in text, (command, how)


async def test_the_answer_to_a_document_that_names_a_password_is_whole(opened: Opened) -> None:
    said: Json = {"data": {"account": {"registerUser": {"message": "user registered", "jid": "bob@localhost"}}}}
    query = 'mutation { account { registerUser(username: "bob", password: "s3cret-pw") { message jid } } }'
    outcome = await fate_of(opened, "graphql", {}, said, query=query, variables={"domain": "localhost"})
    assert isinstance(outcome, Delivered)
    assert outcome.body == said


async def test_a_document_that_cannot_be_read_is_not_quoted(opened: Opened) -> None:
    for code, said in (
        ("scanner_error", 'Cannot scan line 1 because of illegal characters "s3cret) {'),
        ("parser_error", "Cannot parse line 1 because of syntax error before: s3cret"),
    ):
        answer = Answer(400, json.dumps({"errors": [{"message": said, "extensions": {"code": code}}]}).encode())
        outcome = await fate_of(opened, "graphql", {}, answer, query='{a(b: "s3cret) {c}}')
        assert isinstance(outcome, Rejected)
        assert "line 1" in outcome.reason.message
        assert "s3cret" not in repr(outcome)
