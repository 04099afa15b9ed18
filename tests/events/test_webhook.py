"""A server posts an event over real HTTP: it becomes a job on a real Redis, or the server learns that it did not."""

import base64
import json

import attrs
import pytest
import trio

from restbroker.config.events import EventSource, Filter
from restbroker.config.secret import Secret
from restbroker.events.webhook import BODY_LIMIT_BYTES
from restbroker.servers.webhook.options import Options
from restbroker.store import events, queues, sources
from restbroker.store.client import Client
from tests.events.conftest import MESSAGE, PATH, QUEUE, SOURCE, Open, sent
from tests.support.rows import rows
from tests.support.wait import until_async

SECRET = "a-secret-of-many-letters"
LOCKED = attrs.evolve(SOURCE, secret=Secret(SECRET))


@pytest.mark.promise("Events", "an event is a job before its 202")
async def test_an_event_is_a_job_before_it_is_answered(hall: Open) -> None:
    async with hall() as one:
        answer = await one.post()
        (job,) = one.jobs()
        assert queues.names(one.store) == {QUEUE}
    assert (answer.status_code, answer.content) == (202, b"")
    assert (job["class"], job["queue"], job["retry"], len(job["jid"])) == ("XmppEvent", QUEUE, True, 24)
    (event,) = job["args"]
    assert (event["type"], event["source"], event["body"]) == ("message", "prosody", MESSAGE["body"])
    assert event["raw"] == MESSAGE
    assert one.outcomes() == ["accepted"]
    assert one.warnings() == []


async def test_a_source_is_shown_while_a_process_listens_for_it(hall: Open) -> None:
    def seen(store: Client) -> list[tuple[str, str]]:
        return [(state.source, state.code) for state in sources.read_states(store)]

    async with hall() as one:
        await until_async(lambda: seen(one.store) == [("prosody", "")], "its state is there")
    assert seen(one.store) == []


async def test_events_that_come_one_after_the_other_stay_in_order(hall: Open) -> None:
    async with hall() as one:
        for number in range(20):
            assert (await one.post(dict(MESSAGE, id=str(number)))).status_code == 202
        assert [job["args"][0]["id"] for job in one.jobs()] == [str(number) for number in range(20)]


async def test_each_source_has_its_path_queue_and_class(hall: Open) -> None:
    other = attrs.evolve(SOURCE, name="other", path="/other", queue="others", job_class="Other")
    async with hall(SOURCE, other) as one:
        await one.post()
        await one.post(path="/other")
        assert [job["args"][0]["source"] for job in one.jobs()] == ["prosody"]
        assert [(job["class"], job["args"][0]["source"]) for job in one.jobs("others")] == [("Other", "other")]


async def test_the_probe_of_prosody_is_answered(hall: Open) -> None:
    async with hall() as one:
        answer = await one.client.options(f"{one.url}{PATH}")
    assert (answer.status_code, answer.headers["accept"]) == (200, "application/json")
    assert "access-control-allow-origin" not in answer.headers
    assert one.warnings() == []


@rows("kind", ["get", "set", None])
async def test_an_iq_that_asks_is_refused_unless_it_is_wanted(hall: Open, kind: str | None) -> None:
    iq = {"kind": "iq", "from": "a@b/c", "to": "bots.example.org", "id": "q1", **({"type": kind} if kind else {})}
    wanted = attrs.evolve(SOURCE, name="wanted", path="/wanted", iq="accept")
    async with hall(SOURCE, wanted) as one:
        refused = await one.post(iq)
        assert one.jobs() == []
        taken = await one.post(iq, "/wanted")
        assert [job["args"][0]["type"] for job in one.jobs()] == ["iq"]
    assert refused.status_code == 200
    assert refused.json()["error"]["condition"] == "service-unavailable"
    assert taken.status_code == 202
    assert one.outcomes() == ["refused", "accepted"]


