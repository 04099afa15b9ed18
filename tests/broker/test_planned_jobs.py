"""What changes while plain jobs run: each job from then on obeys, and none is sent twice or lost."""

import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from restbroker.broker.delivery import Delivery
from restbroker.config.secret import Secret
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Outcome, Reason, Rejected
from restbroker.servers.contract import Link
from restbroker.servers.ejabberd.connector import EjabberdConnector
from restbroker.store.client import items, raw
from restbroker.telemetry.events import TargetDown, TargetUp
from restbroker.transport.readiness import Readiness
from restbroker.transport.wire import Listener, Wire
from tests.support.active_job import OBJECT, wrapper
from tests.support.moody_server import Mood, fine, written
from tests.support.paths import Paths, Serving, job
from tests.support.wait import until_async

_BUSY: Final = Mood(written(503, "busy", "Retry-After: 1"))
_HELD: Final = Mood(fine(), then="held")
_ODD: Final = Mood(written(500, "boom"))
_CONCURRENCY: Final = 20
MANY: Final = 1000
_WARM: Final = 10 * _CONCURRENCY
_OLDER_SERVER: Final = '"The node e@h is started. Status: started\\nejabberd 24.12 is running in that node"'


def jobs(
    count: int, moods: dict[int, Mood] | None = None, first: int = 0, command: str = "send_message"
) -> list[bytes]:
    """Return plain jobs, all answered well but those in `moods`."""
    moods = moods or {}
    return [job(str(number), moods.get(number, Mood(fine())), command) for number in range(first, first + count)]


@asynccontextmanager
async def warmed(paths: Paths, command: str = "send_message", **more: Any) -> AsyncIterator[Serving]:
    """Run a broker that has done plain jobs, as planned where it may; stop it at the end of the block.

    The first ones wait for each other, so that it has as many connections as it may.
    """
    first = jobs(_WARM, dict.fromkeys(range(_CONCURRENCY), _HELD), command=command)
    async with paths.broker(first, **more) as serving:
        await until_async(lambda: serving.server.requests.total() >= _CONCURRENCY, "they are sent")
        serving.server.let.set()
        await serving.until_ended(_WARM)
        serving.server.let = trio.Event()
        yield serving
        serving.control.stop.set()


def has(serving: Serving, kind: type, count: int = 1) -> bool:
    return sum(isinstance(event, kind) for event in serving.events) >= count


async def all_sent(serving: Serving, count: int) -> None:
    await until_async(lambda: serving.server.requests.total() == count, "they are sent")


async def test_stop_returns_jobs_at_the_breaker_and_finishes_sent_ones(
    paths: Paths,
) -> None:
    async with warmed(paths) as serving:
        before, count = serving.planned, _CONCURRENCY + 2
        pushed = jobs(count, dict.fromkeys(range(10_000, 10_000 + count), _HELD), first=10_000)
        serving.push(pushed)
        await all_sent(serving, _WARM + _CONCURRENCY)
        await until_async(lambda: len(serving.status.running_jobs()) == count, "all are started")
        (pool,) = serving.status.pools
        serving.control.stop.set()
        await pool.stopping.wait()
        serving.server.let.set()
    waiting = {raw(member) for member in items(paths.client.command("LRANGE", "queue:q", 0, -1))}
    assert len(waiting) == 2
    assert waiting < set(pushed)
    assert serving.server.requests.total() == _WARM + _CONCURRENCY
    assert serving.planned - before == _CONCURRENCY


