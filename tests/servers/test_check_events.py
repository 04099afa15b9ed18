"""`restbroker check --events`: a real Prosody emits a message; the broken half is named."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    findings = {one["code"]: one for one in json.loads(done.stdout)["findings"]}
    return done.returncode, {code: one for code, one in findings.items() if code.startswith("Event")}


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


def test_an_event_that_comes_is_told_with_its_queue_and_becomes_no_job(
    prosody: Prosody, document: dict[str, Any], redis_server: RedisServer, tmp_path: Path
) -> None:
    code, found = beside_broker(tmp_path, document, "--to", f"check@{prosody.hook_host}", "--within", "20s")
    assert (code, list(found)) == (0, ["EventCame"]), found
    assert QUEUE in found["EventCame"]["message"]
    assert f" to check@{prosody.hook_host}/restbroker-check after " in found["EventCame"]["message"]
    assert re.search(r" after [1-9]\d*(\.\d)? m?s; ", found["EventCame"]["message"])
    assert jobs(redis_server) == []


def test_an_event_that_filters_leave_out_is_told_as_that(
    prosody: Prosody, document: dict[str, Any], tmp_path: Path
) -> None:
    document["Events"]["Sources"]["bots"]["Only"] = {"Types": ["presence"]}
    code, found = beside_broker(tmp_path, document, "--to", f"check@{prosody.hook_host}", "--within", "20s")
    assert (code, list(found)) == (0, ["EventUnwanted"]), found


def test_a_message_that_was_taken_and_no_event_say_what_to_look_at(
    prosody: Prosody, document: dict[str, Any], tmp_path: Path
) -> None:
    document["Events"]["Sources"]["bots"]["Path"] = "/events/another"
    code, found = beside_broker(tmp_path, document, "--to", f"check@{prosody.hook_host}", "--within", "1s")
    assert (code, list(found)) == (1, ["EventLost"]), found
    assert "within 1 s" in found["EventLost"]["message"]
    assert "rest_callback_url leads to /events/another" in found["EventLost"]["hint"]


@pytest.mark.nightly
def test_a_server_that_posts_with_a_wrong_secret_is_told_as_that(
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


def test_nothing_is_sent_where_no_process_would_take_the_event(document: dict[str, Any], tmp_path: Path) -> None:
    # It would be refused.
    document["Targets"]["prosody"]["Auth"]["Basic"]["Pass"] = "wrong"
    code, found = checked(tmp_path, document, "--to", NOBODY)
    assert (code, list(found)) == (1, ["EventNotTested"]), found
    assert "nothing was sent. No process accepts events at 127.0.0.1:" in found["EventNotTested"]["message"]
    assert "Start `restbroker run`" in found["EventNotTested"]["hint"]


@pytest.mark.nightly
def test_a_command_that_is_refused_is_the_other_half(document: dict[str, Any], tmp_path: Path) -> None:
    document["Targets"]["prosody"]["Auth"]["Basic"]["Pass"] = "wrong"
    code, found = beside_broker(tmp_path, document, "--to", NOBODY)
    assert (code, list(found)) == (4, ["EventNotSent"]), found


@pytest.mark.nightly
def test_a_server_that_is_away_is_the_other_half(document: dict[str, Any], tmp_path: Path) -> None:
    document["Targets"]["prosody"]["URL"] = "http://127.0.0.1:1/rest"
    code, found = beside_broker(tmp_path, document, "--to", NOBODY)
    assert (code, list(found)) == (5, ["EventNotSent"]), found


def test_without_a_target_of_that_server_nothing_is_tested(document: dict[str, Any], tmp_path: Path) -> None:
    document["Targets"]["prosody"] = {"Kind": "mongooseim", "URL": "http://127.0.0.1:1/api", "Queues": {"m": 1}}
    code, found = checked(tmp_path, document)
    assert (code, list(found)) == (2, ["EventNotTested"]), found


def test_where_two_targets_may_be_that_server_one_is_to_be_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["Targets"]["other"] = {**document["Targets"]["prosody"], "Queues": {"other": 1}}
    document["Targets"]["other"]["URL"] = "http://127.0.0.1:1/rest"
    code, found = checked(tmp_path, document)
    assert (code, list(found)) == (2, ["EventNotTested"]), found
    code, found = beside_broker(tmp_path, document, "--target", "other", "--to", NOBODY)
    assert (code, list(found)) == (5, ["EventNotSent"]), found
    assert run(["check", "--events", "--target", "none"], directory=tmp_path).returncode == 2


def test_one_source_is_tested_alone(document: dict[str, Any], tmp_path: Path) -> None:
    sources = document["Events"]["Sources"]
    sources["others"] = {**sources["bots"], "Path": "/events/others"}
    (tmp_path / "env.json").write_text(json.dumps(document))
    done = run(["check", "--events", "--json", "--source", "others"], directory=tmp_path)
    messages = [one["message"] for one in json.loads(done.stdout)["findings"] if one["code"] == "EventNotTested"]
    assert [message.split(":")[0] for message in messages] == ["Source others"]
    unknown = run(["check", "--events", "--source", "other"], directory=tmp_path)
    assert (unknown.returncode, "Did you mean others?" in unknown.stderr) == (2, True)


def test_a_mongooseim_sends_nothing_to_anybody_who_was_not_named(document: dict[str, Any], tmp_path: Path) -> None:
    document["Targets"]["prosody"] = {"Kind": "mongooseim", "URL": "http://127.0.0.1:1/api", "Queues": {"m": 1}}
    document["Events"]["Sources"]["bots"]["Kind"] = "mongooseim-webhook"
    code, found = checked(tmp_path, document)
    assert (code, list(found)) == (2, ["EventNotTested"]), found
    assert "--from and --to" in found["EventNotTested"]["hint"]
    code, found = beside_broker(tmp_path, document, "--from", "a@example.org", "--to", "b@example.org")
    assert (code, list(found)) == (5, ["EventNotSent"]), found


def test_a_prosody_whose_component_nobody_named_is_sent_nothing_and_nothing_is_said_to_be_well(
    document: dict[str, Any], tmp_path: Path
) -> None:
    code, found = checked(tmp_path, document)
    assert (code, list(found)) == (2, ["EventNotTested"]), found
    assert "--to restbroker-check@bots.example.org" in found["EventNotTested"]["hint"]


@pytest.mark.nightly
def test_an_address_that_is_not_at_the_component_is_the_other_half(document: dict[str, Any], tmp_path: Path) -> None:
    code, found = beside_broker(tmp_path, document, "--to", "nobody@example.org", "--within", "1s")
    assert (code, list(found)) == (1, ["EventNotSent"]), found
    assert "service-unavailable" in found["EventNotSent"]["message"]
    assert "that nobody@example.org/restbroker-check is at the component" in found["EventNotSent"]["hint"]


@pytest.fixture
def openfire() -> Iterator[Openfire]:
    with Openfire(heartbeat_s=0.2) as server:
        yield server


def stream_findings(place: Path, *words: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code and the findings on a source of Openfire's streams whose configuration is there."""
    return checked(place, json.loads((place / "env.json").read_text()), *words)