async def test_unwanted_events_are_dropped_and_questions_refused(hall: Open) -> None:
    picky = attrs.evolve(SOURCE, only=Filter(("message",), (), ("bot@*",)), iq="accept")
    async with hall(picky) as one:
        dropped = await one.post({"kind": "presence", "to": "bot@bots.example.org"})
        other = await one.post(dict(MESSAGE, to="robot@bots.example.org"))
        question = await one.post({"kind": "iq", "type": "get"})
        await one.post()
        assert [job["args"][0]["to"] for job in one.jobs()] == ["bot@bots.example.org"]
    assert (dropped.status_code, other.status_code, question.status_code) == (202, 202, 200)
    assert one.outcomes() == ["ignored", "ignored", "refused", "accepted"]


@pytest.mark.promise("Security: who can reach the ports", "as a server, to write into the log or use up memory")
@rows(
    "body",
    [
        b"",
        b'{"kind": "stream", "body": "a text that nobody else may see"}',
        b"\xff\xfe",
        b'{"kind": "message", "x": ' + b"[" * 99 + b"]" * 99 + b"}",
    ],
)
async def test_malformed_event_is_refused_without_quoting_it(hall: Open, body: bytes) -> None:
    async with hall() as one:
        answer = await one.post(body)
        assert one.jobs() == []
        assert (await one.post()).status_code == 202
    assert answer.status_code == 400
    # Of no type that Prosody would send on as a message.
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 400
    assert one.outcomes() == ["malformed", "accepted"]
    (warned,) = one.warnings()
    assert warned.code == "EventMalformed"
    assert "nobody else" not in f"{warned} {answer.text}"


async def test_another_type_than_json_is_refused_with_what_is_wanted(hall: Open) -> None:
    async with hall() as one:
        answer = await one.post(b"<message/>", **{"Content-Type": "application/xmpp+xml"})
        fine = await one.post(**{"Content-Type": "application/json; charset=utf-8"})
    assert (answer.status_code, answer.headers["accept"], fine.status_code) == (415, "application/json", 202)
    assert "The content type must be" in one.warnings()[0].message


async def test_another_path_or_method_is_refused(hall: Open) -> None:
    async with hall() as one:
        answers = [
            await one.post(path="/events"),
            await one.post(path=f"{PATH}/"),
            await one.client.put(f"{one.url}{PATH}"),
            await one.client.delete(f"{one.url}{PATH}"),
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 405, 405]
    assert answers[2].headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert {warned.code for warned in one.warnings()} == {"EventPathUnknown"}
    assert PATH in str(one.warnings()[0].hint)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@rows(
    ("query", "authorization"),
    [
        (f"?key={SECRET}", ""),
        ("?x=1&key=a%2dsecret-of-many-letters", ""),
        ("", f"Bearer {SECRET}"),
        ("", f"bearer {SECRET}"),
        ("", basic("restbroker", SECRET)),
        ("", basic("", SECRET)),
        ("", "Basic " + base64.b64encode(SECRET.encode()).decode()),
        ("?key=wrong", f"Bearer {SECRET}"),
    ],
)
async def test_the_secret_may_stand_where_a_server_can_put_it(hall: Open, query: str, authorization: str) -> None:
    async with hall(LOCKED) as one:
        answer = await one.post(path=PATH + query, Authorization=authorization, Host="events.example.org")
    assert answer.status_code == 202


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that no server sent")
@rows(
    ("query", "authorization"),
    [
        ("", ""),
        ("?key=", ""),
        ("?key=wrong", ""),
        (f"?Key={SECRET}", ""),
        ("", "Bearer wrong"),
        ("", f"Digest {SECRET}"),
        ("", "Basic ?"),
        ("", basic(SECRET, "")),
        ("", basic("restbroker", SECRET + "x")),
    ],
)
async def test_without_the_secret_no_event_is_taken_or_answered(hall: Open, query: str, authorization: str) -> None:
    async with hall(LOCKED) as one:
        answer = await one.post(path=PATH + query, Authorization=authorization)
        probe = await one.client.options(f"{one.url}{PATH}{query}", headers={"Authorization": authorization})
        assert one.jobs() == []
    assert (answer.status_code, probe.status_code) == (401, 401)
    assert one.outcomes() == ["unauthorized"] * 2
    assert {warned.code for warned in one.warnings()} == {"EventUnauthorized"}
    assert SECRET not in f"{one.events} {answer.text} {answer.headers}"


