"""`restbroker check --events`: a real Prosody emits a message; the broken half is named."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import attrs
import pytest

from restbroker.store import queues
from restbroker.store.client import StoreSettings, open_client
from tests.servers.mongooseim import entry, exchanges, sent
from tests.servers.openfire_talk import talking
from tests.support.mongooseim.push_http import HttpPusher
from tests.support.openfire_chat.server import Openfire
from tests.support.player import Player
from tests.support.process import run_here as run
from tests.support.process import started
from tests.support.prosody import PASSWORD, Prosody
from tests.support.receiver import Kind
from tests.support.redis_server import RedisServer
from tests.support.wait import until

QUEUE = "xmpp_events"
NOBODY = "restbroker-check@bots.example.org"


@pytest.fixture
def document(prosody: Prosody, redis_server: RedisServer) -> dict[str, Any]:
    return document_of(prosody, redis_server)


def document_of(prosody: Prosody, redis_server: RedisServer) -> dict[str, Any]:
    prosody.register("restbroker")
    login = {"Basic": {"User": f"restbroker@{prosody.host}", "Pass": PASSWORD}}
    target = {"Kind": "prosody-rest", "URL": prosody.rest_url, "Auth": login, "Queues": {"prosody": 1}}
    source = {"Kind": "prosody-rest", "Path": prosody.hook_path, "Queue": QUEUE, "Class": "XmppEvent"}
    return {
        "RedisURL": redis_server.url,
        "Token": "t",
        "Targets": {"prosody": target},
        "Events": {"Listen": f"127.0.0.1:{prosody.hook_port}", "Sources": {"bots": source}},
    }


def checked(place: Path, document: dict[str, Any], *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and by its code each finding of the test."""
    (place / "env.json").write_text(json.dumps(document))
    (place / "env.json").chmod(0o600)
    done = run(["check", "--events", "--json", *words], directory=place)
    assert PASSWORD not in done.stdout + done.stderr
    findings = {row["code"]: row for row in json.loads(done.stdout)["findings"]}
    return done.returncode, {code: finding for code, finding in findings.items() if code.startswith("Event")}