@pytest.mark.nightly
def test_a_message_between_users_of_an_openfire_is_the_event_of_the_receiver_s_stream(
    openfire: Openfire, redis_server: RedisServer, tmp_path: Path
) -> None:
    with talking(tmp_path, redis_server, openfire, ["ann", "bob"]) as talk:
        talk.listening()
        for sender, receiver in (("ann", "bob"), (talk.jid("bob"), talk.jid("ann"))):
            code, found = stream_findings(tmp_path, "--from", sender, "--to", receiver)
            assert (code, list(found)) == (0, ["EventCame"]), found
        assert [event for event in talk.heard() if event["type"] != "presence"] == []
    assert "ofchat" not in json.dumps(found)


@pytest.mark.nightly
def test_at_an_openfire_whose_stream_is_not_read_gets_nothing_and_who_is_refused_is_the_other_half(
    openfire: Openfire, redis_server: RedisServer, tmp_path: Path
) -> None:
    with talking(tmp_path, redis_server, openfire, ["ann"]) as talk:
        talk.listening()
        code, found = stream_findings(tmp_path)
        assert (code, list(found)) == (2, ["EventNotTested"]), found
        assert "Users: ann" in found["EventNotTested"]["hint"]
        code, found = stream_findings(tmp_path, "--from", "ann", "--to", "zoe")
        assert (code, list(found)) == (2, ["EventNotTested"]), found
        assert "one of its Users with --to: ann" in found["EventNotTested"]["hint"]
        openfire.faults.add(Kind.EMPTY, "POST */messages/*")
        code, found = stream_findings(tmp_path, "--from", "zoe", "--to", "ann")
        assert (code, list(found)) == (1, ["EventNotSent"]), found


@pytest.mark.nightly
def test_at_an_openfire_a_message_that_was_taken_and_no_event_say_whose_stream_to_look_at(
    openfire: Openfire, redis_server: RedisServer, tmp_path: Path
) -> None:
    with talking(tmp_path, redis_server, openfire, ["ann", "bob"]):
        pass
    code, found = stream_findings(tmp_path, "--from", "ann", "--to", "bob", "--within", "1s")
    assert (code, list(found)) == (1, ["EventLost"]), found
    assert "the stream of bob open" in found["EventLost"]["hint"]


@pytest.mark.nightly
def test_what_a_mongooseim_pushes_of_a_message_between_those_who_were_named_is_its_event(
    document: dict[str, Any], redis_server: RedisServer, prosody: Prosody, tmp_path: Path
) -> None:
    (answer,) = (one for one in exchanges("message") if one.about == "sent")
    with Player([*exchanges("health"), attrs.evolve(answer, body=None)]) as server, ThreadPoolExecutor() as pool:
        document["Targets"]["prosody"] = entry(server)
        document["Events"]["Sources"]["bots"]["Kind"] = "mongooseim-webhook"

        def push() -> bool:
            (asked,) = until(lambda: sent(server, "sendMessage"), "it was asked to send")
            with HttpPusher(prosody.hook_port, prosody.hook_path) as pusher:
                return pusher.push("alice", "localhost", "bob", asked["body"])

        pushed = pool.submit(push)
        code, found = beside_broker(tmp_path, document, "--from", "alice@localhost", "--to", "bob@localhost")
        assert pushed.result()
    assert (code, list(found)) == (0, ["EventCame"]), found
    assert jobs(redis_server) == []
