"""What clients of a real Prosody send to a component becomes jobs, and they learn what did not.

Against our stand-in for mod_rest.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from restbroker.store import queues
from restbroker.store.client import Client as Store
from restbroker.store.client import StoreSettings, open_client
from tests.support.process import Running, started
from tests.support.prosody import Prosody
from tests.support.redis_server import RedisServer
from tests.support.roster_service import RosterService
from tests.support.wait import until
from tests.support.xmpp import Client, Clients

QUEUE = "xmpp_events"
SECRET = "a-secret-of-many-letters"
PING = "<ping xmlns='urn:xmpp:ping'/>"


@pytest.fixture
def john(prosody: Prosody, roster_service: RosterService, clients: Clients) -> Client:
    prosody.register("john", "aaron")
    return clients.login("john")


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[Store]:
    client = open_client(StoreSettings(redis_server.url))
    yield client
    client.close()


@contextmanager
def broker(place: Path, redis: RedisServer, prosody: Prosody, **more: Any) -> Iterator[Running]:
    """Takes the events of this Prosody in; `more` is of its source."""
    source = {"Kind": "prosody-rest", "Path": prosody.hook_path, "Queue": QUEUE, "Class": "XmppEvent", **more}
    document = {
        "RedisURL": redis.url,
        "RestURL": "http://127.0.0.1:1/api",
        "RestQueue": "rest",
        "Token": "t",
        "Events": {"Listen": f"127.0.0.1:{prosody.hook_port}", "Sources": {"prosody": source}},
    }
    (place / "env.json").write_text(json.dumps(document))
    with started(["run"], directory=place) as running:
        running.wait_for("listening what=events")
        yield running


def events(store: Store) -> list[dict[str, Any]]:
    """Those of the jobs in the queue, the first that came first."""
    return [json.loads(job)["args"][0] for job in queues.peek(store, QUEUE, 0, 10_000)]


def awaited(store: Store, number: int) -> list[dict[str, Any]]:
    return until(lambda: found if len(found := events(store)) >= number else [], f"{number} jobs are there", 60)


def test_a_message_to_a_bot_is_a_job_with_all_that_is_known_of_it(
    prosody: Prosody, john: Client, redis_server: RedisServer, store: Store, tmp_path: Path
) -> None:
    with broker(tmp_path, redis_server, prosody) as running:
        john.say(f"bot@{prosody.hook_host}", "hi ☂")
        (event,) = awaited(store, 1)
        # It is answered by then.
        assert running.stop() == 0
    assert (event["type"], event["to"], event["body"]) == ("message", f"bot@{prosody.hook_host}", "hi ☂")
    assert (event["server"], event["source"], event["room"]) == (prosody.hook_host, "prosody", None)
    assert event["from"].startswith("john@example.org/")
    assert event["id"]
    assert event["raw"]["kind"] == "message"
    assert john.messages.all == []


def test_a_stanza_as_xml_keeps_elements_that_json_loses_and_a_name_is_told_as_well(
    make_prosody: Callable[..., Prosody],
    roster_service: RosterService,
    redis_server: RedisServer,
    store: Store,
    tmp_path: Path,
) -> None:
    prosody = make_prosody(hook_type="application/xmpp+xml", roster_port=roster_service.port)
    prosody.register("john")
    options = {"XML": True, "Name": "Tea bot"}
    with broker(tmp_path, redis_server, prosody, Options=options), Clients(prosody.c2s_port, prosody.host) as clients:
        john = clients.login("john")
        john.send(f"<message to='bot@{prosody.hook_host}' type='chat'><body>hi</body><odd xmlns='urn:odd'/></message>")
        (event,) = awaited(store, 1)
        assert (event["body"], event["raw"]["kind"]) == ("hi", "message")
        assert "urn:odd" in event["raw"]["xml"]
        assert john.ask(f"bot@{prosody.hook_host}", "<query xmlns='jabber:iq:version'/>") == ("result", None)
        assert john.ask(f"bot@{prosody.hook_host}", "<query xmlns='urn:odd'/>") == ("error", "service-unavailable")


def test_while_redis_is_away_the_sender_learns_of_it_and_may_try_again(
    prosody: Prosody, john: Client, redis_server: RedisServer, store: Store, tmp_path: Path
) -> None:
    with broker(tmp_path, redis_server, prosody) as running:
        redis_server.suspend()
        try:
            john.say(f"bot@{prosody.hook_host}", "lost")
            (bounced,) = john.messages.wait_for_number(1)
            assert (bounced.kind, bounced.condition) == ("error", "recipient-unavailable")
        finally:
            redis_server.resume()
        running.wait_for("code=EventNotTaken")
        john.say(f"bot@{prosody.hook_host}", "kept")
        until(lambda: "kept" in [event["body"] for event in events(store)], "the next one is taken", 60)


def test_with_the_secret_in_its_url_prosody_is_let_in_and_with_another_the_sender_learns_of_it(
    make_prosody: Callable[..., Prosody],
    roster_service: RosterService,
    redis_server: RedisServer,
    store: Store,
    tmp_path: Path,
) -> None:
    right = make_prosody(hook_login=f"restbroker:{SECRET}@", roster_port=roster_service.port)
    wrong = make_prosody(hook_login="restbroker:wrong@", hook_port=right.hook_port, roster_port=roster_service.port)
    with broker(tmp_path, redis_server, right, Secret=SECRET) as running:
        for server in (right, wrong):
            server.register("john")
            with Clients(server.c2s_port, server.host) as clients:
                john = clients.login("john")
                john.say(f"bot@{server.hook_host}", "hi")
                if server is right:
                    assert awaited(store, 1)[0]["body"] == "hi"
                else:
                    (bounced,) = john.messages.wait_for_number(1)
                    # Of the refusal nothing is sent on to the user but its kind.
                    assert (bounced.condition, bounced.body) == ("not-authorized", None)
        running.wait_for("code=EventUnauthorized")
    assert len(events(store)) == 1
