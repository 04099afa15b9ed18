"""`restbroker run` as a process: MongooseIM's SNS pusher publishes over TLS, and what Redis missed it sends again."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import botocore.session
import pytest

from restbroker.store.client import Client, StoreSettings, open_client
from tests.events.conftest import jobs_in, written
from tests.support.aws_signing import NAME, SECRET
from tests.support.mongooseim.push_sns import SnsPusher
from tests.support.process import Running, run, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.transport.authority import Authority

QUEUE: Final = "xmpp_events"
TEXT: Final = 'He said "hi", then\n\t\\ left: äöü €'


def configure(place: Path, redis: RedisServer, ours: Authority, *, listen: str = "127.0.0.1:0", **more: Any) -> None:
    (place / "key").write_text(SECRET)
    certificate, key = ours.pair("server")
    kinds = {"presence_updated": "presence", "message_sent": "message", "messagegroup_sent": "groupchat"}
    topics = {f"user_{name}": {"Type": kind} for name, kind in kinds.items()}
    topics["user_messagegroup_sent"]["Queue"] = "rooms"
    options = {"AccessKey": NAME, "SecretKeyFile": "key", "Topics": topics}
    section = {"Listen": listen, "CertFile": str(certificate), "KeyFile": str(key)}
    sources = {"mim": {"Kind": "mongooseim-sns", "Options": options, **more}}
    written(place, redis.url, {**section, "Sources": sources})


def host_of(broker: Running) -> str:
    port = broker.wait_for(r"listening what=events addresses=https://127\.0\.0\.1:(\d+)")[1]
    return f"localhost:{port}"


@contextmanager
def pushing(broker: Running, ours: Authority, **how: Any) -> Iterator[SnsPusher]:
    """MongooseIM's pusher, with patience for a busy machine unless `how` says otherwise."""
    with SnsPusher(host_of(broker), NAME, SECRET, str(ours.ca), **{"retry_count": 12, **how}) as pusher:
        yield pusher


def test_publications_of_mongooseim_arrive_as_jobs(
    redis_server: RedisServer, store: Client, ours: Authority, tmp_path: Path
) -> None:
    configure(tmp_path, redis_server, ours)
    ids = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example"}
    with started(["run"], directory=tmp_path) as broker:
        with pushing(broker, ours) as pusher:
            pusher.publish("chat", {**ids, "message": TEXT})
            pusher.publish("groupchat", {**ids, "to_user_id": "den@muc.one.example", "message": TEXT})
            pusher.publish("presence", {"user_id": "ann@one.example", "present": False})
            pusher.wait()
        found = [job["args"][0] for job in jobs_in(store) + jobs_in(store, "rooms")]
        shown = run(["events", "tail", "--once", "--json"], directory=tmp_path)
        peeked = run(["queues", "peek", QUEUE], directory=tmp_path)
        explained = run(["explain", jobs_in(store)[0]["jid"], "--json"], directory=tmp_path)
        configured = run(["config", "show", "--json"], directory=tmp_path)
        assert explained.returncode == 0, explained.stderr
        assert broker.stop() == 0
        output = broker.output()
    assert pusher.dropped == []
    assert {(event["type"], event["from"], event["to"], event["body"]) for event in found} == {
        ("groupchat", "ann@one.example", "den@muc.one.example", TEXT),
        ("message", "ann@one.example", "bob@two.example", TEXT),
        ("presence", "ann@one.example", None, None),
    }
    assert {json.loads(line)["source"] for line in shown.stdout.splitlines()} == {"mim"}
    for text in (output, shown.stdout, peeked.stdout, explained.stdout, configured.stdout):
        assert SECRET not in text
        assert "He said" not in text


def test_an_event_that_redis_missed_is_published_again(
    make_redis: Callable[..., RedisServer], ours: Authority, tmp_path: Path
) -> None:
    redis = make_redis(appendonly="yes", appendfsync="always")
    configure(tmp_path, redis, ours, DropDuplicates="5m")
    message = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example"}
    with started(["run"], directory=tmp_path) as broker:
        with pushing(broker, ours, timeout_s=30.0) as pusher:
            pusher.publish("chat", {**message, "message": "before"})
            pusher.wait()
            redis.kill()
            try:
                for number in range(5):
                    pusher.publish("chat", {**message, "message": f"meanwhile {number}"})
                until(lambda: pusher.statuses.count(503) >= 5, "all were refused")
            finally:
                redis.start()
            pusher.wait(60)
        client = open_client(StoreSettings(redis.url))
        found = sorted(job["args"][0]["body"] for job in jobs_in(client))
        client.close()
        assert broker.stop() == 0
    assert pusher.dropped == []
    assert found == ["before", *(f"meanwhile {number}" for number in range(5))]


def test_amazons_own_client_understands_every_answer(
    redis_server: RedisServer, store: Client, ours: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    configure(tmp_path, redis_server, ours)
    topic = "arn:aws:sns:eu-west-1:123456789012:user_presence_updated"
    with started(["run"], directory=tmp_path) as broker:

        def client(secret: str) -> Any:
            return botocore.session.get_session().create_client(
                "sns",
                region_name="eu-west-1",
                endpoint_url=f"https://{host_of(broker)}",
                aws_access_key_id=NAME,
                aws_secret_access_key=secret,
                verify=str(ours.ca),
            )

        message = '{"user_id": "ann@one.example", "present": true}'
        assert client(SECRET).publish(TopicArn=topic, Message=message)["MessageId"]
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
            client(SECRET[::-1]).publish(TopicArn=topic, Message=message)
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameter"):
            client(SECRET).publish(TopicArn=topic, Message="hello")
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameter"):
            client(SECRET).list_topics()
        assert broker.stop() == 0
    assert [job["args"][0]["type"] for job in jobs_in(store)] == ["presence"]
