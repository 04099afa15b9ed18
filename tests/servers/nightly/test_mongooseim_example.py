"""examples/mongooseim as it stands there, step by step: RabbitMQ, Redis and Sidekiq are real, MongooseIM is played.

Only ports, folders and the address of Redis are others than in the example; secrets are filled in as its README says.
"""

import contextlib
import json
import sqlite3
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from pika.exceptions import ChannelClosedByBroker

from dev.tools.pages import ROOT
from tests.servers.mongooseim import PATH, exchanges, sent
from tests.support.example import assert_well, moved, with_secrets
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.mongooseim.push_sns import SnsPusher
from tests.support.player import Player
from tests.support.ports import free_port
from tests.support.process import Running, run, started
from tests.support.rabbitmq import RabbitMQ
from tests.support.redis_server import RedisServer
from tests.support.ruby import environment
from tests.support.sidekiq_process import sidekiq_command
from tests.support.wait import until
from tests.transport.authority import authority

EXAMPLE: Final = ROOT / "examples" / "mongooseim"
ENV: Final[dict[str, Any]] = json.loads((EXAMPLE / "env.json").read_text("utf-8"))
SECRETS: Final = ("token", "graphql_password", "sns_secret", "hook_secret")
SOURCES: Final[dict[str, Any]] = ENV["Events"]["Sources"]
TOPICS: Final = {"presence": "presence_updates", "chat": "pm_messages", "groupchat": "muc_messages"}
IN_THE_BACKGROUND_S: Final = 180.0


def fragment(name: str) -> dict[str, Any]:
    return tomllib.loads((EXAMPLE / name).read_text("utf-8"))


def sns_fragment() -> dict[str, Any]:
    found = fragment("events-sns.toml")["modules"]["mod_event_pusher"]["sns"]
    assert isinstance(found, dict)
    return found


def http_fragment() -> tuple[dict[str, Any], str]:
    """How the pool is connected, and the handler's path."""
    found = fragment("events-http.toml")
    [handler] = found["modules"]["mod_event_pusher"]["http"]["handlers"]
    return found["outgoing_pools"]["http"][handler["pool_name"]]["connection"], handler["path"]


