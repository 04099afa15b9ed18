"""What is sent for a job, as a real receiver gets it, signed as Standard Webhooks says, and what its answers mean."""

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from standardwebhooks.webhooks import Webhook

from restbroker.errors import ConfigError
from restbroker.job.outcome import Delivered, Denied, Outcome, Rejected, Uncertain
from restbroker.servers import loops, registry
from restbroker.servers.http import signature
from restbroker.transport.message import NotSent
from tests.support.receiver import Answer, Received, Receiver
from tests.unit.servers.conftest import JID, Made, Opened, Problems, answering, refused_unsent

SECRETS = ["whsec_" + base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2)]
CANARY = "c4n4ry-s3cr3t"
engines = pytest.mark.parametrize("engine", ["lean", "httpx"])


@engines
async def test_request_is_what_the_command_says_in_every_part(opened: Opened, engine: str) -> None:
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


async def test_remaining_arguments_are_the_body_without_a_template(opened: Opened) -> None:
    options = {"Commands": {"do": {"Path": "{user}"}, "form": {"Encoding": "form"}}}
    async with opened(options) as bench:
        got = await bench.sent(user="joe", n=1, deep={"a": [True]})
        assert (got.target, json.loads(got.body)) == ("/v1/joe", {"n": 1, "deep": {"a": [True]}})
        form = await bench.sent("form", a="x y&z", b=[1, 2], c=True)
    assert (form.body, form.headers["content-type"]) == (
        b"a=x+y%26z&b=1&b=2&c=true",
        "application/x-www-form-urlencoded",
    )


@pytest.mark.promise(
    "Security: who controls DNS, or the network between", "to send a request of an http target once more"
)
@engines
async def test_each_secret_verifies_the_bytes_and_the_id_is_the_jobs(
    opened: Opened, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"Commands": {"do": {}, "once": {"Idempotent": True}}, "SigningSecrets": SECRETS}
    async with opened(options, Engine=engine) as bench:
        first, again = [await bench.sent(text='grüße\u2028 "{}', n=2**70) for _ in range(2)]
        key = (await bench.sent("once")).headers["idempotency-key"]
        odd = await bench.deliver("do", {"identity": "a.b\r\nX: y"})
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


async def test_impossible_request_is_rejected_before_it_is_sent(opened: Opened) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"user": "a/b"}, 'the argument "user" has a slash'),
        ({"user": "a", "other": 1}, "there is an argument 'other', which the command does not take"),
        ({"user": "a", "n": float("nan")}, "an argument contains a number that JSON does not allow"),
    ]
    async with opened({"Commands": {"do": {"Path": "{user}", "Body": {"n": "{n?}"}}}}) as bench:
        for arguments, why in rows:
            assert why in await refused_unsent(bench, "do", **arguments)


async def test_unknown_command_is_rejected_and_host_defaults_to_domain(opened: Opened) -> None:
    async with opened({"Commands": {"do": {"Path": "{host}"}}}) as bench:
        for name in ("undo", "do/v1"):
            outcome = await bench.deliver(name)
            assert isinstance(outcome, Rejected)
            assert (outcome.reason.code, bench.connector.spec(name)) == ("UnknownCommand", None)
        assert isinstance(await bench.deliver("do", {"host": "example.org"}), Delivered)
        assert [request.target for request in bench.server.received] == ["/v1/example.org"]


async def test_secret_file_is_reread_and_jobs_wait_while_it_is_gone(opened: Opened, tmp_path: Path) -> None:
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
        assert len(bench.server.received) == 2


async def test_busy_server_is_not_called_well_by_its_probe_for_a_while(
    opened: Opened, mock_clock: trio.testing.MockClock
) -> None:
    busy = True

    def act(got: Received) -> Answer:
        return Answer(429, headers={"Retry-After": "9999"}) if busy and got.method == "POST" else Answer()

    async with opened({"Commands": {"do": {}}}, act) as bench:
        probe = bench.connector.probe
        assert (await probe(bench.link)).ok
        await bench.deliver()
        count = len(bench.server.received)
        assert not (await probe(bench.link)).ok
        assert len(bench.server.received) == count
        mock_clock.jump(61)
        assert (await probe(bench.link)).ok
        await bench.deliver()
        busy = False
        await bench.deliver()
        assert (await probe(bench.link)).ok


