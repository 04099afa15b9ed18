"""The set-up pages of MongooseIM and Openfire as a reader follows them, on a terminal beside a broker.

No distribution packages these servers: they are played by what they were recorded to answer. Only ports and folders are
others than on the page; of a page about events the target is that of the server's other page.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from dev.tools.pages import ROOT, blocks
from tests.docs.nightly.surroundings import REDIS
from tests.servers.mongooseim import PATH, exchanges, sent
from tests.servers.nightly.page_reader import assert_prints, reader, steps
from tests.servers.openfire_rest import named
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.mongooseim.push_sns import SnsPusher
from tests.support.openfire_chat.server import Openfire
from tests.support.player import Exchange, Player, recorded
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.transport.authority import authority

PAGES: Final = ROOT / "docs" / "servers"
DOMAIN: Final = "example.org"
SECRETS: Final = dict.fromkeys(("token", "mongooseim", "openfire"), "secret")
COUNT: Final = "query($domain:DomainName!){account{countUsers(domain:$domain)}}"
HOOK: Final = "127.0.0.1:8081"
SNS_SECRET: Final = "a secret of 64 letters".ljust(64, "-")


def page(name: str) -> Path:
    return PAGES / f"{name}.md"


def env_of(name: str) -> dict[str, Any]:
    """Return the page's env.json."""
    [env] = [json.loads(block) for block in blocks(page(name), "json")]
    assert isinstance(env, dict)
    return env


def events_of(name: str, target: str) -> dict[str, Any]:
    """Return env.json of the target's page with the events of this page."""
    return {**env_of(target), "Events": env_of(name)["Events"]}


def toml_of(name: str) -> dict[str, Any]:
    [block] = blocks(page(name), "toml")
    return tomllib.loads(block)


def mongooseim_answers() -> list[Exchange]:
    """Return what MongooseIM says of itself, of a message to anybody, and how many accounts it has."""
    others = {"localhost": DOMAIN}
    [message] = [exchange for exchange in exchanges("message") if exchange.about == "sent"]
    health = exchanges("health", others=others)
    [well] = [exchange for exchange in health if exchange.about == "the server is well"]
    count = json.dumps({"query": COUNT, "variables": {"domain": DOMAIN}})
    # Recorded is the number among others that one question asks for.
    answer = json.dumps({"data": {"account": json.loads(well.answer)["data"]["account"]}}, separators=(",", ":"))
    counted = Exchange("POST", PATH, 200, answer, body=count)
    return [*health, counted, attrs.evolve(message, body=None)]


def pushed_to_hook(message: Mapping[str, Any], port: int) -> None:
    """Push the message as the page of HTTP has MongooseIM do it."""
    said = toml_of("mongooseim-events")
    [handler] = said["modules"]["mod_event_pusher"]["http"]["handlers"]
    connection = said["outgoing_pools"]["http"][handler["pool_name"]]["connection"]
    assert connection["host"] == f"http://{HOOK}"
    with HttpPusher(port, connection["path_prefix"] + handler["path"]) as pusher:
        author, _, server = message["from"].partition("@")
        assert pusher.push(author, server, message["to"].partition("@")[0], message["body"])


def published(message: Mapping[str, Any], port: int, ca: Path) -> None:
    """Publish the message as the page of SNS has MongooseIM do it."""
    said = toml_of("mongooseim-sns")["modules"]["mod_event_pusher"]["sns"]
    topics = {"chat": said["pm_messages_topic"]}
    with SnsPusher(
        f"localhost:{port}",
        said["access_key_id"],
        said["secret_access_key"].replace("SNS-SECRET", SNS_SECRET),
        str(ca),
        topics,
        said["region"],
        said["account_id"],
        said["publish_retry_count"],
        said["publish_retry_time_ms"],
    ) as pusher:
        users = {"from_user_id": message["from"], "to_user_id": message["to"]}
        pusher.publish("chat", {**users, "message": message["body"]})
        pusher.wait()