@attrs.frozen
class Place:
    """A machine on which the README was followed, but for starting anything."""

    env: Path
    ports: dict[str, int]
    secrets: Mapping[str, str]
    ca: Path


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A real one, with the exchanges that events-rabbit.toml has MongooseIM make."""
    said = fragment("events-rabbit.toml")["modules"]["mod_event_pusher"]["rabbit"]
    server = RabbitMQ(tmp_path_factory.mktemp("rabbit")).start()
    for exchange in said.values():
        server.declare(exchange["name"], durable=exchange["durable"])
    yield server
    server.kill()


@pytest.fixture
def place(tmp_path: Path, redis_server: RedisServer, rabbit: RabbitMQ) -> Place:
    made, ports = with_secrets(tmp_path, SECRETS), {name: free_port() for name in ("5551", "8443")}
    ours = authority(tmp_path)
    for made_file, name in zip(ours.pair("server"), ("cert.pem", "key.pem"), strict=True):
        made_file.rename(tmp_path / name)
    (tmp_path / "rabbitmq_url").write_text(rabbit.url())
    (tmp_path / "env.json").write_text(moved(EXAMPLE / "env.json", tmp_path, redis_server.url, ports))
    return Place(tmp_path / "env.json", ports, made, ours.ca)


@pytest.fixture
def server(place: Place) -> Iterator[Player]:
    """As graphql.toml has it."""
    handler = fragment("graphql.toml")["listen"]["http"][0]["handlers"]["mongoose_graphql_handler"][0]
    assert (handler["path"], handler["schema_endpoint"]) == (PATH, "admin")
    others = {"carol": "alice", "p4ssw0rd!": 'alice "s" password'}
    user, password = handler["username"], place.secrets["graphql_password"]
    answers = exchanges("health", "account", "message", others=others, user=user, password=password)
    with Player(answers, port=place.ports["5551"]) as server:
        yield server
    assert {request.headers["host"].partition(":")[0] for request in server.requests} == {handler["host"]}


@pytest.fixture
def broker(place: Place, server: Player, rabbit: RabbitMQ, tmp_path: Path) -> Iterator[Running]:
    with started(["run", "--config", str(place.env)], directory=tmp_path / "broker") as running:
        running.wait_for("broker.started", timeout_s=IN_THE_BACKGROUND_S)
        running.wait_for("target.found target=mongooseim", timeout_s=IN_THE_BACKGROUND_S)
        until(lambda: readers(rabbit) == 1, "RabbitMQ is read from", IN_THE_BACKGROUND_S)
        yield running
        running.stop()


def readers(rabbit: RabbitMQ) -> int:
    """How many read from the queue of the source."""
    with rabbit.channel() as channel:
        try:
            return int(channel.queue_declare("restbroker.rabbitmq", passive=True).method.consumer_count)
        except ChannelClosedByBroker:
            return 0


@pytest.fixture
def sns(place: Place) -> Iterator[SnsPusher]:
    """As events-sns.toml has it."""
    said = sns_fragment()
    host, _, port = said["sns_host"].partition(":")
    topics = {kind: said[f"{name}_topic"] for kind, name in TOPICS.items()}
    with SnsPusher(
        f"{host}:{place.ports[port]}",
        said["access_key_id"],
        said["secret_access_key"].replace("SNS-SECRET", place.secrets["sns_secret"]),
        str(place.ca),
        topics,
        said["region"],
        said["account_id"],
        said["publish_retry_count"],
        said["publish_retry_time_ms"],
    ) as pusher:
        yield pusher


@pytest.fixture
def hook(place: Place) -> Iterator[HttpPusher]:
    """As events-http.toml has it."""
    connection, path = http_fragment()
    scheme, _, address = connection["host"].partition("://")
    host, _, port = address.partition(":")
    assert (scheme, connection["tls"]["verify_mode"]) == ("https", "peer")
    whole = connection["path_prefix"] + path.replace("HOOK-SECRET", place.secrets["hook_secret"])
    # Not its request_timeout: a machine that has no time would lose what it should show.
    with HttpPusher(place.ports[port], whole, host, str(place.ca), timeout_s=IN_THE_BACKGROUND_S) as pusher:
        yield pusher


def enqueue(place: Place, *words: str) -> None:
    done = run(["enqueue", "--config", str(place.env), *words], directory=place.env.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_restbroker_loads_checks_and_runs_it_without_a_note(place: Place, server: Player, broker: Running) -> None:
    assert_well(place.env)
    (place.env.parent / "password_file").write_text('alice "s" password')
    enqueue(place, "--wait", "account.registerUser", "username=alice", "domain=localhost", "password=@password_file")
    enqueue(place, "--wait", "stanza.sendMessage", "from=alice@localhost", "to=bob@localhost", "body=hello")
    assert (len(sent(server, "registerUser")), len(sent(server, "sendMessage"))) == (1, 1)


def publish(rabbit: RabbitMQ, sender: str, to: str, text: str) -> None:
    """Publish a message of a local user as `mod_event_pusher.rabbit` does: sent, and routed to one."""
    payload = {"to_user_id": to, "from_user_id": sender, "message": text}
    for user, what in ((sender, "sent"), (to, "recv")):
        rabbit.publish("chat_msg", f"{user.partition('/')[0]}.chat_msg_{what}", payload)


def test_events_end_in_the_table_of_the_sql_worker(
    place: Place, broker: Running, sns: SnsPusher, hook: HttpPusher, rabbit: RabbitMQ, redis_server: RedisServer
) -> None:
    database = place.env.parent / "events.sqlite3"
    environ = environment(redis_server.url, extra={"EVENTS_DB": str(database)})
    arguments = ["-r", str(EXAMPLE / "sql_worker.rb"), "-q", "xmpp_events"]
    with started(arguments, directory=place.env.parent, environ=environ, command=[sidekiq_command()]) as worker:
        hook.push("alice", "localhost", "bob", "posted")
        ids = {"from_user_id": "a@b", "to_user_id": "c@d"}
        sns.publish("chat", {**ids, "message": "published"})
        sns.publish("groupchat", {**ids, "message": "to all"})
        sns.publish("presence", {"user_id": "a@b", "present": False})
        # What is routed to the room and to each occupant is no second event.
        for key in ("a@b.groupchat_msg_sent", "c@d.groupchat_msg_recv", "a@b.groupchat_msg_recv"):
            rabbit.publish("groupchat_msg", key, {**ids, "message": "to all"})
        rabbit.publish("presence", "a@b", {"user_id": "a@b/PC", "present": True})
        publish(rabbit, "a@b", "c@d", "carried")
        until(lambda: len(rows(database)) >= 7, "a row of each is there", IN_THE_BACKGROUND_S)
        worker.stop()
    assert sorted(rows(database)) == [
        ("http", "message", "posted"),
        ("rabbitmq", "groupchat", "to all"),
        ("rabbitmq", "message", "carried"),
        ("rabbitmq", "presence", ""),
        ("sns", "groupchat", "to all"),
        ("sns", "message", "published"),
        ("sns", "presence", ""),
    ]


def rows(database: Path) -> list[Any]:
    if not database.exists():
        return []
    with contextlib.closing(sqlite3.connect(database)) as table:
        try:
            return table.execute("SELECT source, type, ifnull(body, '') FROM events").fetchall()
        except sqlite3.OperationalError:
            return []  # no table yet
