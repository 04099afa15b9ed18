"""What changes while plain jobs run: each job from then on obeys, and none is sent twice or lost."""

import base64
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from restbroker.broker.delivery import Delivery
from restbroker.broker.health import Lease
from restbroker.broker.job_in_progress import IllegalTransition, JobInProgress, Reservations
from restbroker.broker.same_host import this_process
from restbroker.config.secret import Secret
from restbroker.job import signing
from restbroker.job.arguments import Submission
from restbroker.job.command import Call, Command
from restbroker.job.job import MAY_HAVE_RUN_FIELD, UNCERTAIN_FIELD
from restbroker.job.outcome import Outcome, Reason, Rejected
from restbroker.servers.contract import Link
from restbroker.servers.ejabberd.connector import EjabberdConnector
from restbroker.store import heartbeats, identities
from restbroker.store import jobs as store_jobs
from restbroker.store import order as order_store
from restbroker.store import tokens as token_store
from restbroker.store.client import items, raw
from restbroker.telemetry.events import BrokerStarted, OperatorWarning, TargetDown, TargetUp
from restbroker.transport.upkeep import Readiness
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


@pytest.mark.promise("No command is lost", "jobs are done alike in three ways")
async def test_a_stop_in_the_middle_leaves_each_job_done_once_or_waiting(paths: Paths) -> None:
    async with paths.broker(jobs(MANY)) as serving:
        await serving.until_ended(MANY // 3)
        serving.control.stop.set()
    waiting = paths.client.command("LLEN", "queue:q")
    assert isinstance(waiting, int)
    assert 0 < waiting < MANY
    assert serving.server.requests.total() == serving.ended == MANY - waiting
    assert serving.planned > 0


async def test_a_stop_cuts_off_what_gets_no_answer_and_retries_it_as_what_may_have_run(paths: Paths) -> None:
    async with warmed(paths) as serving:
        serving.push(jobs(3, dict.fromkeys(range(10_000, 10_003), _HELD), first=10_000))
        await all_sent(serving, _WARM + 3)
        serving.control.at_once.set()
    assert paths.client.command("LLEN", "queue:q") == 0
    left = [json.loads(raw(member)) for member in items(paths.client.command("ZRANGE", "retry", 0, -1))]
    assert [entry[UNCERTAIN_FIELD] for entry in left] == [1, 1, 1]


async def test_what_waits_for_the_breaker_at_a_stop_goes_back_as_it_was_and_what_was_sent_is_finished(
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


async def test_after_a_fence_the_next_generation_has_all_its_places(
    paths: Paths,
) -> None:
    async with warmed(paths) as serving:
        count = _CONCURRENCY + 2
        serving.push(jobs(count, dict.fromkeys(range(10_000, 10_000 + count), _HELD), first=10_000))
        await all_sent(serving, _WARM + _CONCURRENCY)
        (pool,) = serving.status.pools
        live = partial(identities.live_identities, paths.client)
        name = pool.identity.name
        await until_async(lambda: heartbeats.fence(paths.client, name, live()[name]), "it is fenced")
        await until_async(lambda: has(serving, BrokerStarted, 2), "the next one serves")
        serving.server.let.set()
        await serving.until_ended(_WARM + count)
        before, sent, serving.server.let = serving.planned, serving.server.requests.total(), trio.Event()
        serving.push(jobs(_CONCURRENCY, dict.fromkeys(range(20_000, 20_000 + _CONCURRENCY), _HELD), first=20_000))
        await all_sent(serving, sent + _CONCURRENCY)
        serving.server.let.set()
        serving.push(jobs(_WARM, first=30_000))
        await serving.until_ended(_WARM + count + _CONCURRENCY + _WARM)
    assert {event.outcome for event in serving.finished() if int(event.jid) >= 20_000} == {"delivered"}
    assert serving.planned > before


@pytest.mark.slow  # thousands of jobs
async def test_a_target_that_trips_in_the_middle_gets_nothing_until_it_is_found_well(paths: Paths) -> None:
    async with paths.broker(jobs(MANY, {MANY // 2: _BUSY})) as serving:
        await serving.until_ended(MANY)
        serving.control.stop.set()
    down, up = serving.requests_at[TargetDown], serving.requests_at[TargetUp]
    assert down <= up <= down + _CONCURRENCY < MANY
    assert serving.server.requests.total() == MANY + 1
    assert serving.planned > MANY // 2


async def test_jobs_behind_a_reload_are_sent_by_the_new_configuration(paths: Paths) -> None:
    async with paths.broker(jobs(MANY)) as serving:
        await serving.until_ended(MANY // 3)
        serving.next_plan = serving.configure({"Domain": "example.com"})
        serving.control.reload.set()
        await until_async(lambda: has(serving, BrokerStarted, 2), "the new one serves")
        serving.push(jobs(MANY, first=MANY))
        await serving.until_ended(2 * MANY)
        serving.control.stop.set()
    late = [request for request in serving.server.requests if int(name_of(request)) >= MANY]
    assert len(late) == MANY
    assert all(b"Host: example.com\r\n" in request for request in late)
    assert serving.planned > MANY


async def test_jobs_behind_a_new_version_of_the_server_are_sent_as_that_version_takes_them(paths: Paths) -> None:
    # As soon as this version is known, `list_banned` is in no catalogue, and gets no default host.
    async with paths.broker(jobs(MANY, {MANY // 2: _BUSY}, command="list_banned")) as serving:
        await serving.until_ended(1)
        serving.server.status = _OLDER_SERVER
        await serving.until_ended(MANY)
        serving.control.stop.set()
    requests = list(serving.server.requests)
    before, after = requests[: serving.requests_at[TargetDown]], requests[serving.requests_at[TargetUp] :]
    assert len(after) > MANY // 3
    assert all(b'"host":"example.net"' in request for request in before)
    assert [request for request in after if b'"host"' in request] == []
    assert serving.planned > 0.6 * MANY


async def test_jobs_that_wait_for_the_breaker_are_sent_as_the_version_takes_them_that_is_found_meanwhile(
    paths: Paths,
) -> None:
    async with warmed(paths, "list_banned") as serving:
        count, first = _CONCURRENCY + 2, 10_000
        held = dict.fromkeys(range(first, first + count), attrs.evolve(_BUSY, then="held"))
        serving.push(jobs(count, held, first, command="list_banned"))
        await all_sent(serving, _WARM + _CONCURRENCY)
        await until_async(lambda: len(serving.status.running_jobs()) == count, "all are started")
        sent = {name_of(request) for request in serving.server.requests}
        serving.server.status = _OLDER_SERVER
        serving.server.let.set()
        await until_async(lambda: has(serving, TargetUp), "it is found well")
        await all_sent(serving, _WARM + count)
    waited = [request for request in serving.server.requests if name_of(request) not in sent]
    assert len(waited) == 2
    assert [request for request in waited if b'"host"' in request] == []


async def test_jobs_behind_a_change_of_the_password_carry_the_new_one(paths: Paths, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("the old one")
    await until_async(lambda: Secret(path=file).file_state() is not None, "it changed long enough ago")
    auth = {"Basic": {"User": "admin@example.org", "PassFile": str(file)}}
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
    with_new = [one.replace(b'"t"]', b'"new"]') for one in jobs(MANY, first=2 * MANY)]
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
    one["args"][2] = signing.sign("t", "default", int(time.time()), one["jid"], submission)


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
    changed = [json.loads(one) for one in jobs(_WARM, first=_WARM)]
    for one in changed:
        change(one)
    async with warmed(paths, **keys) as serving:
        before = serving.planned
        serving.push([json.dumps(one).encode() for one in changed])
        await serving.until_ended(2 * _WARM)
    assert {event.outcome for event in serving.finished()} == {"delivered"}
    assert serving.planned - before == (_WARM if special in _PLANNED else 0)
    assert (before > 0) == (special != "AtMostOnce")


async def test_a_token_of_one_host_is_good_for_no_other_one_though_it_was_let_in_before(paths: Paths) -> None:
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
        later = [json.loads(one) for one in jobs(2 * _WARM, first=_WARM)]
        for number, one in enumerate(later):
            one["args"][1] |= {"body": dict(OBJECT)} if number % 2 else {"_aj_symbol_keys": ["user", "mood"]}
            one.update(wrapper(one["args"]))
        serving.push([json.dumps(one).encode() for one in later])
        await serving.until_ended(3 * _WARM)
        sent = list(serving.server.requests)
    assert Counter(event.code or event.outcome for event in serving.finished()) == {
        "delivered": 2 * _WARM,
        "BadArguments": _WARM,
    }
    assert serving.planned > before
    assert not [one for one in sent if b"_aj_" in one]


@pytest.mark.parametrize("why", ["the lease ran out", "it is in other hands"])
async def test_what_may_not_be_sent_any_more_is_not_sent_as_planned(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    async with warmed(paths) as serving:
        assert serving.planned > 0
        has = Reservations.has
        if why == "the lease ran out":
            monkeypatch.setattr(Lease, "is_fresh", property(lambda _: False))
        else:
            monkeypatch.setattr(Reservations, "has", lambda ours, job: b'"late"' not in job.raw and has(ours, job))
        serving.push([job("late", Mood(fine()))])
        await until_async(lambda: paths.client.command("LLEN", "queue:q") == 0, "it is taken")
        await trio.sleep(0.3)  # real time: nothing tells that nothing is sent
        assert "late" not in {name_of(request) for request in serving.server.requests}
        monkeypatch.undo()


async def test_a_command_that_takes_long_has_its_own_time_if_planned(paths: Paths) -> None:
    async with warmed(paths, "delete_old_messages", RequestTimeout="1s") as serving:
        before = serving.planned
        serving.push([job("long", _HELD, command="delete_old_messages")])
        await all_sent(serving, _WARM + 1)
        await trio.sleep(1.5)  # real time: longer than any other command may take
        serving.server.let.set()
        await serving.until_ended(_WARM + 1)
    assert {event.outcome for event in serving.finished()} == {"delivered"}
    assert serving.planned == before + 1 > 1


async def test_a_command_that_expires_by_its_target_does_so_if_planned(paths: Paths) -> None:
    old = {**json.loads(job("old", Mood(fine()))), "created_at": time.time() - 7200}
    async with warmed(paths, Expire={"send_message": "1h"}) as serving:
        before = serving.planned
        serving.push([json.dumps(old).encode()])
        await serving.until_ended(_WARM + 1)
    assert [event.outcome for event in serving.finished() if event.jid == "old"] == ["expired"]
    assert "old" not in {name_of(request) for request in serving.server.requests}
    assert before > 0


async def test_a_job_that_a_process_had_when_it_crashed_is_sent_as_one_that_may_have_run(paths: Paths) -> None:
    exists = Mood(written(409, '{"status":"error","code":10090,"message":"User already exists"}'))
    async with paths.broker([job("crashed", exists, command="register")]) as serving:
        assert store_jobs.register(paths.client, "another", this_process("t"), ("q",))
        assert store_jobs.fetch(paths.client, store_jobs.FetchRequest("another", "t", ("q",), 0, 1, 1))
        serving.push(jobs(_WARM, command="register"))
        await serving.until_ended(_WARM)
        before = serving.planned
        assert heartbeats.fence(paths.client, "another", identities.live_identities(paths.client)["another"])
        await serving.until_ended(_WARM + 1)
        serving.control.stop.set()
    assert [event.outcome for event in serving.finished() if event.jid == "crashed"] == ["delivered"]
    assert serving.planned == before > 0


@pytest.mark.slow  # thousands of jobs
async def test_what_is_to_die_by_an_order_of_before_is_not_sent(paths: Paths) -> None:
    def keyed(key: str, numbers: range, its_mood: Mood) -> list[bytes]:
        return [
            json.dumps({**json.loads(job(f"{key}{number}", its_mood)), "order_key": key}).encode() for number in numbers
        ]

    refused, more = Mood(written(400, "[]")), range(1, _WARM)
    heads = [*keyed("dropped", range(1), refused), *keyed("skipped", range(1), refused)]
    async with paths.broker(heads, OrderBy="order_key", OnDead="stop") as serving:
        serving.push([*keyed("dropped", range(1, 2), Mood(fine())), *keyed("skipped", more, Mood(fine()))])
        await serving.until_ended(2)
        serving.next_plan = serving.configure({})
        serving.control.reload.set()
        await until_async(lambda: has(serving, BrokerStarted, 2), "the new one serves")
        assert order_store.steer(paths.client, "t", ("q",), "skip", [b"skipped"]) == [True]
        await serving.until_ended(2 + len(more))
        assert order_store.steer(paths.client, "t", ("q",), "drop", [b"dropped"]) == [True]
        await serving.until_ended(3 + len(more))
        serving.push(jobs(_WARM))
        await serving.until_ended(3 + len(more) + _WARM)
        serving.control.stop.set()
    assert [event.code for event in serving.finished() if event.jid == "dropped1"] == ["PredecessorDied"]
    assert "dropped1" not in {name_of(request) for request in serving.server.requests}
    assert serving.planned > 0


async def test_one_job_that_the_server_is_too_busy_for_trips_nothing(paths: Paths) -> None:
    async with warmed(paths) as serving:
        await trio.sleep(1.1)  # real time: for a second after an answer no such job trips the breaker
        before = serving.planned
        serving.push(jobs(1, first=_WARM))
        await serving.until_ended(_WARM + 1)
        assert serving.planned == before + 1
        serving.push([job("busy", Mood(written(503, "busy")), command="register")])
        await until_async(lambda: serving.finished()[-1].status == 503, "it is deferred")
    assert not has(serving, TargetDown)


async def test_a_token_of_planned_jobs_alone_counts_as_used(paths: Paths) -> None:
    async with warmed(paths) as serving:
        before, next_s = serving.planned, int(time.time()) + 1
        await until_async(lambda: time.time() >= next_s, "it is another second, which is what Redis keeps")
        serving.push(jobs(1, first=_WARM))
        await serving.until_ended(_WARM + 1)
        assert serving.planned == before + 1
        await until_async(lambda: token_store.last_uses(paths.client).get("default", 0) >= next_s, "Redis knows", 30)


async def test_an_operator_is_warned_of_an_answer_that_goes_nowhere_though_the_jobs_before_wanted_none(
    paths: Paths,
) -> None:
    async with warmed(paths, document={"ResponseQueue": None}) as serving:
        assert serving.planned > 0
        asking = json.loads(job("asking", Mood(fine())))
        serving.push([json.dumps({**asking, "args": [*asking["args"], "r"]}).encode()])
        await serving.until_ended(_WARM + 1)
    assert [event.code for event in serving.events if isinstance(event, OperatorWarning)] == ["ReplyWithoutQueue"]


async def test_a_person_cancels_a_job_that_was_sent_and_one_that_waits_for_the_breaker(paths: Paths) -> None:
    async with warmed(paths) as serving:
        # Those for slots are places too: they wait for the breaker.
        count, first = _CONCURRENCY + 2, 10_000
        serving.push(jobs(count, dict.fromkeys(range(first, first + count), _HELD), first=first))
        await all_sent(serving, _WARM + _CONCURRENCY)
        await until_async(lambda: len(serving.status.running_jobs()) == count, "all are started")
        threads = {running.job.jid: running.thread for running in serving.status.running_jobs()}
        sent = {name_of(request) for request in serving.server.requests}
        (first_sent, *_), (first_held, _) = sorted(sent & set(threads)), sorted(set(threads) - sent)
        assert serving.status.cancel(threads[first_held])
        assert serving.status.cancel(threads[first_sent])
        await until_async(lambda: paths.client.command("ZCARD", "dead") == 2, "both are parked")
        serving.server.let.set()
        await serving.until_ended(_WARM + count)
    dead = [json.loads(raw(member)) for member in items(paths.client.command("ZRANGE", "dead", 0, -1))]
    assert {entry["jid"]: MAY_HAVE_RUN_FIELD in entry for entry in dead} == {first_sent: True, first_held: False}
    assert serving.planned > _CONCURRENCY
    assert first_held not in {name_of(request) for request in serving.server.requests}


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
async def test_a_job_over_whose_plan_something_fails_is_done_all_the_same(
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


async def test_a_job_that_expires_while_it_waits_for_the_breaker_is_not_sent(paths: Paths) -> None:
    async with warmed(paths) as serving:
        serving.push(jobs(_CONCURRENCY, dict.fromkeys(range(10_000, 10_000 + _CONCURRENCY), _HELD), first=10_000))
        await all_sent(serving, _WARM + _CONCURRENCY)
        expires_at_s = time.time() + 1.0
        late = {**json.loads(job("expiring", Mood(written(200, "0")))), "expiry": expires_at_s}
        serving.push([json.dumps(late).encode()])
        await until_async(lambda: len(serving.status.running_jobs()) == _CONCURRENCY + 1, "it waits")
        await serving.until_ended(_WARM + 1)
        assert time.time() >= expires_at_s
        serving.server.let.set()
        await serving.until_ended(_WARM + _CONCURRENCY + 1)
    assert [event.outcome for event in serving.finished() if event.jid == "expiring"] == ["expired"]
    assert "expiring" not in {name_of(request) for request in serving.server.requests}


async def test_what_was_sent_with_a_login_that_was_replaced_meanwhile_is_sent_again_with_the_new_one(
    paths: Paths, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("the old one")
    await until_async(lambda: Secret(path=file).file_state() is not None, "it changed long enough ago")
    auth = {"Basic": {"User": "admin@example.org", "PassFile": str(file)}}
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


async def test_what_was_sent_and_then_not_gone_on_with_is_uncertain_whatever_the_connector_says(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_connector: EjabberdConnector, _call: Call, _link: Link) -> Outcome:
        return Rejected(Reason("NotThatWay", "Another version of the server came meanwhile."))

    async with warmed(paths) as serving:
        monkeypatch.setattr(EjabberdConnector, "deliver", refuse)
        serving.push([job("dropped", Mood(written(500, "")), command="register")])
        await serving.until_ended(_WARM + 1)
    (event,) = (event for event in serving.finished() if event.jid == "dropped")
    assert event.outcome == "uncertain"
    assert [name_of(request) for request in serving.server.requests].count("dropped") == 1


async def test_a_job_whose_expiry_comes_after_it_was_sent_is_settled_by_its_answer(paths: Paths) -> None:
    async with warmed(paths) as serving:
        before, expires_at_s = serving.planned, time.time() + 1
        late = json.loads(job("late", Mood(written(500, ""), then="held")))
        serving.push([json.dumps({**late, "expiry": expires_at_s}).encode()])
        await all_sent(serving, _WARM + 1)
        held_s = expires_at_s - time.time()
        await until_async(lambda: time.time() > expires_at_s, "it expires")
        serving.server.let.set()
        await serving.until_ended(_WARM + 1)
    assert before > 0
    (event,) = serving.finished()[-1:]
    assert (event.outcome, event.status) == ("expired", 500)
    assert event.duration_s >= held_s > 0, "it counts from the sending"


async def test_a_job_whose_sending_fails_is_tried_again_and_costs_no_other(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_sending, refused = JobInProgress.start_sending, list[str]()

    def refuse_one(job: JobInProgress) -> None:
        if b'"jid":"10007"' in job.raw.replace(b" ", b""):
            refused.append(job.ticket)
            raise IllegalTransition("seeded")
        start_sending(job)

    monkeypatch.setattr(JobInProgress, "start_sending", refuse_one)
    async with warmed(paths) as serving:
        serving.push(jobs(_CONCURRENCY, first=10_000))
        await serving.until_ended(11 * _CONCURRENCY)
    assert len(refused) == 1
    assert paths.client.command("ZCARD", "retry") == 1
    assert serving.server.requests.total() == 11 * _CONCURRENCY - 1


async def test_a_connector_that_fails_when_it_hears_of_an_answer_costs_one_job(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = list[str]()

    def fail_once(_connector: EjabberdConnector) -> None:
        if bug:
            raise ZeroDivisionError(bug.pop())

    monkeypatch.setattr(EjabberdConnector, "_note_success", fail_once)
    async with warmed(paths) as serving:
        before = serving.planned
        bug.append("seeded")
        serving.push(jobs(MANY, first=10_000))
        await serving.until_ended(_WARM + MANY)
    assert serving.planned - before == MANY
    assert paths.client.command("ZCARD", "dead") == 1
    assert serving.server.requests.total() == _WARM + MANY


async def test_a_bug_behind_a_plan_costs_these_jobs_and_no_place_in_the_breaker(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError("seeded")

    # More than there are places.
    odd = _CONCURRENCY + 4
    async with warmed(paths) as serving:
        with monkeypatch.context() as patch:
            patch.setattr(Delivery, "call", fail)
            serving.push(jobs(odd, dict.fromkeys(range(10_000, 10_000 + odd), _ODD), first=10_000))
            await serving.until_ended(_WARM + odd)
        serving.push(jobs(MANY, first=20_000))
        await serving.until_ended(_WARM + odd + MANY)
    assert paths.client.command("ZCARD", "dead") == odd
    assert serving.server.requests.total() >= _WARM + MANY + 1