async def test_a_refused_request_is_noted_once_a_second(hall: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    note = events.record_refusal

    def counted(client: Client, source: str) -> None:
        noted.append(source)
        note(client, source)

    monkeypatch.setattr(events, "record_refusal", counted)
    async with hall(LOCKED) as one:
        assert (await one.post(Authorization=f"Bearer {SECRET}")).status_code == 202
        assert events.read_refusal(one.store, "prosody") is None
        for _ in range(20):
            assert (await one.post(Authorization="Bearer wrong")).status_code == 401
        refusal = await until_async(lambda: events.read_refusal(one.store, "prosody"), "Redis knows", 60)
        assert isinstance(refusal, bytes)
        assert b"wrong" not in refusal
        await trio.sleep(1.1)
        assert (await one.post(Authorization="Bearer wrong")).status_code == 401
        await until_async(lambda: events.read_refusal(one.store, "prosody") != refusal, "Redis knows of the last", 60)
    assert set(noted) == {"prosody"}
    assert 2 <= len(noted) < 21


async def test_a_body_is_not_waited_for_where_it_would_be_refused(hall: Open) -> None:
    async with hall(LOCKED) as one:
        for request in (
            sent(b"", length=5),
            sent(b"", path=f"{PATH}?key={SECRET}", length=BODY_LIMIT_BYTES + 1),
        ):
            async with await one.connect() as stream:
                await stream.send_all(request)
                with trio.fail_after(60):  # unread bodies are refused otherwise, after ten seconds
                    assert (await stream.receive_some()).split()[1] in (b"401", b"413")
    assert one.outcomes() == ["unauthorized", "too_large"]
    assert one.warnings()[-1].code == "EventTooLarge"


@rows("host", ["127.0.0.1", "localhost:8081", "[::1]:8081", "127.0.0.2:1"])
async def test_without_a_secret_programs_of_this_machine_post(hall: Open, host: str) -> None:
    async with hall() as one:
        assert (await one.post(Host=host)).status_code == 202


@pytest.mark.promise("Security: who can reach the ports", "to have an event taken that no server sent")
@rows("host", ["evil.example.org", "evil.example.org:8081", "127.0.0.1.example.org", "[::1", ""])
async def test_without_a_secret_a_page_of_another_name_posts_nothing(hall: Open, host: str) -> None:
    async with hall() as one:
        answer = await one.post(Host=host)
        assert answer.status_code in (400, 401)
        assert one.jobs() == []
    if answer.status_code == 401:
        (warned,) = one.warnings()
        assert warned.code == "EventUnauthorized"
        assert "as Host" in answer.text
        assert "as Host" in warned.message
        assert "127.0.0.1" in str(warned.hint)


@pytest.mark.promise("Events", "Redis is frozen, back soon, full, or has another type")
async def test_queue_that_is_no_list_is_reported_to_server_and_log(hall: Open) -> None:
    async with hall() as one:
        one.store.command("SET", f"queue:{QUEUE}", "x")
        answer = await one.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["type"] == "wait"
    (warned,) = one.warnings()
    assert warned.code == "EventNotTaken"
    assert f"the queue {QUEUE}" in warned.message


def broken() -> str:
    raise LookupError("a secret text")


async def test_bug_answers_500_without_its_text(hall: Open) -> None:
    async with hall() as one:
        one.receiver.deliverer.new_jid = lambda: json.loads("{a secret text")
        # A ValueError is taken for an event that no JSON can hold.
        assert (await one.post()).status_code == 400
        one.receiver.deliverer.new_jid = broken
        answer = await one.post()
    assert answer.status_code == 500
    assert one.outcomes() == ["malformed", "failed"]
    assert "RequestFailed" in {warned.code for warned in one.warnings()}
    assert "a secret text" not in f"{one.events}{answer.text}"


@rows("method", ["GET", "HEAD", "OPTIONS"])
async def test_whoever_only_looks_is_told_that_it_is_there(hall: Open, method: str) -> None:
    """Trello and Mandrill look with HEAD, Mailchimp with GET; a wrong secret is refused as that of a post."""
    async with hall(LOCKED) as one:
        url = f"{one.url}{PATH}"
        right = [await one.client.request(method, address) for address in (f"{url}?key={SECRET}", f"{url}/{SECRET}")]
        wrong = await one.client.request(method, f"{url}?key=wrong")
        assert one.jobs() == []
    assert [(answer.status_code, answer.content) for answer in right] == [(200, b"")] * 2
    assert right[0].headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert wrong.status_code == 401
    assert one.outcomes() == ["unauthorized"]


async def test_a_signed_source_answers_nobody_who_looks(hall: Open) -> None:
    signed = EventSource("sns", "mongooseim-sns", "/sns", QUEUE, "X", secrets=(Secret(SECRET),))
    async with hall(signed) as one:
        answers = [await one.client.request(method, f"{one.url}/sns") for method in ("GET", "HEAD", "OPTIONS")]
    assert [answer.status_code for answer in answers] == [405, 405, 200]


@rows(
    ("path", "status"),
    [("/open/r%FCm?q=%FC&r=1", 400), ("/open/r%C3%BCm?q=%FC&r=1", 202), ("/open/x/%FC?r=%FC", 400)],
)
async def test_bytes_that_are_no_text_cost_what_is_mapped(hall: Open, path: str, status: int) -> None:
    options = Options(map={"room": ("path:0",), "it": ("query:r",)})
    source = EventSource("any", "webhook", "/open", QUEUE, "X", options=options, has_ids=False)
    async with hall(source) as one:
        assert (await one.post({"a": 1}, path=path)).status_code == status
        assert [job["args"][0]["room"] for job in one.jobs()] == (["rüm"] if status == 202 else [])


@rows("path", ["%FF", "%EF%BF%BD", "a-secret-of-many-letters%FF"])
async def test_bytes_that_are_no_text_are_no_secret(hall: Open, path: str) -> None:
    async with hall(attrs.evolve(LOCKED, secret=Secret("a-secret-of-many-\ufffd"))) as one:
        given = (f"{PATH}?key=a-secret-of-many-{path}", f"{PATH}/a-secret-of-many-{path}")
        answers = [(await one.post(path=address)).status_code for address in given]
    assert answers == [202 if path == "%EF%BF%BD" else 401] * 2


async def test_a_body_too_large_in_chunks_is_refused_by_name(hall: Open) -> None:
    head = sent(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with hall() as one, await one.connect() as stream:
        await stream.send_all(head + b"400\r\n%s\r\n" % (b"y" * 1024) * 1025)
        with trio.fail_after(60):
            assert (await stream.receive_some()).split()[1] == b"413"
    assert one.outcomes() == ["too_large"]
    assert one.warnings()[-1].code == "EventTooLarge"


async def test_websocket_request_is_answered_as_one_that_looks(hall: Open) -> None:
    async with hall() as one:
        async with await one.connect() as stream:
            await stream.send_all(
                f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            assert (await stream.receive_some()).split()[1] == b"200"
        assert (await one.post()).status_code == 202


async def test_the_secret_may_follow_the_longest_path(hall: Open) -> None:
    above = attrs.evolve(LOCKED, name="above", path="/events", secret=Secret("another-secret-of-letters"))
    open_ = attrs.evolve(SOURCE, name="open", path="/open")
    async with hall(above, LOCKED, open_) as one:
        paths = (f"{PATH}/{SECRET}", "/events/another-secret-of-letters", f"/events/prosody?key={SECRET}")
        assert [(await one.post(path=path)).status_code for path in paths] == [202] * 3
        assert [job["args"][0]["source"] for job in one.jobs()] == ["prosody", "above", "prosody"]
        wrong = (PATH, f"{PATH}/x", f"{PATH}/{SECRET}/", f"/events/{SECRET}", f"{PATH}//{SECRET}")
        assert [(await one.post(path=path)).status_code for path in wrong] == [401] * 5
        # One that needs no secret has nothing behind its path.
        assert [(await one.post(path=path)).status_code for path in ("/open/x", "/else")] == [404] * 2
        assert (await one.post(path="/open/x", Host="127.0.0.1")).status_code == 404, "nor for this machine's programs"
        assert len(one.jobs()) == 3
    assert SECRET not in repr(one.events)
