"""The kind mongooseim beside what a MongooseIM 6.8 was measured to answer."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered
from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from restbroker.store.replies import integer
from tests.servers import sides
from tests.servers.mongooseim import entry, exchanges, sent
from tests.servers.sides import Side, in_short
from tests.support import census, process
from tests.support.player import Player
from tests.support.receiver import Kind
from tests.support.shared import FAST_RETRIES
from tests.support.wait import until

ALICE, BOB = "alice@localhost", "bob@localhost"
JOBS = 200


Open = Callable[..., AbstractAsyncContextManager[Side]]


@pytest.fixture
def side(tmp_path: Path) -> Open:
    """Our side of a server."""
    return lambda server, **members: sides.opened(sides.target_of(tmp_path, entry(server, **members)))


async def test_an_account_is_made_and_a_message_sent(side: Open) -> None:
    password, body = 'p4ss "word"\n☂', 'a "q" \\n \n é {$x}'
    with Player(exchanges("account", "message", others={"p4ssw0rd!": password, "hello": body})) as server:
        async with side(server) as ours:
            made = await ours.do("account.registerUser", username="carol", password=password)
            assert isinstance(await ours.do("stanza.sendMessage", from_=ALICE, to=BOB, body=body), Delivered)
    assert isinstance(made, Delivered)
    assert json.loads(made.text)["data"]["account"]["registerUser"]["jid"] == "carol@localhost"


async def test_a_message_with_an_id_is_sent_as_a_stanza_that_keeps_it_and_answered_as_ever(side: Open) -> None:
    with Player(exchanges("message")) as server:
        async with side(server) as ours:
            sent_ = await ours.call("stanza.sendMessage", {"from": ALICE, "to": BOB, "body": "hello", "id": "m1"})
    assert isinstance(sent_, Delivered)
    assert json.loads(sent_.text)["data"]["stanza"]["sendMessage"] == {"id": "m1"}


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
    ("gdpr.retrievePersonalData", {"username": "nobody", "resultFilepath": "nobody.zip"}, "NotFound"),
    ("muc.createInstantRoom", {"room": "room@muc.other.example", "owner": ALICE, "nick": "alice"}, "UnknownHost"),
    ("stanza.sendStanza", {"stanza": f"<message to='{BOB}'/>"}, "BadArgument"),
    ("roster.addContact", {"user": ALICE, "contact": "nobody@localhost"}, "NotFound"),
    ("roster.deleteContact", {"user": ALICE, "contact": BOB}, "NotFound"),
    ("session.kickUserSession", {"user": f"{ALICE}/x"}, "NotFound"),
    ("domain.addDomain", {"domain": "localhost", "hostType": "localhost"}, "AlreadyExists"),
    ("domain.addDomain", {"domain": "b.example", "hostType": "none"}, "BadArgument"),
    ("domain.removeDomain", {"domain": "b.example", "hostType": "localhost"}, "NotFound"),
]


async def test_refusals(side: Open) -> None:
    wrong = []
    with Player(exchanges("refusals")) as server:
        async with side(server) as ours:
            for command, arguments, code in REFUSED:
                outcome = await ours.call(command, arguments)
                if in_short(outcome) != f"Rejected {code}":
                    wrong.append((command, code, outcome))
    assert not wrong


async def test_a_domain_admin_rules_their_own_domain_alone(side: Open) -> None:
    login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
    with Player(exchanges("domain_admin")) as server:
        async with side(server, Auth=login, Domain=None, Options={"Schema": "domain_admin"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("account.registerUser", username="x", password="p"), Delivered)
            foreign = await ours.do("account.registerUser", username="x", domain="b.example", password="p")
            assert in_short(foreign) == "Rejected CommandForbidden"
            assert in_short(await ours.do("server.status")) == "Rejected UnknownCommand"


async def test_domain_admins_without_a_database_of_domains_wait(side: Open) -> None:
    login = {"Basic": {"User": "admin@localhost", "Pass": "d0main"}}
    with Player(exchanges("domain_admin_without_database")) as server:
        async with side(server, Auth=login, Options={"Schema": "domain_admin"}) as ours:
            outcome = await ours.do("account.registerUser", username="x", password="p")
            assert isinstance(outcome, Deferred)
            assert (outcome.pause_target, outcome.counts) == (True, False)
            assert "service_domain_db" in ((await ours.probe()).hint or "")


async def test_a_user_sends_in_their_own_name(side: Open) -> None:
    login = {"Basic": {"User": ALICE, "Pass": "secret"}}
    with Player(exchanges("user")) as server:
        async with side(server, Auth=login, Options={"Schema": "user"}) as ours:
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("stanza.sendMessage", to=BOB, body="hi"), Delivered)
            foreign = await ours.do("stanza.sendMessage", from_=BOB, to=ALICE, body="hi")
            assert in_short(foreign) == "Rejected BadArgument"


async def test_a_database_that_is_away_holds_jobs_back_until_it_is_there(side: Open) -> None:
    answers = exchanges("database_away")
    with Player(answers) as server:
        async with side(server) as ours:
            outcome = await ours.do("account.registerUser", username="carol", password="p4ssw0rd!")
            assert isinstance(outcome, Deferred)
            assert (outcome.reason.code, outcome.counts, outcome.pause_target) == ("DatabaseAway", False, True)
            assert (await ours.probe()).ok is False
            answers += exchanges("health", "account")
            assert (await ours.probe()).ok
            assert isinstance(await ours.do("account.registerUser", username="carol", password="p4ssw0rd!"), Delivered)


MEETS_DATABASE = pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("stanza.sendMessage", {"from": ALICE, "to": BOB, "body": "hello"}),
        ("token.revokeToken", {"user": ALICE}),
    ],
)


@MEETS_DATABASE
async def test_what_a_server_without_its_database_says_of_a_job_that_may_have_run_is_no_answer(
    side: Open, command: str, arguments: dict[str, Json]
) -> None:
    with Player(exchanges("database_away")) as server:
        async with side(server) as ours:
            outcome = await ours.call(command, arguments, maybe_run=True)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.counts, outcome.pause_target) == ("DatabaseAway", False, True)


async def test_a_connection_that_the_server_ends_with_an_answer_is_not_used_again(side: Open) -> None:
    with Player(exchanges("last_of_a_connection")) as server:
        async with side(server) as ours:
            for _ in range(3):
                assert isinstance(await ours.do("account.checkUser", user=ALICE), Delivered)
    assert server.connections == 2


Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, redis_url: str) -> Place:
    """Write an env.json for a server and the run's Redis, and return its folder."""

    def write(server: Player, **members: Any) -> Path:
        targets = {"chat": entry(server, Concurrency=10, **members)}
        document = {"RedisURL": redis_url, "Token": "t", "Backoff": FAST_RETRIES, "Targets": targets}
        (tmp_path / "env.json").write_text(json.dumps(document))
        return tmp_path

    return write


