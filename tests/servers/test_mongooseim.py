"""The kind mongooseim against the stand-in for its GraphQL endpoints, which errs as a real one was measured to."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered
from restbroker.servers.mongooseim import schema
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import integer
from tests.servers import sides
from tests.servers.sides import Side, in_short
from tests.support import census, process
from tests.support.mongooseim.server import MongooseIM
from tests.support.mongooseim.world import Domain
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

ALICE, BOB = "alice@localhost", "bob@localhost"
JOBS = 200


Open = Callable[..., AbstractAsyncContextManager[Side]]


def entry(server: MongooseIM, **members: Any) -> dict[str, Any]:
    """The target of this server in env.json."""
    return {
        "Kind": "mongooseim",
        "URL": server.url,
        "Domain": "localhost",
        "Auth": {"Basic": {"User": server.user, "Pass": server.password}},
        "Queues": ["mim"],
        **members,
    }


@pytest.fixture
def mim() -> Iterator[MongooseIM]:
    with MongooseIM() as server:
        server.world.register(ALICE, BOB)
        yield server


@pytest.fixture
def side(tmp_path: Path) -> Open:
    """Our side of a server."""
    return lambda server, **members: sides.opened(sides.target_of(tmp_path, entry(server, **members)))


async def test_an_account_is_made_and_a_message_sent(side: Open, mim: MongooseIM) -> None:
    async with side(mim) as ours:
        made = await ours.do("account.registerUser", username="carol", password='p4ss "word"\n☂')
        sent = await ours.do("stanza.sendMessage", from_=ALICE, to=BOB, body='a "q" \\n \n é {$x}')
    assert isinstance(made, Delivered)
    assert json.loads(made.text)["data"]["account"]["registerUser"]["jid"] == "carol@localhost"
    assert mim.world.accounts["carol@localhost"] == 'p4ss "word"\n☂'
    assert isinstance(sent, Delivered)
    (message,) = mim.world.messages
    assert (str(message.sender), message.body) == (ALICE, 'a "q" \\n \n é {$x}')


async def test_every_operation_of_the_catalogue_is_understood(side: Open, mim: MongooseIM) -> None:
    """What the schema refuses has a 400; whatever else is said, the operation was found with its arguments."""
    ends = {"server.stop", "server.restart"}
    operations = {name: found for name, found in schema.operations("admin", "6.8.0").items() if name not in ends}
    wrong = {}
    async with side(mim) as ours:
        for name, operation in operations.items():
            for optional in (False, True):
                taken = {key: kind for key, kind in operation.arguments.items() if kind.required or optional}
                outcome = await ours.call(name, {key: example(kind) for key, kind in taken.items()})
                if (outcome.status if isinstance(outcome, Delivered) else outcome.reason.status) != 200:
                    wrong[name, optional] = outcome
    assert not wrong
    assert set(mim.operations) - {"checkAuth.checkAuth"} >= set(operations) - {"checkAuth"}


def example(kind: schema.Type) -> Json:
    """A value of this type."""
    if kind.item is not None:
        return [example(kind.item)]
    if (fields := schema.fields_of_input(kind.name)) is not None:
        return {name: example(field) for name, field in fields.items() if field.required or name == "action"}
    if names := schema.names_of_enum(kind.name):
        return names[0]
    return EXAMPLES.get(kind.name, "text")


EXAMPLES: dict[str, Json] = {
    "JID": ALICE,
    "BareJID": "room@muc.localhost",
    "FullJID": f"{ALICE}/x",
    "DomainName": "localhost",
    "Int": 1,
    "PosInt": 1,
    "NonNegInt": 0,
    "Boolean": True,
    "NodeName": "a@b",
    "DateTime": "2026-01-01T00:00:00Z",
    "XmlElement": f"<message from='{ALICE}' to='{BOB}'><body>x</body></message>",
}


REFUSED: list[tuple[str, dict[str, Json], str]] = [
    ("account.registerUser", {"username": "alice", "password": "p"}, "AlreadyExists"),
    ("account.registerUser", {"username": "x", "domain": "other.example", "password": "p"}, "Refused"),
    ("account.registerUser", {"username": "x", "password": ""}, "BadArgument"),
    ("account.removeUser", {"user": "nobody@localhost"}, "NotFound"),
    ("account.changeUserPassword", {"user": "nobody@localhost", "newPassword": "x"}, "Refused"),
    ("account.banUser", {"user": "nobody@localhost", "reason": "x"}, "NotFound"),
    ("account.checkPassword", {"user": "nobody@localhost", "password": "x"}, "NotFound"),
    ("account.countUsers", {"domain": "other.example"}, "UnknownHost"),
    ("stanza.sendMessage", {"from": "nobody@localhost", "to": BOB, "body": "x"}, "NotFound"),
    ("stanza.sendStanza", {"stanza": f"<message to='{BOB}'/>"}, "BadArgument"),
    ("roster.addContact", {"user": ALICE, "contact": "nobody@localhost"}, "NotFound"),
    ("roster.deleteContact", {"user": ALICE, "contact": BOB}, "NotFound"),
    ("session.kickUserSession", {"user": f"{ALICE}/x"}, "NotFound"),
    ("domain.addDomain", {"domain": "localhost", "hostType": "localhost"}, "AlreadyExists"),
    ("domain.addDomain", {"domain": "b.example", "hostType": "none"}, "BadArgument"),
    ("domain.removeDomain", {"domain": "b.example", "hostType": "localhost"}, "NotFound"),
]


async def test_refusals(side: Open, mim: MongooseIM) -> None:
    wrong = []
    async with side(mim) as ours:
        for command, arguments, code in REFUSED:
            outcome = await ours.call(command, arguments)
            if in_short(outcome) != f"Rejected {code}":
                wrong.append((command, code, outcome))
    assert not wrong


async def test_a_domain_admin_rules_his_own_domain_alone(side: Open) -> None:
    with MongooseIM(endpoint="domain_admin") as server:
        server.world.domains["localhost"].password = "d0main"
        server.world.domains["b.example"] = Domain()
        login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
        async with side(server, Auth=login, Domain=None, Options={"Schema": "domain_admin"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("account.registerUser", username="x", password="p"), Delivered)
            foreign = await ours.do("account.registerUser", username="x", domain="b.example", password="p")
            assert in_short(foreign) == "Rejected CommandForbidden"
            assert in_short(await ours.do("server.status")) == "Rejected UnknownCommand"


async def test_domain_admins_without_a_database_of_domains_wait(side: Open) -> None:
    with MongooseIM(endpoint="domain_admin", unloaded={"service_domain_db"}) as server:
        login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
        async with side(server, Auth=login, Options={"Schema": "domain_admin"}) as ours:
            outcome = await ours.do("account.registerUser", username="x", password="p")
            assert isinstance(outcome, Deferred)
            assert (outcome.pause_target, outcome.counts) == (True, False)
            assert "service_domain_db" in ((await ours.probe()).cure or "")


async def test_a_user_sends_in_his_own_name(side: Open) -> None:
    with MongooseIM(endpoint="user") as server:
        server.world.register(ALICE, BOB)
        login = {"Basic": {"User": ALICE, "Pass": "secret"}}
        async with side(server, Auth=login, Options={"Schema": "user"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("stanza.sendMessage", to=BOB, body="hi"), Delivered)
            foreign = await ours.do("stanza.sendMessage", from_=BOB, to=ALICE, body="hi")
            assert in_short(foreign) == "Rejected BadArgument"
        assert [str(message.sender).partition("/")[0] for message in server.world.messages] == [ALICE]


async def test_a_database_that_is_away_holds_jobs_back_until_it_is_there(side: Open, mim: MongooseIM) -> None:
    mim.faults.database_away = True
    async with side(mim) as ours:
        outcome = await ours.do("account.registerUser", username="x", password="p")
        assert isinstance(outcome, Deferred)
        assert (outcome.reason.code, outcome.counts, outcome.pause_target) == ("DatabaseAway", False, True)
        assert (await ours.probe()).ok is False
        mim.faults.database_away = False
        # It crashes once more.
        assert (await ours.probe()).ok is False
        assert (await ours.probe()).ok
        assert isinstance(await ours.do("account.registerUser", username="x", password="p"), Delivered)


async def test_a_connection_ends_after_a_thousand_requests_and_nobody_notices(side: Open, mim: MongooseIM) -> None:
    async with side(mim) as ours:
        for _ in range(1001):
            assert isinstance(await ours.do("account.checkUser", user=ALICE), Delivered)
    assert mim.connections == 2


Shell = Callable[..., CompletedProcess[str]]


@pytest.fixture
def place(tmp_path: Path, redis_url: str, mim: MongooseIM) -> Path:
    """A folder with an env.json for the server and the run's Redis."""
    document = {
        "RedisURL": redis_url,
        "Token": "t",
        "Backoff": FAST_RETRIES,
        "Targets": {"chat": entry(mim, Concurrency=10)},
    }
    (tmp_path / "env.json").write_text(json.dumps(document))
    return tmp_path


