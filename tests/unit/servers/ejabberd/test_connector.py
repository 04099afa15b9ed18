"""What the connector does between request and outcome, with a link that answers as scripted."""

import time
from base64 import b64encode
from pathlib import Path

import attrs
import orjson
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Basic, Bearer, Login, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Denied, Outcome, Rejected
from restbroker.servers.contract import Connector, Plan, Planner, Ports
from restbroker.servers.ejabberd.connector import FORBIDDEN_AT_FIRST, FORBIDDEN_IN_A_ROW, open_connector
from restbroker.servers.ejabberd.options import Options
from restbroker.servers.in_redis import SentMessagesInRedis
from restbroker.transport.message import MaybeSent, NotSent, Response
from tests.support.link import Scripted

TARGET = Target("t", "ejabberd", Url("http", "127.0.0.1", 5281, "/api"), ("rest",), options=Options())
STARTED = b'"The node nonode@nohost is started. Status: startedejabberd 24.12 is running in that node"'
UNKNOWN = Response(400, {}, b'"unknown_command"', 0.0)
FORBIDDEN = Response(403, {}, b'{"status":"error","code":32,"message":"no"}', 0.0)


def opened(target: Target = TARGET) -> Connector:
    """A connector as `app` makes it."""
    return open_connector(target, Ports(lambda _: None, lambda: 0.0))


def answering(*answers: Response | Exception) -> Scripted:
    """A link with this script."""
    return Scripted(iter(answers))


def ok(body: bytes = b"0") -> Response:
    """A plain success."""
    return Response(200, {}, body, 0.0)


KICK = Call(Command("kick_user", {"user": "a", "host": "x"}))


async def test_the_version_that_the_probe_finds_chooses_the_catalogue() -> None:
    connector = opened()
    assert connector.spec("list_banned") is not None
    probe = await connector.probe(answering(ok(STARTED)))
    assert (probe.ok, probe.denied, probe.version) == (True, False, "24.12")
    assert connector.catalogue.version == "24.12"
    assert connector.spec("list_banned") is None


def plan_of(connector: Connector, endpoint: str) -> Plan | None:
    assert isinstance(connector, Planner)
    return connector.plan(endpoint)


async def test_plan_stays_the_same_until_the_servers_version_changes() -> None:
    connector = opened()
    before = plan_of(connector, "list_banned")
    assert before is not None
    assert plan_of(connector, "list_banned") is before
    await connector.probe(answering(ok(STARTED)))
    after = plan_of(connector, "list_banned")
    assert after is not before
    await connector.probe(answering(ok(STARTED)))
    assert plan_of(connector, "list_banned") is after


def test_a_plan_follows_the_file_of_its_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now_ns = tmp_path / "secret", time.time_ns
    for credentials in (Bearer(Secret(path=path)), Basic("a", Secret(path=path))):
        monkeypatch.setattr(time, "time_ns", now_ns)
        path.write_text("first")
        connector = opened(attrs.evolve(TARGET, credentials=credentials))
        assert plan_of(connector, "list_banned") is None, "it may change again without a trace"
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 5_000_000_000)
        first = plan_of(connector, "list_banned")
        assert first is not None
        assert plan_of(connector, "list_banned") is first
        path.write_text("the-second")
        second = plan_of(connector, "list_banned")
        assert second is not None
        assert second.request.headers != first.request.headers, credentials
        path.unlink()
        assert plan_of(connector, "list_banned") is None


async def test_account_with_few_rights_works_and_one_without_is_denied() -> None:
    for worked, often in ((False, FORBIDDEN_AT_FIRST), (True, FORBIDDEN_IN_A_ROW)):
        connector = opened()
        if worked:
            await connector.deliver(KICK, answering(ok()))
        for _ in range(often):
            assert (await connector.probe(answering(FORBIDDEN, FORBIDDEN))).ok, (worked, often)
            outcome = await connector.deliver(KICK, answering(FORBIDDEN, FORBIDDEN))
            assert isinstance(outcome, Denied), (worked, often)
        assert (await connector.probe(answering(FORBIDDEN, FORBIDDEN))).denied, worked


async def test_refusal_by_a_stopping_server_only_defers() -> None:
    connector = opened()
    for _ in range(FORBIDDEN_IN_A_ROW + 1):
        link = answering(FORBIDDEN, UNKNOWN)
        outcome = await connector.deliver(KICK, link)
        assert isinstance(outcome, Deferred)
        assert (outcome.reason.code, outcome.counts, outcome.pause_target) == ("ServerStopping", False, True)
        assert link.log == ["send /api/kick_user", "ask /api/connected_users_number"]
    assert (await connector.probe(answering(FORBIDDEN, FORBIDDEN))).ok


VHOSTS = ok(b'["example.org","localhost"]')


async def to_a_26_07(host: str, *hosts: Response | Exception) -> tuple[Outcome, list[str]]:
    """What becomes of a command for this host that is refused, and what was asked after it."""
    connector = opened(attrs.evolve(TARGET, credentials=Basic("a@localhost", Secret("p"))))
    await connector.probe(answering(ok(STARTED.replace(b"24.12", b"26.07"))))
    link = answering(FORBIDDEN, *hosts, ok(b"3"))
    return await connector.deliver(Call(Command("register", {"user": "a"}), host=host), link), link.log[1:]


