"""The example of Prosody beside restbroker, as its two files are: a real Prosody and a real restbroker load them.

Ports are others, secrets are filled in as its README says, and Prosody's modules are stand-ins.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import redis

from tests.support.ports import free_port
from tests.support.process import Running, run, started
from tests.support.prosody import PASSWORD, Prosody
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.support.xmpp import Client, Clients
from tools.pages import ROOT

EXAMPLE: Final = ROOT / "examples" / "prosody"
SECRETS: Final = ("token", "roster_key", "events_key", "prosody_password")
ENV: Final[dict[str, Any]] = json.loads((EXAMPLE / "env.json").read_text("utf-8"))
IN_THE_BACKGROUND_S: Final = 60.0


@attrs.frozen
class Place:
    """A machine on which the README was followed, but for starting anything."""

    env: Path
    lua: str
    ports: dict[str, int]
    prosody_password: str


@pytest.fixture
def place(tmp_path: Path, redis_server: RedisServer) -> Place:
    made = {name: secrets.token_hex(16) for name in SECRETS}
    for name, secret in made.items():
        (tmp_path / name).write_text(secret)
    ports = {name: free_port() for name in ("5280", "8081", "8082")}
    env = (EXAMPLE / "env.json").read_text("utf-8").replace("/etc/restbroker/", f"{tmp_path}/")
    env = env.replace("redis://127.0.0.1:6379/0", redis_server.url)
    head, line, rest = (EXAMPLE / "restbroker.cfg.lua").read_text("utf-8").partition("\nhttp_interfaces")
    assert "ROSTER-KEY and EVENTS-KEY" in head
    said = line + rest
    for name, secret in {"ROSTER-KEY": made["roster_key"], "EVENTS-KEY": made["events_key"]}.items():
        assert said.count(name) == 1
        said = said.replace(name, secret)
    for name, port in ports.items():
        env, said = env.replace(f":{name}", f":{port}"), said.replace(f":{name}", f":{port}")
    (tmp_path / "env.json").write_text(env)
    return Place(tmp_path / "env.json", said, ports, made["prosody_password"])


@pytest.fixture
def prosody_of_it(place: Place, make_prosody: Callable[..., Prosody]) -> Prosody:
    server = make_prosody(port=place.ports["5280"], included=place.lua)
    server.register("john", "aaron")
    server.register("restbroker", password=place.prosody_password)
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


def test_restbroker_loads_and_checks_it_and_two_users_become_contacts_without_a_new_login(
    place: Place, broker: Running, clients: Clients
) -> None:
    shown = run(["config", "show", "--config", str(place.env)])
    assert (shown.returncode, shown.stderr) == (0, "")
    checked = run(["check", "--config", str(place.env)])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    john, aaron = clients.login("john"), clients.login("aaron")
    for user, contact in (("john", "aaron@example.org"), ("aaron", "john@example.org")):
        done = run(["roster", "add", "--config", str(place.env), user, contact])
        assert done.returncode == 0, done.stdout + done.stderr
    for one, other in ((john, aaron), (aaron, john)):
        assert [contact.jid for contact in one.pushes.wait_for_number(1)] == [other.jid]
        assert is_seen(one, other)
    again = clients.login("john", PASSWORD)
    assert list(again.roster()) == [aaron.jid]


def is_seen(one: Client, other: Client) -> bool:
    return one.presences.wait_for(
        lambda all_: any(seen.sender.startswith(f"{other.jid}/") and seen.kind == "available" for seen in all_),
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