def test_the_shell_makes_an_account_and_sends_a_message(place: Place) -> None:
    answers = exchanges("health", "account") + exchanges("message", others={ALICE: "carol@localhost"})
    with Player(answers) as server:
        folder = place(server)
        (folder / "pw").write_text("p4ssw0rd!\n")
        with process.started(["run"], directory=folder) as broker:
            broker.wait_for("MongooseIM|started|running")
            made = process.run(
                ["enqueue", "--wait", "account.registerUser", "username=carol", "domain=localhost", "password=@pw"],
                directory=folder,
            )
            assert made.returncode == 0, made.stderr
            words = ["stanza.sendMessage", "from=carol@localhost", f"to={BOB}", "body=hello"]
            message = process.run(["enqueue", "--wait", *words], directory=folder)
            assert message.returncode == 0, message.stderr
            words = ["account.registerUser", "username=carol", "password=@pw"]
            twice = process.run(["enqueue", "--wait", *words], directory=folder)
            assert (twice.returncode, twice.stderr.splitlines()[-3].partition(":")[0]) == (1, "AlreadyExists")
            assert "p4ssw0rd" not in broker.output()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["server/stop"], 4, 'with "dangerous:server.stop" in its Allow'),
        (["account.registerUsr"], 2, "did you mean account.registerUser"),
    ],
)
def test_the_shell_refuses(place: Place, words: list[str], status: int, told: str) -> None:
    done = process.run(["enqueue", *words], directory=place(Player([])))
    assert done.returncode == status
    assert told in done.stderr


def registration(number: int) -> bytes:
    """A job that makes an account."""
    args = ["account.registerUser", {"username": f"u{number}", "domain": "localhost", "password": "p4ssw0rd!"}, "t"]
    return json.dumps({"class": "Add", "args": args, "jid": f"{number:024}", "retry": True}).encode()


@pytest.mark.nightly
def test_every_account_is_made_though_the_server_dies_in_the_middle(place: Place, redis_url: str) -> None:
    jobs = [registration(number) for number in range(JOBS)]
    # Made, and then there already: with nothing lost by Mnesia, which a broker could not help.
    made = [one for number in range(JOBS) for one in exchanges("account", others={"carol": f"u{number}"})]
    with Player(exchanges("health") + made) as server, closing(open_client(StoreSettings(redis_url))) as client:
        queues.push(client, "mim", jobs)

        def done() -> int:
            return JOBS - census.unfinished(client, ["mim"]).total()

        with process.started(["run"], directory=place(server)) as broker:
            until(lambda: done() > JOBS // 10, "some are done", 60.0)
            server.kill()
            server.start()
            until(lambda: done() == JOBS, "all are done", 120.0)
            assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
    assert {one["username"] for one in sent(server, "registerUser")} == {f"u{number}" for number in range(JOBS)}


@pytest.mark.nightly
@MEETS_DATABASE
def test_one_job_alone_whose_database_is_away_waits_until_it_is_there(
    place: Place, redis_url: str, command: str, arguments: dict[str, str]
) -> None:
    operation = command.partition(".")[2]
    job = {"class": "A", "jid": "j1", "queue": "mim", "args": [command, arguments, "t"]}
    away, well = exchanges("database_away")[:1], exchanges("health")
    answers = exchanges("health", "message", "token")
    with (
        Player(answers) as server,
        closing(open_client(StoreSettings(redis_url))) as client,
        process.started(["run"], directory=place(server, RequestTimeout="1s")) as broker,
    ):
        broker.wait_for(r"target\.found")
        answers += away
        server.faults.add(Kind.HANG, f"*{operation}*")
        queues.push(client, "mim", [json.dumps(job).encode()])
        broker.wait_for("DatabaseAway")
        asked = len(sent(server, "checkAuth"))
        until(lambda: len(sent(server, "checkAuth")) > asked + 3, "it was asked how it is", 60.0)
        assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
        assert len(sent(server, operation)) == 1
        answers += well
        until(lambda: census.unfinished(client, ["mim"]).total() == 0, "it is done", 60.0)
        assert integer(client.command("ZCARD", "dead")) == 0, broker.output()
        server.faults.release()
    assert len(sent(server, operation)) == 2
