"""What users trust their server with passes by in the copies; it is hunted wherever restbroker leaves words."""

import json
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from restbroker.store.client import StoreSettings, open_client
from tests.events.component.mix import HOST, OPEN
from tests.events.component.nightly.test_kills import own_redis, speaking
from tests.events.component.test_ejabberd import configure, reads
from tests.events.component.test_push_ejabberd import ENABLE
from tests.events.conftest import QUEUE, events_in, jobs_in
from tests.operate.test_no_secret_is_shown import HTML, Stage, crawl
from tests.support.ejabberd import PASSWORD, SECRET, Ejabberd
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.redis_server import RedisServer
from tests.support.spellings import found_in
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

__all__ = ["own_redis", "speaking"]
"""Fixtures."""

HIDDEN: Final = {
    "password": "changed-in-band-4711",
    "vCard": "printed-on-a-card-4711",
    "archive": "said-long-ago-4711",
    "room's archive": "said-in-a-room-4711",
    "private data": "kept-at-the-server-4711",
    "listener's password": SECRET,
}
"""What is to be nowhere."""
PUSH: Final = {"option": "publish-option-4711"}
"""What is to be in one job."""
SERVICE: Final = OPEN.partition("@")[2]
LAST: Final = "this-is-told-4711"
ELSEWHERE: Final = ("dead", "retry", "schedule")
"""Where a worker that fails may put its job."""
_OLD: Final = "<query xmlns='urn:xmpp:mam:2' queryid='q'/>"


def do(client: Client, content: str, to: str = HOST) -> None:
    """Has the server do what is asked, which it has done then."""
    client.send(f"<iq type='set' to='{to}' id='does'>{content}</iq>")
    client.ask(HOST, "<ping xmlns='urn:xmpp:ping'/>")


def look_up(client: Client, room: str) -> None:
    """Has an archive answer; each answer is a message without a text."""

    def answers() -> int:
        return sum(message.body is None and message.sender == room for message in client.messages.all)

    before = answers()
    do(client, _OLD, room)
    until(lambda: answers() > before, f"{room} answers", 60)


def remember(server: Ejabberd, ann: Client, bob: Client) -> None:
    """Has the archives keep what nobody reads."""
    options = [{"name": name, "value": "true"} for name in ("persistent", "mam")]
    assert server.call("create_room_with_opts", name="open", service=SERVICE, host=HOST, options=options)[0] == 200
    ann.join(f"{OPEN}/ann")
    bob.say(f"ann@{HOST}", HIDDEN["archive"])
    ann.say(OPEN, HIDDEN["room's archive"], "groupchat")
    until(
        lambda: {HIDDEN["archive"], HIDDEN["room's archive"]} <= {said.body for said in ann.messages.all}, "they came"
    )


def trust(server: Ejabberd, ann: Client, bob: Client, off: Client) -> None:
    """Trusts the server with all of it."""
    look_up(ann, f"ann@{HOST}")
    look_up(ann, OPEN)
    do(ann, f"<vCard xmlns='vcard-temp'><NICKNAME>{HIDDEN['vCard']}</NICKNAME></vCard>", f"ann@{HOST}")
    assert HIDDEN["vCard"] in server.call("get_vcard", user="ann", host=HOST, name="NICKNAME")[1]
    assert bob.ask(f"ann@{HOST}", "<vCard xmlns='vcard-temp'/>") == ("result", None)
    do(ann, f"<query xmlns='jabber:iq:private'><own xmlns='own'>{HIDDEN['private data']}</own></query>", f"ann@{HOST}")
    assert ann.ask(f"ann@{HOST}", "<query xmlns='jabber:iq:private'><own xmlns='own'/></query>") == ("result", None)
    given = f"<username>ann</username><password>{HIDDEN['password']}</password>"
    do(ann, f"<query xmlns='jabber:iq:register'>{given}</query>")
    assert server.call("check_password", user="ann", host=HOST, password=HIDDEN["password"]) == (200, "0")
    # An option that is no secret by its name.
    given = ENABLE.replace("'secret'", "'device'").replace("hidden-option", PUSH["option"])
    do(off, given.format("off"), f"off@{HOST}")
    off.logout()
    bob.say(f"off@{HOST}", LAST)


def say_all(stage: Stage, jid: str) -> None:
    """Has each page and each command say what it knows."""
    for path in ("/metrics", "/readyz", f"/queue?name={QUEUE}", f"/job?jid={jid}", "/find?q=4711", f"/find?q={jid}"):
        stage.visit(path)
    crawl(stage)
    lists = ("events tail --last 100 --once", "events sources", "dead", "retries", f"queues peek {QUEUE}", "find 4711")
    for words in (*lists, f"explain {jid}", f"find jid={jid}", "check", "stats", "config show", "targets", "processes"):
        stage.run(*words.split())
        stage.run(*words.split(), "--json")


@pytest.mark.promise
def test_secrets_of_users_are_nowhere(speaking: Ejabberd, own_redis: RedisServer, tmp_path: Path) -> None:
    """But for the options of a notification, which are in its job alone."""
    port = free_port()
    configure(tmp_path, speaking, own_redis, Rooms=[], Take=["message", "groupchat", "presence", "error", "push"])
    file = tmp_path / "env.json"
    more = {"LogLevel": "debug", "History": "1h", "ShowBodies": True, "Stats": True, "StatsPort": port}
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    for user in ("ann", "bob", "off"):
        speaking.call("register", user=user, host=HOST, password=PASSWORD)
    with closing(open_client(StoreSettings(own_redis.url))) as store, Clients(speaking.c2s_port, HOST) as clients:
        ann, bob, off = (clients.login(user, PASSWORD) for user in ("ann", "bob", "off"))
        remember(speaking, ann, bob)
        with started(["run"], directory=tmp_path) as broker:
            reads(broker)
            trust(speaking, ann, bob, off)
            until(
                lambda: {"message", "push"} == {job["type"] for job in events_in(store) if job["body"] == LAST}, "all"
            )
            (job,) = [job for job in jobs_in(store) if job["args"][0]["type"] == "push"]
            for number, place in enumerate(ELSEWHERE):
                failed = {**job, "error_message": "no", "error_class": "No", "failed_at": 1.5, "retry_count": number}
                store.command("ZADD", place, 4e9 + number, json.dumps(failed))
            with httpx.Client(trust_env=False, headers=HTML, timeout=60, follow_redirects=True) as visitor:
                stage = Stage(file, store, broker, f"http://127.0.0.1:{port}", visitor)
                say_all(stage, job["jid"])
            assert broker.stop() == 0
            texts = stage.outputs | {"log": broker.output()}
    written = "".join(path.read_text("utf-8", "replace") for path in own_redis.directory.glob("appendonlydir/*"))
    assert len(texts) > 60
    assert "DEBUG" in texts["log"]
    assert LAST in written
    assert LAST in texts[f"GET /job?jid={job['jid']}"] + texts[f"GET /queue?name={QUEUE}"]
    assert found_in(written, HIDDEN) == []
    assert [(where, leak) for where, text in texts.items() for leak in found_in(text, {**HIDDEN, **PUSH})] == []
    assert job["args"][0]["raw"]["options"] == {"device": PUSH["option"]}
    assert written.count(PUSH["option"]) == 1 + len(ELSEWHERE), "of all that Redis was given, only these have it"
