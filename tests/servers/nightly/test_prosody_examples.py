"""examples/prosody and examples/prosody-bot as they stand there: a real Prosody, restbroker, and the bot's own process.

Only ports, folders and how often the bot looks are others; secrets are filled in, and the token is made, as the READMEs
say. Prosody's modules are stand-ins.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import redis

from dev.tools.pages import ROOT
from tests.support.example import assert_well, moved, with_secrets
from tests.support.ports import free_port
from tests.support.process import Running, run, started
from tests.support.prosody import PASSWORD, Prosody
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients, Message

EXAMPLE: Final = ROOT / "examples" / "prosody"
SECRETS: Final = ("token", "roster_key", "events_key", "prosody_password")
IN_THE_BACKGROUND_S: Final = 60.0


@attrs.frozen
class Place:
    """A machine on which the README was followed, but for starting anything."""

    env: Path
    lua: str
    port: int
    secrets: Mapping[str, str]


def placed(example: Path, folder: Path, redis_url: str, lua: str, names: Iterable[str], *own: str) -> Place:
    """Follow the README of this example; `lua`: its file for Prosody, `own`: the ports that it names."""
    made, ports = with_secrets(folder, names), {name: free_port() for name in own}
    (folder / "env.json").write_text(moved(example / "env.json", folder, redis_url, ports))
    _, line, said = (example / lua).read_text("utf-8").partition("\nhttp_interfaces")
    for name in ("roster_key", "events_key"):
        said = said.replace(name.upper().replace("_", "-"), made.get(name, ""))
    for name, port in ports.items():
        said = said.replace(f":{name}", f":{port}")
    return Place(folder / "env.json", line + said, ports["5280"], made)


@pytest.fixture
def place(tmp_path: Path, redis_server: RedisServer) -> Place:
    return placed(EXAMPLE, tmp_path, redis_server.url, "restbroker.cfg.lua", SECRETS, "5280", "8081", "8082")


@pytest.fixture
def prosody_of_it(place: Place, make_prosody: Callable[..., Prosody]) -> Prosody:
    server = make_prosody(port=place.port, included=place.lua)
    server.register("john", "aaron")
    server.register("restbroker", password=place.secrets["prosody_password"])
    return server


@pytest.fixture
def broker(place: Place, prosody_of_it: Prosody, tmp_path: Path) -> Iterator[Running]:
    with started(["run", "--config", str(place.env)], directory=tmp_path / "broker") as running:
        running.wait_for("broker.started", timeout_s=IN_THE_BACKGROUND_S)
        running.wait_for("target.found target=prosody", timeout_s=IN_THE_BACKGROUND_S)
        yield running
        running.stop()


@pytest.fixture
def clients(prosody_of_it: Prosody, broker: Running) -> Iterator[Clients]:
    with Clients(prosody_of_it.c2s_port) as clients:
        yield clients


def test_prosody_loads_it(prosody_of_it: Prosody) -> None:
    assert prosody_of_it.refresh("nobody")[0] == 200
    assert prosody_of_it.call("POST", "/rest", "{}")[0] == 401
    log = prosody_of_it.log_tail()
    assert "Unable to load" not in log
    assert "Error" not in log


def test_restbroker_checks_it_and_befriends_two_users_at_once(place: Place, broker: Running, clients: Clients) -> None:
    """They need no new login."""
    assert_well(place.env)
    john, aaron = clients.login("john"), clients.login("aaron")
    for user, contact in (("john", "aaron@example.org"), ("aaron", "john@example.org")):
        done = run(["roster", "add", "--config", str(place.env), user, contact])
        assert done.returncode == 0, done.stdout + done.stderr
    for first, other in ((john, aaron), (aaron, john)):
        assert [contact.jid for contact in first.pushes.wait_for_number(1)] == [other.jid]
        assert is_online(first, other)
    again = clients.login("john", PASSWORD)
    assert list(again.roster()) == [aaron.jid]


def is_online(one: Client, other: Client) -> bool:
    return one.presences.wait_for(
        lambda all_: any(shown.sender.startswith(f"{other.jid}/") and shown.kind == "available" for shown in all_),
        f"{other.jid} is seen",
    )


def test_a_message_goes_out_and_one_comes_in(place: Place, clients: Clients, redis_server: RedisServer) -> None:
    john = clients.login("john")
    words = ["message", "to=john@example.org", "type=chat", "body=hello"]
    done = run(["enqueue", "--config", str(place.env), "--wait", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    assert [message.body for message in john.messages.wait_for_number(1)] == ["hello"]
    john.say("anybody@bots.example.org", "hello to you")
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as line:
        taken: Any = until(lambda: line.rpop("queue:xmpp_events"), "the event is a job")
    job = json.loads(taken)
    assert (job["class"], job["queue"]) == ("XmppEvent", "xmpp_events")
    assert "hello to you" in json.dumps(job["args"])
    assert len(john.messages.all) == 1  # no error came back


BOT_EXAMPLE: Final = ROOT / "examples" / "prosody-bot"
README: Final = (BOT_EXAMPLE / "README.md").read_text("utf-8")
ROOM: Final = "tea@rooms.example.org"
BOT: Final = "bot@bots.example.org"


@attrs.define(eq=False)
class Stage:
    """A machine on which the README was followed to its end."""

    folder: Path
    prosody: Prosody
    redis: RedisServer
    _broker: ExitStack = attrs.field(factory=ExitStack)
    _bot: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> str:
        return str(self.folder / "env.json")

    def start_broker(self) -> Running:
        running = self._broker.enter_context(started(["run", "--config", self.env], directory=self.folder / "broker"))
        running.wait_for("listening what=events")
        return running

    def stop_broker(self) -> None:
        self._broker.pop_all().close()

    def start_bot(self) -> None:
        own = {"REDIS_URL": self.redis.url, "TOKEN_FILE": str(self.folder / "token"), "LOOK_S": "1"}
        self._bot = subprocess.Popen([sys.executable, BOT_EXAMPLE / "bot.py"], env={**os.environ, **own})

    def kill_bot(self) -> None:
        if self._bot is not None:
            self._bot.kill()
            self._bot.wait()

    def close(self) -> None:
        self.kill_bot()
        self.stop_broker()


@pytest.fixture
def stage(tmp_path: Path, make_prosody: Callable[..., Prosody], redis_server: RedisServer) -> Iterator[Stage]:
    made = placed(BOT_EXAMPLE, tmp_path, redis_server.url, "bots.cfg.lua", ("token", "events_key"), "5280", "8081")
    prosody = make_prosody(port=made.port, included=made.lua)
    prosody.register("john")
    (tmp_path / "bot_token").write_text(token_by_the_readme(prosody))
    stage = Stage(tmp_path, prosody, redis_server)
    stage.start_broker()
    stage.start_bot()
    yield stage
    stage.close()


def token_by_the_readme(prosody: Prosody) -> str:
    [line] = re.findall(r"^    (prosodyctl shell .*) \\\n +\| (sed [^|]*) \|", README, re.MULTILINE)
    command = " | ".join(line).replace("prosodyctl", f"prosodyctl --config {prosody.directory}/prosody.cfg.lua", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert len(done.stdout.split()) == 1, done.stdout + done.stderr
    return done.stdout


def enter(clients: Clients) -> Client:
    """John in the room, with the bot."""
    john = clients.login("john", roster=False)
    john.join(f"{ROOM}/john")
    await_bot(john)
    return john


def await_bot(john: Client) -> None:
    """Returns when the bot is in the room, as far as John knows."""
    john.presences.wait_for(
        lambda log: next((said.kind for said in reversed(log) if said.sender == f"{ROOM}/bot"), "") == "available",
        "the bot is in the room",
    )


def await_bot_gone(john: Client) -> None:
    john.presences.wait_for(
        lambda log: next((said.kind for said in reversed(log) if said.sender == f"{ROOM}/bot"), "") == "unavailable",
        "the bot is out of the room",
    )


def await_answer(john: Client, words: str) -> None:
    john.messages.wait_for(lambda log: f"john: {words} to you" in said_by_bot(log), f"the bot answers {words}")


def said_by_bot(messages: list[Message]) -> list[str]:
    return [message.body for message in messages if message.body is not None and message.sender == f"{ROOM}/bot"]


def test_restbroker_and_prosody_load_the_files_check_approves(stage: Stage) -> None:
    assert_well(Path(stage.env))
    assert "Unable to load" not in stage.prosody.log_tail()


def test_an_event_to_the_bot_itself_comes_from_its_own_address(stage: Stage) -> None:
    checked = run(["check", "--events", "--to", BOT, "--config", stage.env])
    assert (checked.returncode, "EventCame" in checked.stdout) == (0, True), checked.stdout + checked.stderr


def test_bot_joins_and_speaks_as_itself_in_room_and_chat(stage: Stage) -> None:
    with Clients(stage.prosody.c2s_port) as clients:
        john = enter(clients)
        john.say(ROOM, "bot: hello", "groupchat")
        await_answer(john, "hello")
        john.say(BOT, "psst")
        answers = john.messages.wait_for(
            lambda log: [said for said in log if said.sender == BOT], "the bot answers in the chat"
        )
        assert [(answer.kind, answer.body) for answer in answers] == [("chat", "You said: psst")]
        words = ["message", f"to={ROOM}", "type=groupchat", "body=Tea is ready."]
        done = run(["enqueue", "--config", stage.env, "--wait", *words])
        assert done.returncode == 0, done.stdout + done.stderr
        john.messages.wait_for(
            lambda log: any((said.sender, said.body) == (f"{ROOM}/bot", "Tea is ready.") for said in log), "it says so"
        )


def test_the_bot_is_back_in_its_room_after_a_kill_of_prosody(stage: Stage) -> None:
    with Clients(stage.prosody.c2s_port) as clients:
        enter(clients)
    stage.prosody.kill()
    stage.prosody.start()
    with Clients(stage.prosody.c2s_port) as clients:
        john = enter(clients)
        john.say(ROOM, "bot: again", "groupchat")
        await_answer(john, "again")


def test_bot_removed_while_we_were_away_is_back_in_its_room(stage: Stage) -> None:
    with Clients(stage.prosody.c2s_port) as clients:
        john = enter(clients)
        john.say(ROOM, "bot: before", "groupchat")
        await_answer(john, "before")
        stage.stop_broker()
        john.say(ROOM, "bot: unheard", "groupchat")
        await_bot_gone(john)
        stage.start_broker()
        await_bot(john)
        john.say(ROOM, "bot: again", "groupchat")
        await_answer(john, "again")
        # What the room sent of the past when the bot entered would have come, and been answered, before. An answer that
        # was on its way when the broker stopped may come twice.
        assert "john: unheard to you" not in said_by_bot(john.messages.all)


def test_bot_ignores_the_rooms_history(stage: Stage) -> None:
    with Clients(stage.prosody.c2s_port) as clients:
        john = enter(clients)
        john.say(ROOM, "bot: before", "groupchat")
        await_answer(john, "before")
        place = ["presence", f"to={ROOM}/bot", 'muc:={"history": {"seconds": 3600}}']
        entered = run(["enqueue", "--config", stage.env, "--wait", *place])
        assert entered.returncode == 0, entered.stdout + entered.stderr
        john.say(ROOM, "bot: again", "groupchat")
        await_answer(john, "again")
        assert said_by_bot(john.messages.all) == ["john: before to you", "john: again to you"]


def test_messages_to_a_killed_bot_are_answered_once_it_is_back(stage: Stage) -> None:
    with Clients(stage.prosody.c2s_port) as clients:
        john = enter(clients)
        stage.kill_bot()
        john.say(ROOM, "bot: late", "groupchat")
        john.messages.wait_for(lambda log: any(said.body == "bot: late" for said in log), "the room has it")
        stage.start_bot()
        await_answer(john, "late")
        john.say(ROOM, "bot: last", "groupchat")
        await_answer(john, "last")
        assert [message.body for message in john.messages.all].count("john: late to you") == 1
