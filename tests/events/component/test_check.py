"""`check` of a component's source: beside a process that reads it connects nothing, and else it loses nothing."""

import json
import signal
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from restbroker.config.load import load
from restbroker.events import registry as kinds
from restbroker.operate.check import events as check_reading
from restbroker.operate.check.events import EventTest, check_readers
from restbroker.servers import registry
from restbroker.servers.component import check as component_check
from restbroker.servers.component.options import TAKES, digests_of
from restbroker.servers.event_contract import Parties
from restbroker.servers.findings import Finding
from restbroker.store.client import Client
from restbroker.store.sources import SourceState, read_states, shown, write
from tests.events.component import test_push
from tests.events.component.conftest import HOST, NAME, PASSWORD, Listener, Read, message, wrapped
from tests.events.conftest import events_in, jobs_in, written
from tests.support.ports import free_port
from tests.support.process import started
from tests.support.receiver import Answer, Received, Receiver
from tests.support.redis_server import RedisServer
from tests.support.wait import until_async
from tests.transport.authority import Authority

HOOK: Final = {"AllowPrivate": True, "Commands": {"event": {"Idempotent": True}}}
UNREAD: Final = ("warning", "NotServing")
"""The finding that no process reads but the check; with a test it is a problem."""
HAS_PUSH: Final = Answer(400, b'"Arg null is not in format integer"')
HAS_NONE: Final = Answer(404, b'{"status":"error","code":40,"message":"Endpoint not found."}')
HAS_NONE_24: Final = Answer(400, b'"unknown_command"')
"""As ejabberd 24.12 says it, also while it stops."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual name is 127.0.0.1 here, as with its line in /etc/hosts."""
    monkeypatch.setattr(component_check, "_is_here", lambda name: name == NAME)


def configure(place: Path, redis_url: str, listener: Listener, options: Mapping[str, Any], **more: Any) -> None:
    given = {"Address": f"127.0.0.1:{listener.port}", "Name": NAME, "Hosts": [HOST], "Pass": PASSWORD, **options}
    name = given.pop("name", "ejabberd")
    own: dict[str, Any] = {name: given.pop(name) for name in ("Kind", "Routes") if name in given}
    given = {name: value for name, value in given.items() if value is not None}
    source: dict[str, Any] = {"Kind": "ejabberd-component", "Options": given, **own}
    written(place, redis_url, {"Sources": {name: source}}, **more)
    if "Targets" in more:
        document = json.loads((place / "env.json").read_text())
        del document["RestURL"], document["RestQueue"]
        (place / "env.json").write_text(json.dumps(document))


async def checked(
    place: Path, redis_url: str, listener: Listener, test: EventTest | None = None, api: str = "", **options: Any
) -> Sequence[Finding]:
    """In a thread, as `check` runs a loop of its own; `api`: where ejabberd's API is. With routes, events go there."""
    more: dict[str, Any] = {"RestURL": f"{api}/api"} if api else {}
    if "Routes" in options:
        hook = {"Kind": "http", "URL": api, "Queues": ["hook"], "Options": HOOK}
        more = {"Targets": {"api": {"Kind": "ejabberd", "URL": f"{api}/api", "Queues": ["rest"]}, "hook": hook}}
    configure(place, redis_url, listener, options, **more)
    config = load(place / "env.json", {}, {}, kinds=registry.kinds(), sources=kinds.kinds()).config
    found = await trio.to_thread.run_sync(lambda: list(check_readers(config, test)))
    assert PASSWORD not in str(found)
    return found


@contextmanager
def api_of(listener: Listener, trial: Answer, *, copies: Container[str] = (), may_send: bool = True) -> Iterator[str]:
    """The API of ejabberd: what is sent comes to the component, of these hosts' messages also a copy."""
    token = trio.lowlevel.current_trio_token()
    denied = Answer(403, b'{"status":"error","code":32,"message":"AccessRules: Account does not have the right."}')

    def answer(request: Received) -> Answer:
        given = json.loads(request.body)
        if request.path.endswith("/delete_old_push_sessions"):
            assert given == {"days": None}
            return trial
        if "from" not in given:
            return Answer(body=b"0")
        if "stanza" in given and not may_send:
            return denied
        addresses = f"from='{given['from']}' to='{given['to']}'"
        if "stanza" in given:
            stanzas = [given["stanza"].replace("<iq ", f"<iq {addresses} ", 1)]
        else:
            inner = f"<message {addresses} type='headline' xmlns='jabber:client'><body>{given['body']}</body></message>"
            host = given["from"].partition("@")[2]
            stanzas = [wrapped(inner, host)] if host in copies else []
            stanzas.append(inner.replace(" xmlns='jabber:client'", ""))
        trio.from_thread.run(partial(listener.send, *stanzas), trio_token=token)
        return Answer(body=b"0")

    with Receiver(answer) as api:
        yield api.url