@pytest.fixture
def mongooseim() -> Iterator[Player]:
    with Player(mongooseim_answers()) as server:
        yield server


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    with Openfire(heartbeat_s=0.2) as server:
        server.state.register("romeo", "juliet", "ann", "bob", "visitor")
        server.state.befriend("romeo", "juliet")
        yield server


def assert_page_prints(
    name: str, env: Mapping[str, Any], place: Path, addresses: Mapping[str, str], **more: str
) -> None:
    """Fail unless the page's one command prints what it shows. `more`: further files."""
    [step] = steps(page(name))
    with reader(place, env, addresses, {**SECRETS, **more}) as at:
        assert_prints(at, step)


def test_mongooseims_page_shows_what_its_command_prints(
    mongooseim: Player, redis_server: RedisServer, tmp_path: Path
) -> None:
    said = toml_of("mongooseim")["listen"]["http"][0]
    handler = said["handlers"]["mongoose_graphql_handler"][0]
    env = env_of("mongooseim")
    [target] = env["Targets"].values()
    assert target["URL"] == f"http://{handler['host']}:{said['port']}{handler['path']}"
    assert target["Auth"]["Basic"]["User"] == handler["username"]
    addresses = {"localhost:5551": f"localhost:{mongooseim.port}", REDIS: redis_server.url}
    assert_page_prints("mongooseim", env, tmp_path, addresses)


def test_page_of_sns_has_the_lines_of_the_example() -> None:
    ours = toml_of("mongooseim-sns")["modules"]["mod_event_pusher"]["sns"]
    example = tomllib.loads((ROOT / "examples/mongooseim/events-sns.toml").read_text("utf-8"))
    theirs = example["modules"]["mod_event_pusher"]["sns"]
    assert {**ours, "sns_host": theirs["sns_host"]} == theirs


@pytest.mark.parametrize(("name", "listens"), [("mongooseim-events", HOOK), ("mongooseim-sns", "0.0.0.0:8443")])
def test_mongooseims_page_of_events_shows_what_its_command_prints(
    name: str, listens: str, mongooseim: Player, redis_server: RedisServer, tmp_path: Path
) -> None:
    port, ours = free_port(), authority(tmp_path)
    pair = [file.read_text() for file in ours.pair("server")]
    files = {**dict(zip(("events.pem", "events.key"), pair, strict=True)), "sns_key": SNS_SECRET}
    addresses = {"localhost:5551": f"localhost:{mongooseim.port}", REDIS: redis_server.url}
    addresses[listens] = f"127.0.0.1:{port}"

    def report() -> None:
        [message] = until(lambda: sent(mongooseim, "sendMessage"), "it was asked to send", 60)
        if listens == HOOK:
            pushed_to_hook(message, port)
        else:
            published(message, port, ours.ca)

    (tmp_path / "place").mkdir()
    with ThreadPoolExecutor() as pool:
        reported = pool.submit(report)
        assert_page_prints(name, events_of(name, "mongooseim"), tmp_path / "place", addresses, **files)
        reported.result()


def test_openfires_page_shows_what_its_command_prints(redis_server: RedisServer, tmp_path: Path) -> None:
    with Player([*named("1.3.10", "search", "stats"), *recorded("openfire-rest/1.2.5/without_login")]) as server:
        addresses = {"127.0.0.1:9090": f"127.0.0.1:{server.port}", REDIS: redis_server.url}
        assert_page_prints("openfire", env_of("openfire"), tmp_path, addresses)


def test_openfires_pages_of_the_chat_show_what_their_commands_print(
    openfire: Openfire, redis_server: RedisServer, tmp_path: Path
) -> None:
    addresses = {"127.0.0.1:7070": f"127.0.0.1:{openfire.port}", REDIS: redis_server.url}
    events = events_of("openfire-events", "openfire-chat")
    passwords = "".join(f"{user}:secret\n" for user in ("ann", "bob", "visitor"))
    for name, env in (("openfire-chat", env_of("openfire-chat")), ("openfire-events", events)):
        (tmp_path / name).mkdir()
        assert_page_prints(name, env, tmp_path / name, addresses, passwords=passwords)