async def test_jobs_after_an_upgrade_are_sent_as_the_new_version_wants(paths: Paths) -> None:
    # As soon as this version is known, `list_banned` is in no catalogue, and gets no default host.
    async with paths.broker(jobs(MANY, {MANY // 2: _BUSY}, command="list_banned")) as serving:
        await serving.until_ended(1)
        serving.server.status = _OLDER_SERVER
        await serving.until_ended(MANY)
        serving.control.stop.set()
    requests, down, up = list(serving.server.requests), serving.requests_at[TargetDown], serving.requests_at[TargetUp]
    assert down <= up <= down + _CONCURRENCY, "none is sent until it is found well"
    assert serving.server.requests.total() == MANY + 1
    before, after = requests[:down], requests[up:]
    assert len(after) > MANY // 3
    assert all(b'"host":"example.net"' in request for request in before)
    assert [request for request in after if b'"host"' in request] == []
    assert serving.planned > 0.6 * MANY


async def a_password(directory: Path) -> tuple[Path, dict[str, Any]]:
    """Return a file with the old one, and a login with it."""
    file = directory / "password"
    file.write_text("the old one")
    await until_async(lambda: Secret(path=file).file_state() is not None, "it changed long enough ago")
    return file, {"Basic": {"User": "admin@example.org", "PassFile": str(file)}}


async def test_jobs_behind_a_change_of_the_password_carry_the_new_one(paths: Paths, tmp_path: Path) -> None:
    file, auth = await a_password(tmp_path)
    async with paths.broker(jobs(MANY), Auth=auth) as serving:
        await serving.until_ended(MANY // 3)
        file.write_text("another one")
        serving.push(jobs(MANY, first=MANY))
        await until_async(lambda: Secret(path=file).file_state() is not None, "it changed long enough ago")
        await serving.until_ended(2 * MANY)
        before = serving.planned
        serving.push(jobs(MANY, first=2 * MANY))
        await serving.until_ended(3 * MANY)
        serving.control.stop.set()
    login = "Authorization: Basic " + base64.b64encode(b"admin@example.org:another one").decode()
    late = [request for request in serving.server.requests if int(name_of(request)) >= MANY]
    assert len(late) == 2 * MANY
    assert all(login.encode() in request for request in late)
    assert serving.planned - before > MANY // 2


async def test_jobs_behind_a_change_of_their_token_need_the_new_one(paths: Paths, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    tokens = {"Token": None, "Tokens": {"app": {"SecretFile": str(file)}}}
    with_new = [job.replace(b'"t"]', b'"new"]') for job in jobs(MANY, first=2 * MANY)]
    async with paths.broker(jobs(MANY), document=tokens) as serving:
        await serving.until_ended(MANY // 3)
        file.write_text("new")
        await trio.sleep(1.1)  # real time: a removed token is good for a second
        await serving.until_ended(MANY)
        before = serving.planned
        serving.push([*jobs(MANY, first=MANY), *with_new])
        await serving.until_ended(3 * MANY)
        serving.control.stop.set()
    sent = Counter(int(name_of(request)) // MANY for request in serving.server.requests.elements())
    # Those that a busy machine had not sent in that second are dead too.
    assert set(sent) == {0, 2}
    assert MANY // 3 <= sent[0] <= MANY
    assert sent[2] == MANY
    assert paths.client.command("ZCARD", "dead") == 2 * MANY - sent[0]
    assert before > MANY // 6
    assert serving.planned - before > MANY // 2


def name_of(request: bytes) -> str:
    return str(json.loads(request.partition(b"\r\n\r\n")[2])["user"])


def _sign(one: dict[str, Any]) -> None:
    submission = Submission(Command(one["args"][0], one["args"][1]), "", None)
    one["args"][2] = signing.sign("t", "default", int(time.time()), one["jid"], submission, "q")


def _name_a_version_and_an_id(one: dict[str, Any]) -> None:
    one["args"][0] = "send_message/v1"
    ends = {"type": "chat", "from": "a@example.org", "to": "b@example.org"}
    one["args"][1] = {**ends, "subject": "", "body": "b", "id": one["jid"]}


_NOT_PLANNED: Final[Mapping[str, tuple[Mapping[str, Any], Callable[[dict[str, Any]], object]]]] = {
    "AtMostOnce": ({"AtMostOnce": ["send_message"]}, lambda _: None),
    "an id, which makes a message a stanza": ({}, _name_a_version_and_an_id),
    "a part that is done": ({}, lambda one: one.update(restbroker_effected=True)),
    "a try without an answer": ({}, lambda one: one.update(restbroker_uncertain=1)),
    "an earlier life": ({}, lambda one: one.update(restbroker_may_have_run=True)),
    "a key": ({}, lambda one: one.update(idempotency_key=one["jid"])),
    "a trace": ({}, lambda one: one.update(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
}
_PLANNED: Final[Mapping[str, tuple[Mapping[str, Any], Callable[[dict[str, Any]], object]]]] = {
    "Slots": ({"Slots": {"send_message": 100}}, lambda _: None),
    "RateLimit": ({"RateLimit": "10000/s"}, lambda _: None),
    "OrderBy": ({"OrderBy": "order_key"}, lambda one: one.update(order_key=one["jid"])),
    "a signature": ({}, _sign),
    "no jid": ({}, lambda one: one.pop("jid")),
    "an accepted signature": ({}, lambda one: one.update(restbroker_accepted="0" * 64)),
    "a lock of another": ({}, lambda one: one.update(restbroker_unique={"key": "k", "lock": "a" * 64, "for": 60})),
}


@pytest.mark.parametrize("special", [*_NOT_PLANNED, *_PLANNED])
async def test_a_plan_serves_what_is_sent_once_and_as_all_others(paths: Paths, special: str) -> None:
    keys, change = {**_NOT_PLANNED, **_PLANNED}[special]
    changed = [json.loads(raw) for raw in jobs(_WARM, first=_WARM)]
    for fields in changed:
        change(fields)
    async with warmed(paths, **keys) as serving:
        before = serving.planned
        serving.push([json.dumps(fields).encode() for fields in changed])
        await serving.until_ended(2 * _WARM)
    assert {event.outcome for event in serving.finished()} == {"delivered"}
    assert serving.planned - before == (_WARM if special in _PLANNED else 0)
    assert (before > 0) == (special != "AtMostOnce")


async def test_token_of_one_host_is_refused_for_others_after_success(paths: Paths) -> None:
    def message(number: int, host: str) -> bytes:
        ends = {"type": "chat", "from": "a@example.org", "to": f"b@{host}", "subject": "", "body": "b"}
        args = ["send_message", ends, "bound to a host"]
        return json.dumps({"class": "Add", "args": args, "jid": f"{host} {number}", "queue": "q"}).encode()

    bound = {"bound": {"Secret": "bound to a host", "Allow": ["*"], "Hosts": ["example.org"]}}
    warm = [message(number, "example.org") for number in range(_WARM)]
    async with paths.broker(warm, document={"Tokens": bound}) as serving:
        await serving.until_ended(_WARM)
        serving.push([message(number, "example.net") for number in range(_WARM)])
        await serving.until_ended(2 * _WARM)
        serving.control.stop.set()
    assert Counter(event.code or event.outcome for event in serving.finished()) == {
        "delivered": _WARM,
        "HostNotAllowed": _WARM,
    }
    assert serving.planned > 0


@pytest.mark.promise("Producers: jobs", "what ActiveJob wrote as an object is refused by name")
async def test_a_job_of_rails_is_planned_but_an_object_dies(paths: Paths) -> None:
    """Both come behind jobs of the same command, which were let in."""
    async with warmed(paths) as serving:
        before = serving.planned
        later = [json.loads(job) for job in jobs(2 * _WARM, first=_WARM)]
        for number, job in enumerate(later):
            job["args"][1] |= {"body": dict(OBJECT)} if number % 2 else {"_aj_symbol_keys": ["user", "mood"]}
            job.update(wrapper(job["args"]))
        serving.push([json.dumps(job).encode() for job in later])
        await serving.until_ended(3 * _WARM)
        sent = list(serving.server.requests)
    assert Counter(event.code or event.outcome for event in serving.finished()) == {
        "delivered": 2 * _WARM,
        "BadArguments": _WARM,
    }
    assert serving.planned > before
    assert not [job for job in sent if b"_aj_" in job]


async def test_a_command_that_takes_long_has_its_own_time_if_planned(paths: Paths) -> None:
    async with warmed(paths, "delete_old_messages", RequestTimeout="1s") as serving:
        before = serving.planned
        serving.push([job("long", _HELD, command="delete_old_messages")])
        await all_sent(serving, _WARM + 1)
        await trio.sleep(1.5)  # real time: longer than any other command may take
        serving.server.let.set()
        await serving.until_ended(_WARM + 1)
    assert {event.outcome for event in serving.finished()} == {"delivered"}
    assert 1.5 <= serving.finished()[-1].duration_s < 60, "it counts from the sending"
    assert serving.planned == before + 1 > 1


def _fail(*_args: object) -> None:
    raise ZeroDivisionError("seeded")


def _listening_fails(patch: pytest.MonkeyPatch) -> None:
    listen = Wire.listen

    def no_room(wire: Wire, listener: Listener, _readiness: Readiness) -> bool:
        return listen(wire, listener, Readiness())

    patch.setattr(Wire, "listen", no_room)


_BUGS: Final[Mapping[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "its connector": lambda patch: patch.setattr(EjabberdConnector, "plan", _fail),
    "epoll": _listening_fails,
}


@pytest.mark.parametrize("when", ["when it is taken", "while it waits for the breaker"])
@pytest.mark.parametrize("fails", _BUGS)
async def test_job_whose_plan_fails_is_still_done(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, fails: str, when: str
) -> None:
    seed, more = _BUGS[fails], _CONCURRENCY + 2
    async with warmed(paths) as serving:
        assert serving.planned > 0
        with monkeypatch.context() as patch:
            if when == "when it is taken":
                seed(patch)
            serving.push(jobs(more, dict.fromkeys(range(10_000, 10_000 + more), _HELD), first=10_000))
            await all_sent(serving, _WARM + _CONCURRENCY)
            await until_async(lambda: len(serving.status.running_jobs()) == more, "all are started")
            if when != "when it is taken":
                seed(patch)
            serving.server.let.set()
            await serving.until_ended(_WARM + more)
        serving.server.let = trio.Event()
        serving.push(jobs(_CONCURRENCY, dict.fromkeys(range(20_000, 20_000 + _CONCURRENCY), _HELD), first=20_000))
        await all_sent(serving, _WARM + more + _CONCURRENCY)
        serving.server.let.set()
        await serving.until_ended(_WARM + more + _CONCURRENCY)
    assert {event.outcome for event in serving.finished()} == {"delivered"}
    assert serving.server.requests.total() == _WARM + more + _CONCURRENCY


async def test_job_sent_with_a_replaced_login_is_sent_with_the_new_one(paths: Paths, tmp_path: Path) -> None:
    file, auth = await a_password(tmp_path)
    async with warmed(paths, Auth=auth) as serving:
        before = serving.planned
        refused = Mood(written(401, ""), then="held")
        serving.push([job("refused", refused)])
        await all_sent(serving, _WARM + 1)
        file.write_text("the new one")
        serving.server.let.set()
        await serving.until_ended(_WARM + 1)
    assert before > 0
    (refused_event,) = (event for event in serving.finished() if event.jid == "refused")
    assert refused_event.outcome == "delivered"
    heads = [request for request in serving.server.requests if name_of(request) == "refused"]
    assert len(heads) == len({head.partition(b"Authorization: ")[2].partition(b"\r\n")[0] for head in heads}) == 2


@pytest.mark.parametrize("code", ["Uncertain", "Bug"])
async def test_job_dropped_after_sending_is_uncertain_whatever_is_said(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    async def refuse(_connector: EjabberdConnector, _call: Call, _link: Link) -> Outcome:
        if code == "Bug":
            raise ZeroDivisionError("seeded")
        return Rejected(Reason("NotThatWay", "Another version of the server came meanwhile."))

    async with warmed(paths) as serving:
        monkeypatch.setattr(EjabberdConnector, "deliver", refuse)
        serving.push([job("dropped", Mood(written(500, "")), command="register")])
        await serving.until_ended(_WARM + 1)
    (event,) = (event for event in serving.finished() if event.jid == "dropped")
    assert (event.outcome, event.code) == ("uncertain", code)
    assert [name_of(request) for request in serving.server.requests].count("dropped") == 1


async def test_connector_failing_on_an_answer_costs_one_job(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = list[str]()

    def fail_once(_connector: EjabberdConnector) -> None:
        if bug:
            raise ZeroDivisionError(bug.pop())

    monkeypatch.setattr(EjabberdConnector, "_record_success", fail_once)
    async with warmed(paths) as serving:
        before = serving.planned
        bug.append("seeded")
        serving.push(jobs(MANY, first=10_000))
        await serving.until_ended(_WARM + MANY)
    assert serving.planned - before == MANY
    assert paths.client.command("ZCARD", "dead") == 1
    assert serving.server.requests.total() == _WARM + MANY


async def test_bug_after_a_plan_costs_its_jobs_and_no_breaker_place(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than there are places.
    odd = _CONCURRENCY + 4
    async with warmed(paths) as serving:
        with monkeypatch.context() as patch:
            patch.setattr(Delivery, "call", _fail)
            serving.push(jobs(odd, dict.fromkeys(range(10_000, 10_000 + odd), _ODD), first=10_000))
            await serving.until_ended(_WARM + odd)
        serving.push(jobs(MANY, first=20_000))
        await serving.until_ended(_WARM + odd + MANY)
    assert paths.client.command("ZCARD", "dead") == odd
    assert serving.server.requests.total() >= _WARM + MANY + 1