@pytest.mark.parametrize(("status", "kind"), [(200, Rejected), (403, Denied), (302, Denied), (500, Denied)])
async def test_refused_login_is_checked_once_until_a_probe_is_admitted(
    opened: Opened, status: int, kind: type[Outcome]
) -> None:
    """It is checked once for all jobs."""

    # A proxy says 403 while what is behind it starts.
    def act(got: Received) -> Answer:
        return Answer(403 if got.method == "POST" else status)

    outcomes: list[Outcome] = []
    async with opened({"Commands": {"do": {}}, "Probe": {"Path": "me"}}, act) as bench:

        async def one() -> None:
            outcomes.append(await bench.deliver())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
        assert {type(outcome) for outcome in outcomes} == {kind}
        assert [got.target for got in bench.server.of("GET")] == ["/v1/me"]
        assert (await bench.connector.probe(bench.link)).denied == (status == 403)


async def test_probe_without_a_path_says_nothing_of_the_login(opened: Opened) -> None:
    for status, ok in {200: True, 404: True, 401: True, 500: False}.items():
        async with opened({"Commands": {"do": {}}}, answering(status)) as bench:
            found = await bench.connector.probe(bench.link)
            (request,) = bench.server.received
        assert (found.ok, found.denied, request.method, request.target) == (ok, False, "HEAD", "/v1"), status


async def test_probe_carries_login_and_headers_and_no_signature(opened: Opened) -> None:
    options = {"Commands": {"do": {}}, "Headers": {"X-Key": "k"}, "SigningSecrets": SECRETS}
    async with opened(options, Auth={"Bearer": {"Token": CANARY}}) as bench:
        await bench.connector.probe(bench.link)
        (request,) = bench.server.received
    assert (request.headers["authorization"], request.headers["x-key"]) == (f"Bearer {CANARY}", "k")
    assert "webhook-id" not in request.headers


@pytest.mark.promise("Security: who controls a server's answers", "to have the login written where others see it")
async def test_refusal_hides_secrets_the_server_sends_back(opened: Opened) -> None:
    """Also a header whose name does not say that it is one, in words that are not hidden as a whole."""

    def said(got: Received) -> str:
        return f"we got {got.headers['x-station']} of {got.headers['authorization']}"

    options = {"Commands": {"do": {}}, "Headers": {"X-Station": {"Env": "KEY"}}}
    login = {"Basic": {"User": "joe", "Pass": "p4ssw0rd"}}
    for status in (400, 500, 302):
        act = partial(lambda status, got: Answer(status, said(got).encode(), {"Location": f"/{said(got)}"}), status)
        async with opened(options, act, environ={"KEY": CANARY}, Auth=login) as bench:
            text = repr(await bench.deliver(text="hello"))
        assert "we got *** of ***" in text, status
        assert not [part for part in (CANARY, "p4ssw0rd", base64.b64encode(b"joe:p4ssw0rd").decode()) if part in text]


async def test_successful_answer_is_passed_on_unmasked(
    opened: Opened,
) -> None:
    """It is so though a secret is an everyday word."""
    options = {"Commands": {"do": {}}, "Headers": {"X-Auth-Version": "2", "X-Key": {"Env": "KEY"}}}
    said = b'{"id":2,"admin":true,"owner":"joe"}'
    login = {"Basic": {"User": "joe", "Pass": "admin"}}
    async with opened(options, answering(200, said), environ={"KEY": "2"}, Auth=login) as bench:
        outcome = await bench.deliver()
    assert outcome == Delivered(said.decode(), {"id": 2, "admin": True, "owner": "joe"}, 200)


async def test_signing_secret_is_in_no_refusal_that_quotes_it(opened: Opened) -> None:
    key = base64.b64decode(SECRETS[0].removeprefix("whsec_"))
    ways = (key.hex(), base64.urlsafe_b64encode(key).decode(), base64.b64encode(key).decode().rstrip("="))
    said = json.dumps({"error": f"expected {SECRETS[0]}, or {SECRETS[1].removeprefix('whsec_')}", "too": ways})
    for status in (400, 500):
        options = {"Commands": {"do": {}}, "SigningSecrets": SECRETS}
        async with opened(options, answering(status, said.encode())) as bench:
            text = repr(await bench.deliver())
        assert "expected ***, or ***=" in text, status
        assert not [way for way in (*ways, *(secret.removeprefix("whsec_")[:-1] for secret in SECRETS)) if way in text]


