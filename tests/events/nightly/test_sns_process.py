"""`restbroker run` as a process: MongooseIM's SNS pusher publishes over TLS, and what Redis missed it sends again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import botocore.session
import pytest

from restbroker.store.client import Client, StoreSettings, open_client
from tests.events.conftest import jobs_in, written
from tests.support.aws_signing import NAME, SECRET
from tests.support.mongooseim.push_sns import SnsPusher
from tests.support.process import Running, started
from tests.support.redis_server import RedisServer
from tests.support.wait import until
from tests.transport.authority import Authority

KINDS: Final = {"presence_updated": "presence", "message_sent": "message"}
TEXT: Final = 'before he said "hi", then\n\t\\ left: äöü €'


def configure(place: Path, redis: RedisServer, ours: Authority, **more: Any) -> None:
    (place / "key").write_text(SECRET)
    certificate, key = ours.pair("server")
    topics = {f"user_{name}": {"Type": kind} for name, kind in KINDS.items()}
    options = {"AccessKey": NAME, "SecretKeyFile": "key", "Topics": topics}
    section = {"Listen": "127.0.0.1:0", "CertFile": str(certificate), "KeyFile": str(key)}
    sources = {"mim": {"Kind": "mongooseim-sns", "Options": options, **more}}
    written(place, redis.url, {**section, "Sources": sources})


def host_of(broker: Running) -> str:
    port = broker.wait_for(r"listening what=events addresses=https://127\.0\.0\.1:(\d+)")[1]
    return f"localhost:{port}"


def test_an_event_that_redis_missed_is_published_again(
    make_redis: Callable[..., RedisServer], ours: Authority, tmp_path: Path
) -> None:
    redis = make_redis(appendonly="yes", appendfsync="always")
    configure(tmp_path, redis, ours, DropDuplicates="5m")
    message = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example"}
    with started(["run"], directory=tmp_path) as broker:
        # It tries more often than usual: the machine may be busy.
        with SnsPusher(host_of(broker), NAME, SECRET, str(ours.ca), retry_count=12, timeout_s=30.0) as pusher:
            pusher.publish("chat", {**message, "message": TEXT})
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
    assert SECRET not in broker.output()
    assert pusher.dropped == []
    assert found == [TEXT, *(f"meanwhile {number}" for number in range(5))]


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
