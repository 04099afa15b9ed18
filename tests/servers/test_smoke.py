"""A real ejabberd and a real Prosody with a real client: a few commands, and a kill. All else: recorded answers.

Prosody's modules are our stand-ins, which were written from what the originals were seen to do.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from restbroker.job.json_types import Json
from restbroker.job.outcome import Delivered, Rejected
from restbroker.transport.message import MaybeSent, NotSent
from tests.servers import sides
from tests.servers.ejabberd import HOST, NOBODY, account, new_user, side_of
from tests.servers.sides import Side, in_short
from tests.support import process
from tests.support.ejabberd import Ejabberd
from tests.support.prosody import PASSWORD, Prosody
from tests.support.roster_service import RosterService
from tests.support.xmpp import Client, Clients


async def test_each_answer_is_taken_for_what_it_is(admin: Side) -> None:
    new = account()
    room: dict[str, Json] = {"name": new_user(), "service": "conference.localhost", "host": "localhost"}
    there = {name: value for name, value in new.items() if name != "password"}
    rows: list[tuple[str, dict[str, Json], dict[str, object], str]] = [
        ("register", new, {}, "Delivered"),
        ("check_password", new, {}, "Delivered"),
        ("register", new, {}, "Rejected AlreadyExists"),
        ("register", new, {"maybe_run": True}, "Delivered already done"),
        ("check_account", NOBODY, {}, "Delivered no"),
        ("create_room", room, {}, "Delivered"),
        ("register", there, {}, "Rejected BadArgument"),
        ("no_such_command_anywhere", {}, {}, "Rejected UnknownCommand"),
        # The catalogue has it, but mod_pubsub is not among this server's modules: nobody waits for that.
        ("delete_old_pubsub_items", {"number": 1}, {}, "Rejected UnknownCommand"),
    ]
    outcomes = [await admin.call(command, given, **how) for command, given, how, _ in rows]
    assert [in_short(outcome) for outcome in outcomes] == [wanted for *_, wanted in rows]


async def test_a_secret_that_the_server_echoes_is_masked(admin: Side) -> None:
    outcome = await admin.do("register", user="a", host=HOST, password=471147114711)
    assert isinstance(outcome, Rejected)
    assert "471147" not in repr(outcome)
    assert "***" in outcome.reason.message


async def test_killed_server_is_not_sent_to_and_found_after_its_start(own_ejabberd: Ejabberd) -> None:
    async with side_of(own_ejabberd) as side:
        new = account()
        await side.done("register", new)
        await trio.to_thread.run_sync(own_ejabberd.stop)
        with pytest.raises(NotSent):
            await side.call("check_password", new)
        await trio.to_thread.run_sync(own_ejabberd.start)
        assert await side.call("check_password", new) == Delivered("0", 0, 200)
        own_ejabberd.kill()
        with pytest.raises((NotSent, MaybeSent)):
            await side.call("check_password", new)
        with pytest.raises(NotSent):
            await side.probe()


AARON = "aaron@example.org"


Open = Callable[..., AbstractAsyncContextManager[Side]]


def entry(prosody: Prosody, **members: Any) -> dict[str, Any]:
    """The target of this server in env.json, as the account john."""
    return {
        "Kind": "prosody-rest",
        "URL": prosody.rest_url,
        "Domain": prosody.host,
        "Auth": {"Basic": {"User": "john", "Pass": PASSWORD}},
        "Queues": ["prosody"],
        **members,
    }


@pytest.fixture
def side(tmp_path: Path, prosody: Prosody) -> Open:
    """Our side of the server."""
    return lambda **members: sides.opened(sides.target_of(tmp_path, entry(prosody, **members)))


@pytest.fixture
def accounts(prosody: Prosody, roster_service: RosterService) -> Prosody:
    prosody.register("john", "aaron")
    return prosody


@pytest.fixture
def aaron(accounts: Prosody, clients: Clients) -> Client:
    return clients.login("aaron")


async def test_sent_message_reaches_the_client(side: Open, aaron: Client, accounts: Prosody) -> None:
    async with side(Options={"MsgURL": accounts.url + "/msg"}) as ours:
        assert await ours.do("message", to=AARON, body="hello ☂", type="chat") == Delivered("", None, 202)
        await ours.done("msg", {"to": AARON, "body": "hello, too ☂"})
        await ours.done("presence", {"to": AARON, "show": "away", "status": "out"})
    async with side(Auth={"Bearer": {"Token": accounts.token("john")}}) as ours:
        await ours.done("message", {"to": AARON, "body": "by a token"})
    first, *others = await aaron.messages.awaited_number(3)
    assert (first.sender, first.kind, first.body) == ("john@example.org", "chat", "hello ☂")
    assert [message.body for message in others] == ["hello, too ☂", "by a token"]
    assert [presence.sender for presence in await aaron.presences.awaited_number(1)] == ["john@example.org"]


def test_job_from_the_command_line_arrives_and_is_answered(
    tmp_path: Path, redis_url: str, accounts: Prosody, aaron: Client
) -> None:
    file = tmp_path / "env.json"
    file.write_text(json.dumps({"RedisURL": redis_url, "Token": "t", "Targets": {"chat": entry(accounts)}}))
    file.chmod(0o600)
    with process.started(["run", "--config", str(file)], directory=tmp_path) as broker:
        broker.wait_for(r"target\.found")

        def enqueued(*arguments: str) -> subprocess.CompletedProcess[str]:
            return process.run(["enqueue", *arguments, "--wait", "--config", str(file)])

        sent = enqueued("message", "to=aaron@example.org", "body=hi")
        done = enqueued("version", "to=example.org")
        refused = enqueued("message", "to=nobody@example.org", "body=c4n4ry")
        broker.wait_for(r"StanzaRefused")
        assert "c4n4ry" not in broker.output()
    assert sent.returncode == 0, sent.stderr
    assert aaron.messages.wait_for_number(1)[0].body == "hi"
    assert '"Prosody"' in done.stdout, done.stderr
    assert refused.returncode == 1
    assert "service-unavailable" in refused.stdout + refused.stderr


async def test_a_killed_prosody_is_not_sent_to_and_found_again(
    tmp_path: Path, make_prosody: Callable[..., Prosody]
) -> None:
    server = make_prosody(modules=("rest",))
    server.register("john")
    async with sides.opened(sides.target_of(tmp_path, entry(server))) as ours:
        await ours.done("ping", {"to": server.host})
        await trio.to_thread.run_sync(server.kill)
        with pytest.raises(NotSent):
            await ours.call("ping", {"to": server.host})
        await trio.to_thread.run_sync(server.start)
        await ours.done("ping", {"to": server.host})
        assert (await ours.probe()).ok
