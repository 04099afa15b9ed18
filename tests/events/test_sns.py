"""What is published as MongooseIM does it, over TLS and signed, becomes a job; what else comes is refused as XML."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import attrs
import httpx
import orjson
import pytest
import trio

from restbroker.config.events import EventSource, Route, Shape
from restbroker.config.secret import Secret
from restbroker.config.target import CertFiles
from restbroker.events.webhook import BODY_LIMIT_BYTES
from restbroker.servers.mongooseim.sns.options import Options, TopicKeys
from tests.events.conftest import QUEUE, Hall, Open
from tests.support.aws_signing import FORM, NAME, SECRET, signed_headers
from tests.support.rows import rows
from tests.transport.authority import Authority

TEXT: Final = "a text that nobody else may see"
MESSAGE: Final = {"from_user_id": "ann@one.example", "to_user_id": "bob@two.example", "message": TEXT}
PRESENCE: Final = {"user_id": "ann@one.example", "present": True}
OPTIONS: Final = Options(
    access_key=NAME,
    secret_key=Secret(SECRET),
    topics={
        "user_message_sent": TopicKeys(type="message"),
        "user_messagegroup_sent": TopicKeys(type="groupchat", queue="rooms", job_class="RoomEvent"),
        "user_presence_updated": TopicKeys(type="presence", queue="presences"),
    },
)
SOURCE: Final = EventSource(
    "mim", "mongooseim-sns", "/", QUEUE, "XmppEvent", has_ids=False, options=OPTIONS, secrets=(Secret(SECRET),)
)


def form(message: object = MESSAGE, topic: str = "user_message_sent", **more: str) -> bytes:
    fields = {
        "Action": "Publish",
        "Version": "2010-03-31",
        "TopicArn": f"arn:aws:sns:eu-west-1:123456789012:{topic}",
        "MessageStructure": "json",
        "Message": orjson.dumps(message).decode(),
    }
    return urlencode(fields | more).encode()


@attrs.define(eq=False)
class Publisher:
    """Publishes to an open hall."""

    hall: Hall
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"{self.hall.url.replace('127.0.0.1', 'localhost')}/"

    async def publish(self, body: bytes, **how: Any) -> httpx.Response:
        headers = signed_headers(self.url, body, erlcloud=True, **how)
        return await self.client.post(self.url, content=body, headers=headers)


@pytest.fixture
def publishing(hall: Open, ours: Authority) -> Any:
    """Opens a hall with TLS for a source, with what publishes there."""

    @asynccontextmanager
    async def opened(source: EventSource = SOURCE, **how: Any) -> AsyncIterator[Publisher]:
        trusting = ssl.create_default_context(cafile=ours.ca)
        async with (
            hall(source, tls=CertFiles(*ours.pair("server")), **how) as one,
            httpx.AsyncClient(verify=trusting, trust_env=False, timeout=60) as client,
        ):
            yield Publisher(one, client)

    return opened


def said(answer: httpx.Response) -> tuple[int, str]:
    root = ET.fromstring(answer.content.decode("ascii"))  # noqa: S314  it is ours
    assert answer.headers["content-type"] == "text/xml"
    return answer.status_code, root.findtext("{*}Error/{*}Code") or root.tag.rpartition("}")[2]


async def test_publication_is_a_job_on_the_queue_of_its_topic(publishing: Any) -> None:
    async with publishing() as one:
        for body in (
            form(),
            form({**MESSAGE, "to_user_id": "den@muc.one.example"}, "user_messagegroup_sent"),
            form(PRESENCE, "user_presence_updated"),
        ):
            assert said(await one.publish(body)) == (200, "PublishResponse")
        found = [one.hall.jobs(queue) for queue in (QUEUE, "rooms", "presences")]
        assert one.hall.outcomes() == ["accepted"] * 3
        assert one.hall.warnings() == []
    assert [[(job["class"], job["queue"]) for job in jobs] for jobs in found] == [
        [("XmppEvent", QUEUE)],
        [("RoomEvent", "rooms")],
        [("XmppEvent", "presences")],
    ]
    events = [jobs[0]["args"][0] for jobs in found]
    names = ("type", "from", "to", "body", "room", "presence")
    assert [tuple(event[name] for name in names) for event in events] == [
        ("message", "ann@one.example", "bob@two.example", TEXT, None, None),
        ("groupchat", "ann@one.example", "den@muc.one.example", TEXT, "den@muc.one.example", None),
        ("presence", "ann@one.example", None, None, None, "available"),
    ]
    assert events[2]["raw"]["payload"] == PRESENCE


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@rows(
    ("how", "expected"),
    [
        ({"secret": "another-secret-key"}, (403, "SignatureDoesNotMatch")),
        ({"name": "AKIAOTHER"}, (403, "InvalidClientTokenId")),
        ({"at_s": 1_000_000_000.0}, (403, "SignatureDoesNotMatch")),
        ({"service": "sqs"}, (403, "SignatureDoesNotMatch")),
    ],
)
async def test_publication_without_the_keys_signature_is_refused(
    publishing: Any, how: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with publishing() as one:
        assert said(await one.publish(form(), **how)) == expected
        assert one.hall.jobs() == []
        (warned,) = one.hall.warnings()
        assert one.hall.outcomes() == ["unauthorized"]
    assert warned.code == "EventUnauthorized"
    assert warned.hint is not None
    assert "keys of this source's Options, that both clocks" in warned.hint
    assert TEXT not in warned.message


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that MongooseIM did not publish")
@rows(
    ("is_signed", "length", "expected"),
    [(False, 10, b"403"), (False, 2 * BODY_LIMIT_BYTES, b"403"), (True, 2 * BODY_LIMIT_BYTES, b"413")],
)
async def test_a_body_that_need_not_be_read_is_not_waited_for(
    publishing: Any, ours: Authority, is_signed: bool, length: int, expected: bytes
) -> None:
    async with publishing() as one:
        host = one.url.split("/")[2]
        headers = signed_headers(one.url, b"", erlcloud=True) if is_signed else {"Host": host, "Content-Type": FORM}
        lines = [f"{name}: {value}" for name, value in (headers | {"Content-Length": str(length)}).items()]
        context = ssl.create_default_context(cafile=ours.ca)
        port = int(host.rpartition(":")[2])
        async with await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=context) as stream:
            await stream.send_all("\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode())
            with trio.fail_after(60):  # unread bodies are refused otherwise, after ten seconds
                answer = bytes(await stream.receive_some())
        assert answer.split()[1] == expected
        assert b"text/xml" in answer


async def test_signed_publication_without_event_is_refused_as_xml(publishing: Any) -> None:
    async with publishing() as one:
        assert said(await one.publish(form(topic="unknown"))) == (400, "InvalidParameter")
        assert one.hall.jobs() == []
        (warned,) = one.hall.warnings()
        assert TEXT not in warned.message
        assert said(await one.publish(form())) == (200, "PublishResponse")


async def test_another_method_or_type_is_refused_as_xml_too(publishing: Any) -> None:
    async with publishing() as one:
        assert said(await one.client.get(one.url)) == (405, "InvalidAction")
        headers = {**signed_headers(one.url, b"{}", erlcloud=True), "Content-Type": "application/json"}
        assert said(await one.client.post(one.url, content=b"{}", headers=headers))[0] == 415
        assert (await one.client.options(one.url)).status_code == 200


async def test_the_same_message_twice_is_two_jobs_by_default(publishing: Any) -> None:
    async with publishing() as one:
        at_s = time.time()
        # One second, one signature: MongooseIM may mean both.
        for _ in range(2):
            assert (await one.publish(form(), at_s=at_s)).status_code == 200
        assert len(one.hall.jobs()) == 2
    async with publishing(attrs.evolve(SOURCE, window_s=60.0)) as one:
        for number in range(3):
            assert (await one.publish(form(), at_s=at_s + number)).status_code == 200
        assert one.hall.outcomes() == ["accepted", "duplicate", "duplicate"]
        assert (await one.publish(form(MESSAGE | {"message": "other"}))).status_code == 200
        for present in (True, False, True):
            body = form(PRESENCE | {"present": present}, "user_presence_updated")
            assert (await one.publish(body)).status_code == 200
        shown = [job["args"][0]["raw"]["payload"]["present"] for job in one.hall.jobs("presences")]
    assert shown == [True, False, True], "who goes and comes means it"


async def test_a_topic_with_a_queue_is_not_routed(publishing: Any) -> None:
    routed = attrs.evolve(SOURCE, routes=(Route("routed", "Routed"),), shape=Shape({"tenant": "a"}))
    async with publishing(routed) as one:
        assert (await one.publish(form())).status_code == 200
        assert (await one.publish(form(PRESENCE, "user_presence_updated"))).status_code == 200
        assert [job["class"] for job in one.hall.jobs("routed")] == ["Routed"]
        (presence,) = one.hall.jobs("presences")
    assert (presence["class"], presence["args"][0]["tenant"]) == ("XmppEvent", "a")


async def test_frozen_redis_makes_sns_publish_again(publishing: Any) -> None:
    async with publishing(hurried=True) as one:
        assert (await one.publish(form())).status_code == 200
        one.hall.redis.suspend()
        try:
            answer = await one.publish(form(MESSAGE | {"message": "later"}))
        finally:
            one.hall.redis.resume()
        assert said(answer) == (503, "ServiceUnavailable")
        assert one.hall.outcomes() == ["accepted", "unavailable"]


async def test_a_key_that_was_never_read_is_nobodys(publishing: Any, tmp_path: Path) -> None:
    async with publishing(attrs.evolve(SOURCE, secrets=(Secret(path=tmp_path / "none"),))) as one:
        assert said(await one.publish(form(), secret="x" * 16)) == (403, "InvalidClientTokenId")
        assert one.hall.jobs() == []