async def test_host_not_served_by_26_07_is_named_despite_forbidden() -> None:
    for host in ["nowhere.example", "LOCALHOST"]:
        outcome, log = await to_a_26_07(host, VHOSTS, ok(b"3"))
        assert isinstance(outcome, Rejected), host
        assert (outcome.reason.code, outcome.reason.status) == ("UnknownHost", 403), host
        assert outcome.reason.message == f"The server has no virtual host '{host}'. It has example.org, localhost."
        assert "api_permissions" not in (outcome.reason.hint or ""), host
        assert log[0] == "ask /api/registered_vhosts", host


async def test_refusal_by_26_07_on_a_possible_host_stays_a_refusal() -> None:
    rows: list[Response | Exception] = [FORBIDDEN, NotSent("refused"), MaybeSent("reset"), VHOSTS]
    for hosts in rows:
        outcome, _ = await to_a_26_07("localhost", hosts)
        assert isinstance(outcome, Denied), hosts
        assert outcome.reason.code == "CommandForbidden", hosts
        assert "Allow register for restbroker's account" in (outcome.reason.hint or ""), hosts
        if isinstance(hosts, Response):
            assert "an administrator of 'localhost' (access rule configure)" in (outcome.reason.hint or ""), hosts


async def test_message_about_hosts_shows_no_login_and_no_secret() -> None:
    login, secret = "l0gin-p4ss-w0rdZ", "j0bs-p4ss-w0rdZ"
    said = (("Authorization", "Basic " + b64encode(f"a@localhost:{login}".encode()).decode()),)
    names = orjson.dumps([f"x.{login}", f"token={secret}", "example.org", "x" * 280 + login])
    connector = opened(attrs.evolve(TARGET, credentials=Basic("a@localhost", Secret(login))))
    await connector.probe(answering(ok(STARTED.replace(b"24.12", b"26.07"))))
    call = Call(Command("register", {"user": "a", "host": "example.net", "password": secret}))
    outcome = await connector.deliver(
        call, answering(FORBIDDEN, Response(200, {}, names, 0.0, request_pairs=said), ok(b"3"))
    )
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "UnknownHost"
    assert "It has x.***, token=***, example.org, xxx" in outcome.reason.message
    assert "l0gin" not in outcome.reason.message


async def test_hosts_are_not_asked_for_where_rights_ignore_them() -> None:
    of_24_12: tuple[bytes, Login] = (b"24.12", Basic("a@localhost", Secret("p")))
    for version, credentials in (of_24_12, (b"26.07", None)):
        connector = opened(attrs.evolve(TARGET, credentials=credentials))
        await connector.probe(answering(ok(STARTED.replace(b"24.12", version))))
        link = answering(FORBIDDEN, ok(b"3"))
        assert isinstance(await connector.deliver(KICK, link), Denied), version
        assert link.log == ["send /api/kick_user", "ask /api/connected_users_number"], version


MESSAGE: dict[str, Json] = {"type": "chat", "from": "shop@x", "to": "bob@x", "subject": "", "body": "hi"}


@attrs.define
class Notes(SentMessagesInRedis):
    """What would be noted in Redis."""

    asking: list[tuple[str, str, str]] = attrs.field(factory=list)

    async def remember(self, sender: str, receiver: str, body: str) -> None:
        pass

    async def remember_asking(self, identity: str, number: str, receiver: str) -> None:
        self.asking.append((identity, number, receiver))


async def test_a_message_that_asks_for_receipts_is_noted() -> None:
    """By what names its command, with the id that is sent and its receiver, if that is one person's address."""
    notes = Notes(1.0, None, lambda _: None)  # type: ignore[arg-type]
    ports = Ports(lambda _: None, lambda: 0.0, services={SentMessagesInRedis: notes})
    connector = open_connector(TARGET, ports)
    room: dict[str, Json] = {"receipts": True, "to": "tea@conference.x", "type": "groupchat"}
    private: dict[str, Json] = {"receipts": True, "to": "tea@conference.x/Bob"}
    unasked: tuple[dict[str, Json], ...] = ({"id": "m1"}, {"receipts": False})
    asked: tuple[dict[str, Json], ...] = ({"receipts": True}, {"receipts": "true", "id": "order-7"}, room, private)
    for more in (*asked, *unasked):
        call = Call(Command("send_message", MESSAGE | more), identity="j1")
        link = answering(ok())
        await connector.deliver(call, link)
        assert link.log == ["send /api/send_stanza"]
    assert notes.asking == [("j1", "j1", "bob@x"), ("j1", "order-7", "bob@x"), ("j1", "j1", ""), ("j1", "j1", "")]
    refused = Call(Command("send_message", MESSAGE | {"receipts": "perhaps"}), identity="j1")
    assert isinstance(await connector.deliver(refused, answering()), Rejected)


async def test_a_refused_stanza_says_which_messages_need_it() -> None:
    call = Call(Command("send_message", MESSAGE | {"receipts": True}), identity="j1")
    outcome = await opened().deliver(call, answering(FORBIDDEN, ok(b"3")))
    assert isinstance(outcome, Denied)
    hint = outcome.reason.hint or ""
    assert "Allow send_stanza for restbroker's account" in hint
    assert hint.endswith("A `send_message` with `id` or `receipts` is sent as one.")


def test_a_plan_leaves_what_becomes_a_stanza_to_deliver() -> None:
    plan = plan_of(opened(), "send_message")
    assert plan is not None
    assert plan.body(MESSAGE) is not None
    assert [plan.body(MESSAGE | {name: "x"}) for name in ("id", "receipts")] == [None, None]