def test_the_shell_makes_an_account_and_sends_a_message(place: Path, mim: MongooseIM) -> None:
    (place / "pw").write_text("p4ssw0rd!\n")
    with process.started(["run"], directory=place) as broker:
        broker.wait_for("MongooseIM|started|running")
        made = process.run(
            ["enqueue", "--wait", "account.registerUser", "username=carol", "domain=localhost", "password=@pw"],
            directory=place,
        )
        assert made.returncode == 0, made.stderr
        sent = process.run(
            ["enqueue", "--wait", "stanza", "sendMessage", "from=carol@localhost", f"to={BOB}", "body=hello"],
            directory=place,
        )
        assert sent.returncode == 0, sent.stderr
        words = ["account registerUser", "username=carol", "password=@pw"]
        twice = process.run(["enqueue", "--wait", *words], directory=place)
        assert (twice.returncode, twice.stderr.splitlines()[-2].partition(":")[0]) == (1, "AlreadyExists")
        assert "p4ssw0rd" not in broker.output()
    assert mim.world.accounts["carol@localhost"] == "p4ssw0rd!"
    assert [(str(one.sender), one.body) for one in mim.world.messages] == [("carol@localhost", "hello")]


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["server/stop"], 4, 'add "dangerous:server.stop" to the token\'s Allow'),
        (["account.registerUsr"], 2, "did you mean account.registerUser"),
    ],
)
def test_the_shell_refuses(place: Path, words: list[str], status: int, told: str) -> None:
    done = process.run(["enqueue", *words], directory=place)
    assert done.returncode == status
    assert told in done.stderr


