"""The kind prosody-rest against a real Prosody with a real client.

Its modules are our stand-ins, which were written from what the originals were seen to do.
"""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from restbroker.config.target import Target
from restbroker.job.outcome import Delivered
from restbroker.servers import registry
from restbroker.servers.api.jid import is_jid
from restbroker.transport.errors import NotSent
from tests.servers import sides
from tests.servers.sides import Side, in_short
from tests.support import process
from tests.support.prosody import PASSWORD, Prosody
from tests.support.roster_service import RosterService
from tests.support.xmpp import Client, Clients

ADMIN = "prosody:scope:admin"
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
def target_of(tmp_path: Path, prosody: Prosody) -> Callable[..., Target]:
    """The configured target."""
    return lambda **members: sides.target_of(tmp_path, entry(prosody, **members))


@pytest.fixture
def side(target_of: Callable[..., Target]) -> Open:
    """Our side of the server."""
    return lambda **members: sides.opened(target_of(**members))


@pytest.fixture
def accounts(prosody: Prosody, roster_service: RosterService) -> Prosody:
    prosody.register("john", "aaron")
    return prosody


@pytest.fixture
def aaron(accounts: Prosody, clients: Clients) -> Client:
    return clients.login("aaron")


async def test_what_is_sent_reaches_the_client(side: Open, aaron: Client, accounts: Prosody) -> None:
    async with side(Options={"MsgURL": accounts.url + "/msg"}) as ours:
        assert await ours.do("message", to=AARON, body="hello ☂", type="chat") == Delivered("", None, 202)
        await ours.done("msg", {"to": AARON, "body": "hello, too ☂"})
        await ours.done("presence", {"to": AARON, "show": "away", "status": "out"})
    async with side(Auth={"Bearer": {"Token": accounts.token("john")}}) as ours:
        await ours.done("message", {"to": AARON, "body": "by a token"})
    first, *others = await aaron.messages.awaited_number(3)
    assert (first.sender, first.kind, first.body) == ("john@example.org", "chat", "hello ☂")
    assert [message.body for message in others] == ["hello, too ☂", "by a token"]
    assert [seen.sender for seen in await aaron.presences.awaited_number(1)] == ["john@example.org"]


async def test_the_admin_api_announces_invites_and_shows_users(side: Open, aaron: Client, accounts: Prosody) -> None:
    options = {"AdminURL": accounts.url + "/admin_api", "AdminToken": accounts.token("john", ADMIN)}
    async with side(Options=options) as ours:
        await ours.done("announcement", {"body": "we move", "recipients": "online"})
        invite, users = await ours.done("invite", {"username": "mary"}), await ours.done("users")
        metrics = await ours.done("server_metrics")
        assert in_short(await ours.do("user", username="nobody")) == "Rejected NotFound"
        await ours.done("delete_user", {"username": "nobody"})
    assert '"xmpp:' in invite.text
    assert "aaron" in users.text
    assert '"c2s":' in metrics.text
    [message] = await aaron.messages.awaited_number(1)
    assert message.body == "we move"


async def test_the_check_finds_a_target_that_works_and_what_is_wrong_with_others(
    target_of: Callable[..., Target], accounts: Prosody
) -> None:
    options = {
        "AdminURL": accounts.url + "/admin_api",
        "AdminToken": accounts.token("john", ADMIN),
        "MsgURL": accounts.url + "/msg",
    }

    async def codes(**members: Any) -> list[tuple[str, str]]:
        return [(one.level, one.code) for one in await registry.check(target_of(**members))]

    well = [("ok", "Reachable"), ("ok", "AdminURL"), ("ok", "MsgURL")]
    assert await codes(Options=options) == well
    wrong = {**options, "AdminToken": "wrong", "MsgURL": accounts.url + "/elsewhere"}
    assert await codes(Options=wrong) == [well[0], ("problem", "LoginRefused"), ("problem", "NotTheApi")]
    assert await codes(Auth={"Basic": {"User": "john", "Pass": "wrong"}}) == [("problem", "LoginRefused")]
    assert await codes(URL=accounts.url + "/elsewhere") == [("problem", "NotTheApi")]
    assert await codes(URL="http://127.0.0.1:1/rest") == [("problem", "Unreachable")]
    token = {"Bearer": {"Token": accounts.token("john")}}
    assert await codes(Auth=token, Domain=None) == [("ok", "Reachable"), ("note", "NoDomain")]