def beside_broker(place: Path, document: dict[str, Any], *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The same beside a broker that takes events in."""
    (place / "env.json").write_text(json.dumps(document))
    with started(["run"], directory=place) as broker:
        broker.wait_for("listening what=events")
        return checked(place, document, *words)


def jobs(redis: RedisServer) -> list[bytes]:
    client = open_client(StoreSettings(redis.url))
    try:
        return queues.peek(client, QUEUE, 0, 10)
    finally:
        client.close()


def test_test_event_is_reported_with_its_queue_and_is_no_job(
    prosody: Prosody, document: dict[str, Any], redis_server: RedisServer, tmp_path: Path
) -> None:
    code, found = beside_broker(tmp_path, document, "--to", f"check@{prosody.hook_host}", "--within", "20s")
    assert (code, list(found)) == (0, ["EventCame"]), found
    assert QUEUE in found["EventCame"]["message"]
    assert f" to check@{prosody.hook_host}/restbroker-check after " in found["EventCame"]["message"]
    assert re.search(r" after [1-9]\d*(\.\d)? m?s\. ", found["EventCame"]["message"])
    assert jobs(redis_server) == []


SOURCE, TARGET, PASS = "Events.Sources.bots", "Targets.prosody", "Targets.prosody.Auth.Basic.Pass"
AWAY = {"Kind": "prosody-rest", "URL": "http://127.0.0.1:1/rest", "Queues": {"other": 1}}
MONGOOSEIM = {"Kind": "mongooseim", "URL": "http://127.0.0.1:1/api", "Queues": {"m": 1}}
PUSHED = {TARGET: MONGOOSEIM, f"{SOURCE}.Kind": "mongooseim-webhook"}
CHECK, NONE = "--to check@hook.example.org --within", f"--to {NOBODY}"


def when(*case: Any, night: bool = False) -> Any:
    """The keys that are otherwise, the words, whether a broker runs; exit code, finding, and what is said in it."""
    return pytest.param(*case, marks=[pytest.mark.nightly] * night, id=f"{case[0]} {case[1]}")


@pytest.mark.parametrize(
    ("changes", "words", "runs", "code", "finding", "message"),
    [
        when({f"{SOURCE}.Only": {"Types": ["presence"]}}, f"{CHECK} 20s", True, 0, "EventUnwanted", ""),
        when({f"{SOURCE}.Path": "/e/x"}, f"{CHECK} 1s", True, 1, "EventLost", "rest_callback_url leads to /e/x"),
        when({PASS: "wrong"}, NONE, False, 1, "EventNotTested", "nothing was sent. No process accepts events at "),
        when({PASS: "wrong"}, NONE, True, 4, "EventNotSent", "", night=True),
        when({f"{TARGET}.URL": AWAY["URL"]}, NONE, True, 5, "EventNotSent", "", night=True),
        when({TARGET: MONGOOSEIM}, "", False, 0, "EventNotTested", "another program"),
        when({TARGET: MONGOOSEIM}, "--target prosody", False, 2, "EventNotTested", ""),
        when({"Targets.other": AWAY}, "", False, 2, "EventNotTested", ""),
        when({"Targets.other": AWAY}, f"--target other {NONE}", True, 5, "EventNotSent", ""),
        when(PUSHED, "", False, 2, "EventNotTested", "--from and --to"),
        when(PUSHED, "--from a@example.org --to b@example.org", True, 5, "EventNotSent", ""),
        when({}, "", False, 2, "EventNotTested", NONE),
        when({}, "--to nobody@example.org --within 1s", True, 1, "EventNotSent", "service-unavailable", night=True),
    ],
)
def test_the_half_that_is_broken_is_named(
    document: dict[str, Any],
    tmp_path: Path,
    changes: dict[str, Any],
    words: str,
    runs: bool,
    code: int,
    finding: str,
    message: str,
) -> None:
    for place, value in changes.items():
        *parents, key = place.split(".")
        reduce(getitem, parents, document)[key] = value
    ended, found = (beside_broker if runs else checked)(tmp_path, document, *words.split())
    assert (ended, list(found)) == (code, [finding]), found
    assert message in f"{found[finding]['message']} {found[finding]['hint']}"


@pytest.mark.nightly
def test_server_posting_with_wrong_secret_is_reported_as_such(
    make_prosody: Callable[..., Prosody], redis_server: RedisServer, tmp_path: Path
) -> None:
    prosody = make_prosody(hook_login="restbroker:wrong@")
    document = document_of(prosody, redis_server)
    document["Events"]["Sources"]["bots"]["Secret"] = "a right secret of the source"
    code, found = beside_broker(tmp_path, document, "--to", f"check@{prosody.hook_host}", "--within", "5s")
    assert (code, list(found)) == (1, ["EventLost"]), found
    assert "the running broker refused a request to this source as unauthorized" in found["EventLost"]["message"]
    assert found["EventLost"]["hint"].startswith("Give the server this source's Secret")
    assert "a right secret" not in json.dumps(found)


def test_one_source_is_tested_alone(document: dict[str, Any], tmp_path: Path) -> None:
    sources = document["Events"]["Sources"]
    sources["others"] = {**sources["bots"], "Path": "/events/others"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    done = run(["check", "--events", "--json", "--source", "others"], directory=tmp_path)
    messages = [row["message"] for row in json.loads(done.stdout)["findings"] if row["code"] == "EventNotTested"]
    assert [message.split(":")[0] for message in messages] == ["Source others"]
    unknown = run(["check", "--events", "--source", "other"], directory=tmp_path)
    assert (unknown.returncode, "Did you mean others?" in unknown.stderr) == (2, True)


@pytest.mark.nightly
def test_openfire_message_is_an_event_of_its_receivers_stream(redis_server: RedisServer, tmp_path: Path) -> None:
    def expect(code: int, finding: str, hint: str, *words: str) -> None:
        ended, found = checked(tmp_path, json.loads((tmp_path / "env.json").read_text()), *words)
        assert (ended, list(found)) == (code, [finding]), found
        assert hint in str(found[finding]["hint"])
        assert "ofchat" not in json.dumps(found)

    with Openfire(heartbeat_s=0.2) as openfire:
        with talking(tmp_path, redis_server, openfire, ["ann", "bob"]) as talk:
            talk.listening()
            expect(0, "EventCame", "", "--from", "ann", "--to", "bob")
            expect(0, "EventCame", "", "--from", talk.jid("bob"), "--to", talk.jid("ann"))
            expect(2, "EventNotTested", "Users: ann")
            expect(2, "EventNotTested", "one of its Users with --to: ann", "--from", "ann", "--to", "zoe")
            assert [event for event in talk.events() if event["type"] != "presence"] == []
            openfire.faults.add(Kind.EMPTY, "POST */messages/*")
            expect(1, "EventNotSent", "", "--from", "zoe", "--to", "ann")
        expect(1, "EventLost", "the stream of bob open", "--from", "ann", "--to", "bob", "--within", "1s")


@pytest.mark.nightly
def test_mongooseims_push_of_a_message_of_named_users_is_found(
    document: dict[str, Any], redis_server: RedisServer, prosody: Prosody, tmp_path: Path
) -> None:
    (answer,) = (exchange for exchange in exchanges("message") if exchange.about == "sent")
    with Player([*exchanges("health"), attrs.evolve(answer, body=None)]) as server, ThreadPoolExecutor() as pool:
        document["Targets"]["prosody"] = entry(server)
        document["Events"]["Sources"]["bots"]["Kind"] = "mongooseim-webhook"

        def push() -> bool:
            (request,) = until(lambda: sent(server, "sendMessage"), "it was asked to send")
            with HttpPusher(prosody.hook_port, prosody.hook_path) as pusher:
                return pusher.push("alice", "localhost", "bob", request["body"])

        pushed = pool.submit(push)
        code, found = beside_broker(tmp_path, document, "--from", "alice@localhost", "--to", "bob@localhost")
        assert pushed.result()
    assert (code, list(found)) == (0, ["EventCame"]), found
    assert jobs(redis_server) == []