def said(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.code) for finding in found]


@pytest.mark.promise("Events", "a check takes no event of ejabberd away from the process that reads")
async def test_beside_a_process_that_reads_nothing_is_connected(
    reading: Read, redis_server: RedisServer, store: Client, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    async with reading() as source:
        (state,) = await until_async(
            lambda: [state for state in read_states(store) if state.options], "it is known", 60
        )
        found = await checked(tmp_path, redis_server.url, source.listener, Pass=None, PassFile="password")
        assert source.listener.tried == 1
        (differs,) = await checked(tmp_path, redis_server.url, source.listener, name="feed", Pass="wrong")
        assert source.listener.accepted == len(source.listener.lines) == 1
    assert said(found) == [("ok", "Component"), ("warning", "EventNotSent")]
    assert f"reads as {NAME}, a subdomain of {HOST}; no event came yet; its last heartbeat" in found[0].message
    assert (differs.level, differs.code) == ("problem", "ComponentDiffers")
    assert differs.message.endswith(" has other values of name in Sources, Pass than this configuration.")
    assert "It did not test Pass" in (differs.why or "")
    assert PASSWORD not in str(state)
    assert "options" not in shown(state)


@pytest.mark.promise("Events", "a check takes no event of ejabberd away from the process that reads")
async def test_address_and_tls_of_another_file_are_tried(
    redis_server: RedisServer,
    store: Client,
    listener: Listener,
    tmp_path: Path,
    ours: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_reading, "_is_alive", lambda *_: True)
    listener.context = ours.served()
    (tmp_path / "own.pem").symlink_to(ours.ca)
    tls = {"TLS": True, "CAFile": str(ours.ca)}
    configure(tmp_path, redis_server.url, listener, tls)
    running = load(tmp_path / "env.json", {}, {}, kinds=registry.kinds(), sources=kinds.kinds()).config.events
    assert running is not None
    options = digests_of(running.sources[0])
    write(store, [SourceState("ejabberd", "ejabberd-component", "here:1", options=options)])

    async def differs(**options: Any) -> tuple[str, list[str]]:
        """The keys that are named, and what else is wrong."""
        found = await checked(tmp_path, redis_server.url, listener, **{**tls, **options})
        problems = {
            finding.code: finding.message.rpartition(" values of ")[2].partition(" than")[0]
            for finding in found
            if finding.level == "problem"
        }
        return problems.pop("ComponentDiffers", ""), list(problems)

    # The same values, and an order that says nothing.
    assert await differs(CAFile="own.pem", MaxUnread="0.5m", Take=[*TAKES][::-1]) == ("", [])
    assert await differs(Address=f"127.0.0.1:{free_port()}") == ("Address", ["ComponentAway"])
    assert await differs(CAFile=str(ours.folder / "stranger.pem")) == ("CAFile", ["ComponentAway"])
    assert await differs(TLS=False, CAFile=None) == ("TLS, CAFile", ["ComponentAway"])
    assert await differs(Lease="5s", Pass="wrong") == ("Pass, Lease", [])
    listener.context = None
    assert await differs(Hosts=[HOST, "example.net"]) == ("Hosts", ["ComponentAway"])
    assert listener.accepted == 0


async def test_state_without_digests_says_nothing_of_options(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    """So it is while a process waits for another one to end."""
    write(store, [SourceState("ejabberd", "ejabberd-component", "here:1", message="another process reads")])
    found = await checked(tmp_path, redis_server.url, listener, Pass="wrong")
    assert said(found) == [("ok", "Component")]
    assert listener.tried == 0


@pytest.mark.promise("Events", "what a check reads from ejabberd becomes jobs")
async def test_events_during_the_check_become_jobs(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    texts = [str(number) for number in range(500)]
    listener.greeting = "".join(wrapped(message(text, text)) for text in texts)
    found = await checked(tmp_path, redis_server.url, listener)
    assert said(found) == [("ok", "Component"), ("warning", "EventNotSent"), UNREAD]
    assert "This check reads" in found[0].message
    assert [event["body"] for event in events_in(store)] == texts
    assert read_states(store) == []
    assert not store.command("EXISTS", store.keys.progress("ejabberd"))


async def test_ctrl_c_loses_nothing_of_what_was_read(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    texts = [str(number) for number in range(500)]
    listener.greeting = "".join(wrapped(message(text, text)) for text in texts)
    with Receiver(lambda _: Answer(body=b"0")) as api:
        configure(tmp_path, redis_server.url, listener, {}, RestURL=f"{api.url}/api")
        with started(["check"], directory=tmp_path) as running:
            await until_async(lambda: events_in(store), "the check reads", 60)
            running.process.send_signal(signal.SIGINT)
            assert await trio.to_thread.run_sync(running.process.wait) == 130
    assert [event["body"] for event in events_in(store)] == texts


async def test_each_fault_of_the_handshake_has_words_of_its_own(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    (denied,) = await checked(tmp_path, redis_server.url, listener, Pass="wrong")
    assert (denied.code, denied.cause) == ("ComponentDenied", "refused")
    (away,) = await checked(tmp_path, redis_server.url, listener, Address=f"127.0.0.1:{free_port()}")
    assert (away.code, away.cause) == ("ComponentAway", "target")
    (other,) = await checked(tmp_path, redis_server.url, listener, Address=redis_server.url.split("/")[2])
    assert "It is no listener for components" in other.message


async def test_a_listener_without_names_lets_in_anyone(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    listener.names = ()
    found = await checked(tmp_path, redis_server.url, listener)
    assert said(found)[0] == ("warning", "AnyName")
    assert listener.accepted == 2, "first another name, then the own"


async def test_without_redis_nothing_is_connected(listener: Listener, tmp_path: Path) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    found = await checked(tmp_path, away, listener)
    assert said(found) == [("note", "NotLookedAt")]
    (tested,) = await checked(tmp_path, away, listener, EventTest(Parties()))
    assert (tested.level, tested.code, tested.cause) == ("problem", "EventNotTested", "store")
    assert listener.accepted == 0


async def test_a_foreign_name_is_a_warning_even_if_it_was_wanted(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    listener.names = ("events.example.net",)
    found = await checked(tmp_path, redis_server.url, listener, Name="events.example.net", ForeignName=True)
    assert said(found)[:3] == [("warning", "ForeignName"), ("ok", "Component"), ("warning", "NameElsewhere")]


@pytest.mark.parametrize(("trial", "level"), [(HAS_PUSH, "ok"), (HAS_NONE, "problem"), (HAS_NONE_24, "problem")])
@pytest.mark.promise("Events", "a test notification of ejabberd becomes no job")
async def test_a_test_notification_arrives_and_becomes_no_job(
    redis_server: RedisServer,
    store: Client,
    listener: Listener,
    tmp_path: Path,
    trial: Answer,
    level: str,
) -> None:
    with api_of(listener, trial) as api:
        found = await checked(tmp_path, redis_server.url, listener, EventTest(Parties()), api, Take=["push"])
    tested = [(level, "ModPush"), ("ok", "EventCame"), ("problem", "NotServing")]
    assert said(found) == [("ok", "Component"), ("warning", "OneReader"), *tested]
    assert f"reported a notification from {HOST} after " in found[-2].message
    assert events_in(store) == []
    assert [kind for _, kind in test_push.answers(listener)] == ["result"]


async def test_each_of_the_hosts_is_tested(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    test = EventTest(Parties(), within_s=1.0)
    with api_of(listener, HAS_NONE, copies=[HOST]) as api:
        found = await checked(tmp_path, redis_server.url, listener, test, api, Hosts=[HOST, "example.net"])
    assert said(found)[:3] == [("ok", "Component"), ("ok", "EventCame"), ("problem", "EventLost")]
    assert "mod_service_log is off" in found[2].message
    assert "Is example.net a virtual host of ejabberd" in (found[2].hint or "")
    assert events_in(store) == []


async def test_state_of_a_killed_process_does_not_count(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_reading, "_SILENT_S", 0.3)
    write(store, [SourceState("ejabberd", "ejabberd-component", "gone:1")])
    found = await checked(tmp_path, redis_server.url, listener)
    assert said(found) == [("ok", "Component"), ("warning", "EventNotSent"), UNREAD]
    assert "This check reads" in found[0].message


async def test_no_test_is_sent_where_no_process_can_read(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    state = SourceState("ejabberd", "ejabberd-component", "here:1", code="ComponentDenied", message="It is refused.")
    write(store, [state])
    found = await checked(tmp_path, redis_server.url, listener, EventTest(Parties()))
    assert said(found) == [("problem", "ComponentDenied"), ("problem", "EventNotTested")]
    assert said(await checked(tmp_path, redis_server.url, listener)) == [("problem", "ComponentDenied")]
    assert listener.accepted == 0


async def test_notifications_that_are_not_taken_are_reported(
    reading: Read, redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    async with reading() as source:
        await source.reads()
        await listener.send(test_push.notification("1"))
        await until_async(lambda: any(seen.notice for seen in read_states(store)), "it is known", 60)
        found = await checked(tmp_path, redis_server.url, listener)
    assert said(found) == [("ok", "Component"), ("warning", "ComponentPush"), ("warning", "EventNotSent")]


async def test_no_test_can_be_sent_by_prosody(redis_server: RedisServer, listener: Listener, tmp_path: Path) -> None:
    found = await checked(tmp_path, redis_server.url, listener, EventTest(Parties()), Kind="prosody-component")
    assert said(found)[:3] == [("ok", "Component"), ("warning", "OneReader"), ("note", "EventNotTested")]
    assert said(found)[3:] == [("problem", "NotServing")]


async def test_mod_push_is_mentioned_where_no_test_may_be_sent(
    redis_server: RedisServer, listener: Listener, tmp_path: Path
) -> None:
    with api_of(listener, HAS_NONE, may_send=False) as api:
        found = await checked(tmp_path, redis_server.url, listener, EventTest(Parties()), api, Take=["push"])
    assert said(found)[2:4] == [("problem", "EventNotSent"), ("problem", "ModPush")]
    assert found[2].cause == "refused"


@pytest.mark.promise("Events", "a test notification of ejabberd becomes no request")
async def test_a_test_notification_becomes_no_job_of_a_url(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path
) -> None:
    listener.greeting = test_push.notification("real")
    route: dict[str, Any] = {"Target": "hook", "Command": "event"}
    with api_of(listener, HAS_PUSH) as api:
        found = await checked(
            tmp_path, redis_server.url, listener, EventTest(Parties()), api, Take=["push"], Routes=[route]
        )
    assert [code for _, code in said(found)][-4:-1] == ["SecretsSent", "ModPush", "EventCame"]
    assert [job["class"] for job in jobs_in(store, "hook")] == ["Restbroker"], "the real one alone, and as a command"
    with api_of(listener, HAS_PUSH) as api:
        route["Omit"] = ["raw"]
        found = await checked(tmp_path, redis_server.url, listener, None, api, Take=["push"], Routes=[route])
    assert "SecretsSent" not in str(found)


async def test_it_says_when_an_event_of_a_room_came(
    redis_server: RedisServer, store: Client, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_reading, "_is_alive", lambda *_: True)
    found: list[Finding] = []
    for room_s in (0.0, 1_700_000_000.0):
        write(store, [SourceState("ejabberd", "ejabberd-component", "here:1", room_s=room_s)])
        found += (await checked(tmp_path, redis_server.url, listener, Take=["message", "joined"]))[1:2]
    assert said(found) == [("note", "EventNotTested"), ("ok", "RoomCame")]
    assert found[1].message.endswith("the last event of a room came at 2023-11-14 22:13:20 UTC.")


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (Answer(body=f'["rooms@{NAME}"]'.encode()), "ok"),
        (Answer(body=b"[]"), "warning"),
        (Answer(400, b'"The room does not exist"'), "warning"),
    ],
)
async def test_it_asks_who_is_subscribed_to_a_room(
    redis_server: RedisServer, listener: Listener, tmp_path: Path, answer: Answer, level: str
) -> None:
    room = f"team@conference.{HOST}"
    with Receiver(lambda asked: answer if "subscribers" in asked.path else Answer(body=b"0")) as api:
        found = await checked(tmp_path, redis_server.url, listener, api=api.url, Take=["joined"], Rooms=[room])
        (asked,) = [request for request in api.received if request.path.endswith("/get_subscribers")]
    assert json.loads(asked.body).items() >= {"name": "team", "service": f"conference.{HOST}"}.items()
    (told,) = [finding for finding in found if room in finding.message]
    assert told.level == level
    assert (b"exist" in answer.body) == ("The room does not exist" in told.message)
    assert level == "ok" or "allow_subscription" in (told.hint or "")