def test_a_job_from_the_command_line_arrives_and_its_answer_comes_back(
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
        asked = enqueued("version", "to=example.org")
        refused = enqueued("message", "to=nobody@example.org", "body=c4n4ry")
        broker.wait_for(r"StanzaRefused")
        assert "c4n4ry" not in broker.output()
    assert sent.returncode == 0, sent.stderr
    assert aaron.messages.wait_for_number(1)[0].body == "hi"
    assert '"Prosody"' in asked.stdout, asked.stderr
    assert refused.returncode == 1
    assert "service-unavailable" in refused.stdout + refused.stderr


FORM = (
    "<iq type='set' to='example.org'><command xmlns='http://jabber.org/protocol/commands'"
    " node='http://jabber.org/protocol/admin#add-user'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='accountjid'><value>bob@elsewhere.example</value></field>"
    "<field var='password'><value>c4n4ry-of-bob</value></field>"
    "<field var='password-verify'><value>c4n4ry-of-bob</value></field></x></command></iq>"
)


@pytest.mark.nightly
def test_a_form_with_a_password_hides_neither_why_it_was_refused_nor_what_to_do(
    tmp_path: Path, redis_url: str, accounts: Prosody
) -> None:
    accounts.register("admin")
    login = {"Basic": {"User": "admin", "Pass": PASSWORD}}
    token = {"Secret": "a-token-of-admins", "Allow": ["*", "dangerous:*"]}
    file = tmp_path / "env.json"
    document = {"RedisURL": redis_url, "Tokens": {"t": token}, "Targets": {"chat": entry(accounts, Auth=login)}}
    file.write_text(json.dumps(document))
    file.chmod(0o600)
    data = {"accountjid": "bob@elsewhere.example", "password": "c4n4ry-pass-1", "password-verify": "c4n4ry-pass-1"}
    command = json.dumps({"node": "http://jabber.org/protocol/admin#add-user", "data": data})
    with process.started(["run", "--config", str(file)], directory=tmp_path) as broker:
        broker.wait_for(r"target\.found")
        for words in (["stanza", f"xml={FORM}"], ["iq", "to=example.org", "type=set", f"command:={command}"]):
            told = process.run(["enqueue", *words, "--wait", "--config", str(file)])
            said = " ".join((told.stdout + told.stderr).split())
            assert "CommandFailed" in said, said
            assert "The ad-hoc command failed: Trying to add a user on " in said
            assert "but command was sent to " in said
            assert "Correct the form; check that the accounts exist on its host." in said
        listed = process.run(["dead", "list", "--json", "--config", str(file)]).stdout
        assert len(json.loads(listed)) == 2
        for one in json.loads(listed):
            shown = process.run(["dead", "show", one["jid"], "--config", str(file)]).stdout
            assert re.search("rejected +CommandFailed", shown)
            assert "The ad-hoc command failed: Trying to add a user on " in shown
            assert "check that the accounts exist on its host." in " ".join(shown.split())
            assert "c4n4ry" not in shown
        assert "c4n4ry" not in broker.output() + said + listed


JIDS = [
    *("a@b", "A@B/c", "b", "a@b/ ", "a.b+c@x-y.z", "я@пример.рф", "a@[::1]", "א@b", "ab@אב", "a@b/📱", "ß@ß.de"),
    "a@b/\u0085",
    *("", "@", "@@", "a@", "@b", "a@b/", "a b@c", "a@b@c", "a@א.b", "א1@b", "\u00ad@b", "a:b@c", "a\u00a0@b"),
    *("a@\ufffd", "x" * 1024 + "@b", "a@b/" + "é" * 512, "a\u0340@b", "\ue000@b"),
]
PREP = """
package.path, package.cpath = "{0}/?.lua;" .. package.path, "{0}/?.so;" .. package.cpath
local jid, json = require "util.jid", require "util.json"
for line in io.lines() do print(jid.prep(json.decode(line)[1]) and "yes" or "no") end
"""


@pytest.mark.nightly
def test_no_address_is_let_through_that_prosody_takes_for_none() -> None:
    """It would say 202 to it, and nobody would be sent anything."""
    lines = "\n".join(json.dumps([text], ensure_ascii=False) for text in JIDS)
    code = PREP.format("/usr/lib/prosody")
    done = subprocess.run(["lua5.4", "-e", code], input=lines, capture_output=True, text=True, check=True)
    takes = [answer == "yes" for answer in done.stdout.split()]
    assert len(takes) == len(JIDS)
    assert {text for text, is_one in zip(JIDS, takes, strict=True) if is_jid(text) and not is_one} == set()
    assert [is_jid(text) for text in JIDS[:11]] == [True] * 11


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