def registration(number: int) -> bytes:
    """A job that makes an account."""
    args = ["account.registerUser", {"username": f"u{number}", "domain": "localhost", "password": "p"}, "t"]
    return json.dumps({"class": "Add", "args": args, "jid": f"{number:024}", "retry": True}).encode()


def test_every_account_is_made_though_the_server_dies_in_the_middle(
    place: Path, redis_url: str, mim: MongooseIM
) -> None:
    jobs = [registration(number) for number in range(JOBS)]
    with closing(open_client(StoreSettings(redis_url))) as client:
        queues.push(client, "mim", jobs)

        def done() -> int:
            return JOBS - census.unfinished(client, ["mim"]).total()

        with process.started(["run"], directory=place) as broker:
            until(lambda: done() > JOBS // 10, "some are done", 60.0)
            # With nothing lost by Mnesia, which a broker could not help.
            mim.kill()
            mim.start()
            until(lambda: done() == JOBS, "all are done", 120.0)
            assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
    assert {f"u{number}@localhost" for number in range(JOBS)} <= set(mim.world.accounts)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("stanza.sendMessage", {"from": ALICE, "to": BOB, "body": "hello"}),
        ("token.revokeToken", {"user": ALICE}),
    ],
)
def test_one_job_alone_whose_database_is_away_waits_though_the_server_takes_the_error_for_an_answer(
    place: Path, redis_url: str, mim: MongooseIM, command: str, arguments: dict[str, str]
) -> None:
    document = json.loads((place / "env.json").read_text())
    document["Targets"]["chat"]["RequestTimeout"] = "1s"
    (place / "env.json").write_text(json.dumps(document))
    job = {"class": "A", "jid": "j1", "queue": "mim", "args": [command, arguments, "t"]}
    with closing(open_client(StoreSettings(redis_url))) as client, process.started(["run"], directory=place) as broker:
        broker.wait_for(r"target\.found")
        mim.faults.database_away, mim.faults.silent = True, 2
        queues.push(client, "mim", [json.dumps(job).encode()])
        broker.wait_for("DatabaseAway")
        asked = mim.operations.count("checkAuth")
        until(lambda: mim.operations.count("checkAuth") > asked + 3, "it was asked how it is", 60.0)
        assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
        assert mim.operations.count(command) == 1
        mim.faults.database_away, mim.faults.silent = False, 0
        until(lambda: census.unfinished(client, ["mim"]).total() == 0, "it is done", 60.0)
        assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
    assert mim.operations.count(command) == 2