async def test_check_reports_what_the_probe_met(opened: Opened, made: Made) -> None:
    for options, act, level, code in (
        ({}, answering(404), "note", "LoginUnknown"),
        ({"AtMostOnce": ["a"]}, answering(404), "warning", "NoProbe"),
        ({"AtMostOnce": ["other_*"]}, answering(404), "note", "LoginUnknown"),
        ({"AtMostOnce": ["a"], "Probe": {"Path": "me"}}, answering(200), "ok", "Reachable"),
        ({"Probe": {"Path": "me"}}, answering(200), "ok", "Reachable"),
        ({"Probe": {"Path": "me"}}, answering(401), "problem", "LoginRefused"),
        ({}, answering(503), "problem", "Unwell"),
    ):
        with Receiver(act) as receiver:
            members = {name: options[name] for name in ("AtMostOnce",) if name in options}
            own = {name: value for name, value in options.items() if name not in members}
            whole = {"AllowPrivate": True, "Commands": {"b": {}, "a": {}}, "SigningSecrets": SECRETS, **own}
            found = {row.code: row for row in await registry.check(made(whole, URL=receiver.url, **members))}
        assert found[code].level == level, (options, act)
        assert found["Commands"].message == "Jobs may run a, b.", (options, act)
        assert ("NoProbe" in found) == (code == "NoProbe"), (options, act)
        assert found["Signed"].message.startswith("Each request is signed with 2 secrets"), (options, act)
    gone = {row.code: row for row in await registry.check(made({**whole}, URL=receiver.url))}
    assert (gone["Unreachable"].level, gone["Unreachable"].cause) == ("problem", "target")
    guarded = await registry.check(made({"Commands": {"a": {}}}, URL=receiver.url))
    assert "127.0.0.1 is not a public address, and the target's Options do not set AllowPrivate" in guarded[-1].message


def test_plain_jid_is_the_id_and_an_odd_one_has_a_digest() -> None:
    """The digest has no full stop."""
    assert signature.stable_id("0123456789abcdef01234567") == "0123456789abcdef01234567"
    odd = ["", "a.b", "é", "a\r\nb", "x" * 200, "\ud800"]
    made = [signature.stable_id(jid) for jid in odd]
    assert len(set(made)) == len(odd)
    assert all(name.isascii() and "." not in name and name.isprintable() and len(name) < 60 for name in made)
    assert made == [signature.stable_id(jid) for jid in odd]


def test_invalid_signing_secret_is_refused_and_not_shown() -> None:
    short, long = "whsec_" + "QUJD" * 7, "whsec_" + "QUJD" * 22
    for secret in ("", "whsec_", SECRETS[0].removeprefix("whsec_"), "whsec_not base64!", short, long):
        with pytest.raises(ConfigError, match="whsec_ and the base64 of 24 to 64 bytes") as caught:
            signature.key_of(secret)
        assert not secret.removeprefix("whsec_") or secret not in str(caught.value)


def test_a_secret_may_be_written_without_its_padding() -> None:
    key = bytes(range(32))
    padded = "whsec_" + base64.b64encode(key).decode()
    assert padded.endswith("=")
    assert signature.key_of(padded) == signature.key_of(padded.rstrip("=")) == key


@pytest.mark.parametrize("members", [{}, {"AtMostOnce": ["*"]}])
async def test_our_own_refusal_of_a_loop_proves_that_nothing_ran(opened: Opened, members: Any) -> None:
    """Whatever the command's list says; in other words a 508 is a gateway's as any other 5xx."""
    options = {"Commands": {"do": {"Retry": ["5xx"]}}}
    body = json.dumps({"title": "Loop Detected", "status": 508, "detail": loops.REFUSAL}).encode()
    async with opened(options, lambda _: Answer(508, body), **members) as bench:
        outcome = await bench.deliver("do")
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "EventLoop"
    async with opened(options, lambda _: Answer(508, b"{}"), **members) as bench:
        assert isinstance(await bench.deliver("do"), Uncertain)


async def test_secret_path_is_reread_and_never_shown(opened: Opened, tmp_path: Path) -> None:
    """As chat services give it. An answer that repeats the address shows it no more than an error does."""
    file = tmp_path / "path"
    file.write_text(f"services/T1/{CANARY}\n")
    options = {"Commands": {"do": {"Path": {"File": str(file)}, "Body": {"text": "{body}"}}}}
    said = [Answer(), *(Answer(404, f"nothing {at}{CANARY}-2".encode()) for at in ("at /v1/services/T1/", "like "))]
    async with opened(options, lambda _: said.pop(0)) as bench:
        assert (await bench.sent(body="hi")).target == f"/v1/services/T1/{CANARY}"
        file.write_text(f"/services/T1/{CANARY}-2\n")
        outcomes = [await bench.deliver("do", body="hi") for _ in range(2)]
    for outcome in outcomes:
        assert isinstance(outcome, Rejected)
        assert CANARY not in repr(outcome)
        assert f"Check the path in {file}" in str(outcome.reason.hint)


@pytest.mark.parametrize("text", ["", "a b", "a?b", "a/../b", "./a", "a//b", "https://example.org/a"])
def test_a_file_that_holds_no_path_is_refused(problems: Problems, tmp_path: Path, text: str) -> None:
    (tmp_path / "path").write_text(text)
    (found,) = problems({"Commands": {"do": {"Path": {"File": str(tmp_path / "path")}}}})
    assert found.startswith("Commands.do.Path: ")
    assert str(tmp_path / "path") in found
