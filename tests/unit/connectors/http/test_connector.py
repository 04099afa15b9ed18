"""What is sent for a job, as a real receiver gets it, and what its answers mean."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from standardwebhooks.webhooks import Webhook

from restbroker.connectors import registry
from restbroker.connectors.contract import Connector, Ports
from restbroker.rules.command import Call, Command
from restbroker.rules.outcome import Deferred, Delivered, Denied, Outcome, Rejected, Uncertain
from restbroker.transport.client import open_transport
from restbroker.transport.errors import NotSent
from restbroker.transport.message import Request, Response, Transport
from tests.support.receiver import Answer, Received, Receiver
from tests.unit.connectors.http.conftest import Made

JID = "0123456789abcdef01234567"
SECRETS = ["whsec_" + base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]
CANARY = "c4n4ry-s3cr3t"
engines = pytest.mark.parametrize("engine", ["lean", "httpx"])


@attrs.frozen
class Direct:
    """A link that sends at once."""

    http: Transport

    async def ask(self, request: Request) -> Response:
        return await self.http.send(request)

    send = ask


@attrs.frozen
class Bench:
    """A connector and the receiver that it sends to."""

    connector: Connector
    link: Direct
    receiver: Receiver

    async def deliver(
        self, command: str = "do", /, host: str | None = None, jid: str = JID, **arguments: Any
    ) -> Outcome:
        return await self.connector.deliver(Call(Command(command, arguments), host=host, jid=jid), self.link)

    async def sent(self, command: str = "do", /, **arguments: Any) -> Received:
        assert isinstance(await self.deliver(command, **arguments), Delivered)
        return self.receiver.received[-1]


Open = Callable[..., Any]


@pytest.fixture
def opened(made: Made) -> Open:
    """A bench for these options."""

    @asynccontextmanager
    async def run(
        options: Mapping[str, Any],
        act: Callable[[Received], Answer] = lambda _: Answer(),
        *,
        environ: Mapping[str, str] | None = None,
        path: str = "/v1",
        **members: Any,
    ) -> AsyncIterator[Bench]:
        with Receiver(act) as receiver:
            target = made({"AllowPrivate": True, **options}, environ, URL=receiver.url + path, **members)
            http = open_transport(target)
            try:
                ports = Ports(lambda _: None, lambda: 1_700_000_000.0)
                yield Bench(registry.open_connector(target, ports), Direct(http), receiver)
            finally:
                await http.aclose()

    return run


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Received], Answer]:
    return lambda _: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@engines
async def test_method_path_query_body_and_headers_are_what_the_command_says(opened: Open, engine: str) -> None:
    command = {
        "Method": "PUT",
        "Path": "users/{user}/notes",
        "Query": {"mode": "{mode}", "tag": "{tags?}", "v": "2"},
        "Body": {"text": "Hi {user}", "count": "{count}", "deep": [{"all": "{more}"}]},
        "Headers": {"Accept": "text/plain", "X-Own": "1"},
    }
    options = {"Commands": {"do": command}, "Headers": {"Accept": "application/json", "X-Key": {"Env": "KEY"}}}
    login = {"Basic": {"User": "joe", "Pass": "päss"}}
    async with opened(options, environ={"KEY": CANARY}, Engine=engine, Auth=login, HostHeader="api.example") as bench:
        got = await bench.sent(user="ä b@x", mode="a&b", tags=["x", "y/z"], count=3, more={"k": None})
    assert (got.method, got.target) == ("PUT", "/v1/users/%C3%A4%20b%40x/notes?mode=a%26b&tag=x&tag=y%2Fz&v=2")
    assert json.loads(got.body) == {"text": "Hi ä b@x", "count": 3, "deep": [{"all": {"k": None}}]}
    assert got.headers["content-type"] == "application/json"
    assert got.headers["authorization"] == "Basic " + base64.b64encode("joe:päss".encode()).decode()
    assert (got.headers["accept"], got.headers["x-own"], got.headers["x-key"]) == ("text/plain", "1", CANARY)
    assert got.headers["host"] == "api.example"
    assert not {"webhook-id", "idempotency-key"} & got.headers.keys()


@engines
async def test_without_a_body_template_the_arguments_that_are_left_are_the_body(opened: Open, engine: str) -> None:
    options = {"Commands": {"do": {"Path": "{user}"}, "form": {"Encoding": "form"}}}
    async with opened(options, Engine=engine) as bench:
        got = await bench.sent(user="joe", n=1, deep={"a": [True]})
        assert (got.target, json.loads(got.body)) == ("/v1/joe", {"n": 1, "deep": {"a": [True]}})
        form = await bench.sent("form", a="x y&z", b=[1, 2], c=True)
    assert (form.body, form.headers["content-type"]) == (
        b"a=x+y%26z&b=1&b=2&c=true",
        "application/x-www-form-urlencoded",
    )


@engines
@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
async def test_a_method_without_a_body_sends_none(opened: Open, engine: str, method: str) -> None:
    options = {"Commands": {"do": {"Method": method, "Path": "x", "Query": {"q": "{q}"}}}}
    async with opened(options, Engine=engine) as bench:
        got = await bench.sent(q="a")
    assert (got.method, got.target, got.body) == (method, "/v1/x?q=a", b"")
    assert "content-type" not in got.headers


@engines
@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
async def test_a_method_without_a_body_has_one_where_the_encoding_is_given(
    opened: Open, engine: str, method: str
) -> None:
    options = {"Commands": {"do": {"Method": method, "Encoding": "json"}}}
    async with opened(options, Engine=engine) as bench:
        got = await bench.sent(q="a")
    assert (got.method, got.body) == (method, b'{"q":"a"}')


async def test_an_empty_path_is_the_url_itself(opened: Open) -> None:
    for url, asked in (("", "/"), ("/hook", "/hook")):
        async with opened({"Commands": {"do": {}}}, path=url) as bench:
            assert (await bench.sent()).target == asked


@engines
async def test_each_secret_verifies_the_bytes_that_came_and_the_id_is_the_jobs(
    opened: Open, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"Commands": {"do": {}, "once": {"Idempotent": True}}, "SigningSecrets": SECRETS}
    async with opened(options, Engine=engine) as bench:
        first, again = [await bench.sent(text='grüße\u2028 "{}', n=2**70) for _ in range(2)]
        key = (await bench.sent("once")).headers["idempotency-key"]
        odd = await bench.deliver(jid="a.b\r\nX: y")
    assert isinstance(odd, Delivered)
    assert (first.headers["webhook-id"], again.headers["webhook-id"], key) == (JID, JID, JID)
    assert first.body == again.body
    # The library knows no other clock than the machine's; the time that was signed is checked for itself.
    assert first.headers["webhook-timestamp"] == "1700000000"
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _, text: _at(text))
    for secret in SECRETS:
        assert Webhook(secret).verify(first.body, dict(first.headers)) == {"text": 'grüße\u2028 "{}', "n": 2**70}


def _at(text: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(text), UTC)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, 'the argument "user" is missing'),
        ({"user": "a/b"}, 'the argument "user" has a slash'),
        ({"user": "a", "other": 1}, "there is an argument 'other', which the command does not take"),
        ({"user": "a", "n": float("nan")}, "there is a number among the arguments that JSON does not have"),
    ],
)
async def test_what_the_arguments_cannot_make_is_rejected_before_it_is_sent(
    opened: Open, arguments: dict[str, Any], why: str
) -> None:
    async with opened({"Commands": {"do": {"Path": "{user}", "Body": {"n": "{n?}"}}}}) as bench:
        outcome = await bench.deliver(**arguments)
        assert bench.receiver.received == []
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "BadArgument"
    assert why in outcome.reason.message


async def test_an_unknown_command_is_rejected_and_a_missing_host_is_the_targets_domain(opened: Open) -> None:
    async with opened({"Commands": {"do": {"Path": "{host}"}}}) as bench:
        for name in ("undo", "do/v1"):
            outcome = await bench.deliver(name)
            assert isinstance(outcome, Rejected)
            assert (outcome.reason.code, bench.connector.spec(name)) == ("UnknownCommand", None)
        assert isinstance(await bench.deliver(host="example.org"), Delivered)
        assert [one.target for one in bench.receiver.received] == ["/v1/example.org"]


async def test_a_secrets_file_is_read_anew_and_while_it_is_gone_jobs_wait(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one")
    async with opened({"Commands": {"do": {}}, "Headers": {"X-Key": {"File": "key"}}}) as bench:
        assert (await bench.sent()).headers["x-key"] == "one"
        file.write_text("two\n")
        assert (await bench.sent()).headers["x-key"] == "two"
        for broken in ("", "a\nb", "é"):
            file.write_text(broken)
            with pytest.raises(NotSent):
                await bench.deliver()
            with pytest.raises(NotSent):
                await bench.connector.probe(bench.link)
        assert len(bench.receiver.received) == 2


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (200, Delivered, None),
        (204, Delivered, None),
        (404, Delivered, None),
        (418, Deferred, "ServerError"),
        (500, Deferred, "ServerError"),
        (502, Deferred, "ServerError"),
        (503, Deferred, "ServerBusy"),
        (429, Deferred, "ServerBusy"),
        (504, Uncertain, "GatewayTimeout"),
        (501, Rejected, "Refused"),
        (302, Rejected, "Redirected"),
        (400, Rejected, "Refused"),
        (401, Rejected, "LoginRefused"),
        (403, Rejected, "CommandForbidden"),
        (405, Rejected, "Refused"),
    ],
)
async def test_the_lists_say_what_a_status_means(opened: Open, status: int, kind: type, code: str | None) -> None:
    command = {"Success": ["2xx", 404], "Retry": [418, 429, 500, 502, 503, 504]}
    async with opened({"Commands": {"do": command}}, answering(status, b'{"message":"so"}', Location="/x")) as bench:
        outcome = await bench.deliver()
        assert isinstance(outcome, kind)
        assert len(bench.receiver.received) == 1
    if isinstance(outcome, Delivered):
        assert (outcome.body, outcome.status) == ({"message": "so"} if status != 204 else None, status)
    else:
        assert isinstance(outcome, Deferred | Rejected | Uncertain)
        assert outcome.reason.code == code


async def test_a_retry_after_holds_the_job_and_not_the_whole_target(opened: Open) -> None:
    async with opened({"Commands": {"do": {}}}, answering(429, Retry_After="7200")) as bench:
        outcome = await bench.deliver()
    assert isinstance(outcome, Deferred)
    assert (outcome.retry_after_s, outcome.counts, outcome.pause_target) == (7200, False, False)


async def test_a_busy_server_is_not_called_well_by_its_probe_for_a_while(
    opened: Open, mock_clock: trio.testing.MockClock
) -> None:
    busy = True

    def act(got: Received) -> Answer:
        return Answer(429, headers={"Retry-After": "9999"}) if busy and got.method == "POST" else Answer()

    async with opened({"Commands": {"do": {}}}, act) as bench:
        probe = bench.connector.probe
        assert (await probe(bench.link)).ok
        await bench.deliver()
        asked = len(bench.receiver.received)
        assert not (await probe(bench.link)).ok
        assert len(bench.receiver.received) == asked
        mock_clock.jump(61)
        assert (await probe(bench.link)).ok
        await bench.deliver()
        busy = False
        await bench.deliver()
        assert (await probe(bench.link)).ok


async def test_a_refused_login_is_asked_about_once_for_all_jobs_and_only_a_refused_probe_makes_it_denied(
    opened: Open,
) -> None:
    shut = False

    def act(got: Received) -> Answer:
        return Answer(403) if got.method == "POST" or shut else Answer()

    async with opened({"Commands": {"do": {}}, "Probe": {"Path": "me"}}, act) as bench:
        outcomes: list[Outcome] = []

        async def one() -> None:
            outcomes.append(await bench.deliver())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert {type(outcome) for outcome in outcomes} == {Rejected}
        assert [got.target for got in bench.receiver.of("GET")] == ["/v1/me"]
    shut = True
    async with opened({"Commands": {"do": {}}, "Probe": {"Path": "me"}}, act) as bench:
        outcomes.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert {type(outcome) for outcome in outcomes} == {Denied}
        assert (await bench.connector.probe(bench.link)).denied
        assert len(bench.receiver.of("GET")) == 1


@pytest.mark.parametrize("status", [302, 429, 500, 503])
async def test_a_refusal_is_not_taken_for_the_commands_while_the_probe_is_not_let_in(opened: Open, status: int) -> None:
    # A proxy says 403 while what is behind it starts.
    def act(got: Received) -> Answer:
        return Answer(403 if got.method == "POST" else status)

    async with opened({"Commands": {"do": {}}, "Probe": {"Path": "me"}}, act) as bench:
        assert [type(await bench.deliver()) for _ in range(3)] == [Denied] * 3
        assert len(bench.receiver.of("GET")) == 1


@pytest.mark.parametrize(
    ("options", "status", "ok", "denied"),
    [
        ({}, 200, True, False),
        ({}, 404, True, False),
        ({}, 401, True, False),
        ({}, 501, True, False),
        ({}, 500, False, False),
        ({"Probe": {"Path": "me"}}, 204, True, False),
        ({"Probe": {"Path": "me"}}, 401, False, True),
        ({"Probe": {"Path": "me"}}, 403, False, True),
        ({"Probe": {"Path": "me"}}, 404, False, False),
        ({"Probe": {"Path": "me"}}, 302, False, False),
        ({"Probe": {"Path": "me", "Method": "HEAD"}}, 503, False, False),
    ],
)
async def test_what_an_answer_to_the_probe_means(
    opened: Open, options: dict[str, Any], status: int, ok: bool, denied: bool
) -> None:
    async with opened({"Commands": {"do": {}}, **options}, answering(status)) as bench:
        found = await bench.connector.probe(bench.link)
        (asked,) = bench.receiver.received
    assert (found.ok, found.denied, found.version) == (ok, denied, None)
    probe = options.get("Probe")
    assert (asked.method, asked.target) == (
        ("HEAD", "/v1") if probe is None else (probe.get("Method", "GET"), "/v1/me")
    )


async def test_the_probe_carries_the_login_and_the_headers_and_no_signature(opened: Open) -> None:
    options = {"Commands": {"do": {}}, "Headers": {"X-Key": "k"}, "SigningSecrets": SECRETS}
    async with opened(options, Auth={"Bearer": {"Token": CANARY}}) as bench:
        await bench.connector.probe(bench.link)
        (asked,) = bench.receiver.received
    assert (asked.headers["authorization"], asked.headers["x-key"]) == (f"Bearer {CANARY}", "k")
    assert "webhook-id" not in asked.headers


@pytest.mark.parametrize("status", [400, 500, 302])
async def test_what_is_secret_is_in_no_refusal_though_the_server_sends_it_back(opened: Open, status: int) -> None:
    def act(got: Received) -> Answer:
        said = json.dumps(dict(got.headers) | {"message": f"{got.headers['x-key']} {got.headers['authorization']}"})
        return Answer(status, said.encode(), {"Location": f"/x/{got.headers['x-key']}"})

    options = {
        "Commands": {"do": {"Headers": {"X-Token": f"{CANARY}-text"}}},
        "Headers": {"X-Key": {"Env": "KEY"}, "Accept": "application/json"},
    }
    login = {"Basic": {"User": "joe", "Pass": "p4ssw0rd"}}
    async with opened(options, act, environ={"KEY": f'{CANARY}"/é'[:-1]}, Auth=login) as bench:
        outcome = await bench.deliver(password="0wn-s3cr3t")
    told = repr(outcome)
    assert CANARY not in told
    assert base64.b64encode(b"joe:p4ssw0rd").decode() not in told
    assert "p4ssw0rd" not in told


async def test_what_is_answered_to_what_was_done_is_passed_on_as_it_came_though_a_secret_is_an_everyday_word(
    opened: Open,
) -> None:
    options = {"Commands": {"do": {}}, "Headers": {"X-Auth-Version": "2", "X-Key": {"Env": "KEY"}}}
    said = b'{"id":2,"admin":true,"owner":"joe"}'
    login = {"Basic": {"User": "joe", "Pass": "admin"}}
    async with opened(options, answering(200, said), environ={"KEY": "2"}, Auth=login) as bench:
        outcome = await bench.deliver()
    assert outcome == Delivered(said.decode(), {"id": 2, "admin": True, "owner": "joe"}, 200)


async def test_what_redirects_to_nowhere_is_refused_in_plain_words(opened: Open) -> None:
    async with opened({"Commands": {"do": {}}}, answering(304, b"")) as bench:
        outcome = await bench.deliver()
    assert isinstance(outcome, Rejected)
    assert (outcome.reason.code, outcome.reason.message) == (
        "Refused", "The server answered with status 304 and no words.",
    )  # fmt: skip


@pytest.mark.parametrize("status", [400, 500])
async def test_a_signing_secret_is_in_no_refusal_though_the_receiver_tells_what_it_expected(
    opened: Open, status: int
) -> None:
    key = base64.b64decode(SECRETS[0].removeprefix("whsec_"))
    ways = (key.hex(), base64.urlsafe_b64encode(key).decode(), base64.b64encode(key).decode().rstrip("="))
    said = json.dumps({"error": f"expected {SECRETS[0]}, or {SECRETS[1].removeprefix('whsec_')}", "too": ways})
    async with opened(
        {"Commands": {"do": {}}, "SigningSecrets": SECRETS}, lambda _: Answer(status, said.encode())
    ) as b:
        told = repr(await b.deliver())
    assert "expected whsec_***=, or ***=" in told
    assert not [way for way in (*ways, *(secret.removeprefix("whsec_")[:-1] for secret in SECRETS)) if way in told]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_where_a_signed_request_is_refused_the_cure_names_the_signing_secret(opened: Open, status: int) -> None:
    for signing in ({}, {"SigningSecrets": SECRETS}):
        async with opened({"Commands": {"do": {}}, **signing}, lambda _: Answer(status, b"bad signature")) as b:
            outcome = await b.deliver()
        assert isinstance(outcome, Rejected)
        assert ("compare its secret with SigningSecrets" in (outcome.reason.cure or "")) == bool(signing)


@pytest.mark.parametrize("shift", range(0, 24, 3))
async def test_no_part_of_a_secret_is_left_where_a_long_refusal_is_cut(opened: Open, shift: int) -> None:
    said = b"x" * shift + f"{CANARY} ".encode() * 5000
    options = {"Commands": {"do": {}}, "Headers": {"X-Key": {"Env": "KEY"}}}
    async with opened(options, answering(400, said), environ={"KEY": CANARY}) as bench:
        outcome = await bench.deliver()
    assert isinstance(outcome, Rejected)
    assert outcome.text is not None
    assert set(outcome.text.lstrip("x")) == {"*", " "}


async def test_an_answer_that_is_no_json_is_told_in_its_words(opened: Open) -> None:
    page = b"<html><head><title>Oops</title></head><body><p>No such\n thing</p></body></html>"
    async with opened({"Commands": {"do": {}}}, answering(400, page)) as bench:
        outcome = await bench.deliver()
    assert isinstance(outcome, Rejected)
    assert outcome.reason.message == "Status 400: Oops No such thing"


async def test_the_check_tells_what_the_probe_met(opened: Open, made: Made) -> None:
    for options, act, level, code in (
        ({}, answering(404), "note", "LoginUnknown"),
        ({"Probe": {"Path": "me"}}, answering(200), "ok", "Reachable"),
        ({"Probe": {"Path": "me"}}, answering(401), "problem", "LoginRefused"),
        ({}, answering(503), "problem", "Unwell"),
    ):
        with Receiver(act) as receiver:
            whole = {"AllowPrivate": True, "Commands": {"b": {}, "a": {}}, "SigningSecrets": SECRETS, **options}
            found = {one.code: one for one in await registry.check(made(whole, URL=receiver.url))}
        assert found[code].level == level
        assert found["Commands"].message == "Jobs may ask for a, b."
        assert found["Signed"].message.startswith("Each request is signed with 2 secrets")
    gone = {one.code: one for one in await registry.check(made({**whole}, URL=receiver.url))}
    assert (gone["Unreachable"].level, gone["Unreachable"].cause) == ("problem", "target")
    guarded = await registry.check(made({"Commands": {"a": {}}}, URL=receiver.url))
    assert "127.0.0.1 is no public address, and the target's Options do not say AllowPrivate" in guarded[-1].message
