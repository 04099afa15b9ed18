"""Jobs become refreshes: few requests, one refresh of a user at a time, and an outcome for each user alone."""

import json
from functools import partial

import trio
import trio.testing

from restbroker.errors import StoreRefused
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome
from restbroker.transport.message import MaybeSent, NotSent
from tests.unit.rosters.refresh.conftest import BUSY_S, FakeRosters, Link, Opened, Prosody, Side, users

Collected = dict[str, Outcome | Exception]

# All on `autojump_clock`, which jumps when nobody has anything to do: time-outs cost nothing.


async def all_of(side: Side, users: list[str]) -> Collected:
    """The outcome of a job for each of these users, pushed at the same moment."""
    found: Collected = {}

    async def one(user: str) -> None:
        try:
            found[user] = await side.refresh(user)
        except (NotSent, MaybeSent) as error:
            found[user] = error

    async with trio.open_nursery() as nursery:
        for user in users:
            nursery.start_soon(one, user)
    return found


async def test_one_user_is_posted_as_a_list_with_its_length(side: Opened, autojump_clock: object) -> None:
    async with side() as at:
        outcome = await at.refresh("john")
    (request,) = at.prosody.requests
    assert (request.method, request.path, request.body) == ("POST", "/roster_admin/refresh", b'["john"]')
    assert request.timeout_s == 5.0
    assert isinstance(outcome, Delivered)
    assert outcome.body == {"updated": 1, "message": "roster update complete", "status": "ok", "errors": 0}
    assert not outcome.by_us
    assert at.rosters.ended == ["john"]


async def test_jobs_that_come_together_are_refreshed_together(side: Opened, autojump_clock: object) -> None:
    async with side() as at:
        found = await all_of(at, users(120))
    assert all(isinstance(outcome, Delivered) for outcome in found.values())
    assert sorted(map(len, at.prosody.refreshed)) == [20, 50, 50]
    assert sorted(user for batch in at.prosody.refreshed for user in batch) == sorted(users(120))
    assert sorted(at.rosters.ended) == sorted(users(120))
    assert len(at.rosters.claimed) == 1


async def test_full_refreshes_hold_up_no_others(side: Opened, autojump_clock: object) -> None:
    async with side() as at:
        began_s = trio.current_time()
        await at.refresh(*users(2000))
        took_s = trio.current_time() - began_s
    assert len(at.prosody.refreshed) == 40
    assert took_s < 0.06, "ten times 10 ms, if each claim of 200 waited for more"


async def test_job_during_a_refresh_gets_the_next_one(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(takes_s=2.0)) as at, trio.open_nursery() as nursery:
        nursery.start_soon(at.refresh, "john")
        await trio.sleep(1.0)
        assert at.prosody.refreshed == [("john",)]
        nursery.start_soon(at.refresh, "john")
        nursery.start_soon(at.refresh, "aaron")
        await trio.sleep(0.5)
        assert at.prosody.refreshed == [("john",), ("aaron",)]
    assert at.prosody.refreshed == [("john",), ("aaron",), ("john",)]


async def test_a_job_that_comes_during_a_claim_has_its_own(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters()
    async with side(rosters=rosters) as at, trio.open_nursery() as nursery:

        def push_once() -> None:
            rosters.on_request = lambda: None
            nursery.start_soon(at.refresh, "john")

        rosters.on_request = push_once
        nursery.start_soon(at.refresh, "john")
    assert rosters.claimed == [("john",), ("john",)]
    assert at.prosody.refreshed == [("john",), ("john",)]


async def test_user_not_due_yet_is_retried_when_redis_says(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters(waits={"john": 0.75})
    async with side(rosters=rosters) as at:
        began_s = trio.current_time()
        await all_of(at, ["john", "aaron"])
        took_s = trio.current_time() - began_s
    assert at.prosody.refreshed == [("aaron",), ("john",)]
    assert list(map(sorted, rosters.claimed)) == [["aaron", "john"], ["john"]]
    assert 0.75 <= took_s <= 0.8


async def test_a_job_waits_elsewhere_for_the_debounce(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters(waits={"early": 0.75, "busy": 0.05})
    async with side(rosters=rosters) as at:
        await all_of(at, ["early", "busy"])
        assert at.delayed == [("early", 0.75)]
        await at.refresh("early")
        ((user, wait_s),) = at.delayed[1:]
    assert user == "early"
    assert 0.18 <= wait_s <= 0.2, "the debounce from one refresh to the next"
    assert at.prosody.refreshed == [("busy",), ("early",), ("early",)]


async def test_a_refresh_by_hand_waits_for_no_debounce(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters(waits={"changed": 0.75})
    async with side(prosody=Prosody(takes_s=0.01), rosters=rosters) as at, trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await at.refresh("changed", "john", now=True)
        assert at.prosody.refreshed == [("changed", "john")]
        rosters.waits["john"] = BUSY_S
        await at.refresh("john", now=True)
        nursery.start_soon(at.refresh, "john")
        nursery.start_soon(partial(at.refresh, "changed", "john", now=True))
        await at.refresh("changed", now=True)
        assert trio.current_time() - began_s < 0.2
    assert [user for user, _ in at.delayed] == ["john"], "the job that is not by hand comes after the debounce"
    john_s = trio.current_time() - began_s
    assert 0.2 < john_s < 0.4
    assert at.prosody.refreshed[-1] == ("john",)


async def test_a_refresh_by_hand_keeps_the_debounce_of_others(side: Opened, autojump_clock: object) -> None:
    async with side() as at:
        await at.refresh("john", "aaron")
        await trio.sleep(0.15)
        await at.refresh("john", now=True)
        began_s = trio.current_time()
        await at.refresh("aaron")
        assert trio.current_time() - began_s < 0.1
        await at.refresh("john")
        assert 0.18 <= trio.current_time() - began_s < 0.25, "200 ms after the one by hand"


async def test_a_job_of_many_users_waits_for_no_debounce(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters(waits={"early": 0.75, "busy": BUSY_S})
    async with side(rosters=rosters) as at:
        began_s = trio.current_time()
        assert body(await at.refresh("early", "busy", "john")) == {"users": 3, "failed": 0, "waiting": 1}
        assert body(await at.refresh("john", "aaron")) == {"users": 2, "failed": 0, "waiting": 1}
        assert body(await at.refresh("john", "aaron")) == {"users": 2, "failed": 0, "waiting": 2}
        assert trio.current_time() - began_s < 0.2
    assert at.delayed == []
    assert at.prosody.refreshed == [("john",), ("busy",), ("aaron",)]
    assert at.rosters.marked == ["early", "john", "john", "aaron"]


async def test_a_job_that_comes_during_a_claim_keeps_no_worker(side: Opened, autojump_clock: object) -> None:
    rosters, took_s = FakeRosters(), list[float]()
    async with side(rosters=rosters) as at, trio.open_nursery() as nursery:

        async def late(*users: str) -> None:
            began_s = trio.current_time()
            await at.refresh(*users)
            took_s.append(trio.current_time() - began_s)

        def push_once() -> None:
            rosters.on_request = lambda: None
            nursery.start_soon(late, "john", "aaron")
            nursery.start_soon(at.refresh, "john")

        rosters.on_request = push_once
        nursery.start_soon(at.refresh, "john")
    assert took_s[0] < 0.1
    assert (at.rosters.marked, [user for user, _ in at.delayed]) == (["john"], ["john"])


def body(outcome: Outcome) -> object:
    assert isinstance(outcome, Delivered)
    return outcome.body


async def test_the_culprit_of_a_batch_with_errors_is_named(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(fails={"user7"})) as at:
        found = await all_of(at, users(20))
    culprit = found.pop("user7")
    assert all(isinstance(outcome, Delivered) for outcome in found.values())
    assert isinstance(culprit, Deferred)
    assert (culprit.reason.code, "of user7:" in culprit.reason.message, culprit.pause_target) == (
        "RefreshFailed",
        True,
        False,
    )
    assert [request.method for request in at.prosody.requests] == ["POST"] * 21
    assert sorted(json.loads(request.body) for request in at.prosody.requests[1:]) == sorted([u] for u in users(20))


async def test_a_batch_without_an_answer_costs_one_user(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(poisoned={"user3"})) as at:
        began_s = trio.current_time()
        found = await all_of(at, users(50))
        took_s = trio.current_time() - began_s
    culprit = found.pop("user3")
    assert all(isinstance(outcome, Delivered) for outcome in found.values())
    assert isinstance(culprit, Deferred)
    assert (culprit.reason.code, culprit.pause_target) == ("RefreshUnanswered", False)
    assert "user3" in culprit.reason.message
    assert 10.0 <= took_s <= 10.1, "the time-out of the batch, and that of the one user"


async def test_a_single_refresh_is_tried_once_more_at_once(side: Opened, autojump_clock: object) -> None:
    prosody = Prosody(poisoned={"john"})

    async def be_present() -> None:
        await trio.sleep(4.0)
        prosody.poisoned.clear()  # a client that had sent no presence when it began

    async with side(prosody=prosody) as at, trio.open_nursery() as nursery:
        nursery.start_soon(be_present)
        assert isinstance(await at.refresh("john"), Delivered)
    assert prosody.refreshed == [("john",), ("john",)]


async def test_a_silent_prosody_is_an_outage(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(hangs=True)) as at:
        found = await all_of(at, users(50))
    assert all(isinstance(error, MaybeSent) and error.timed_out for error in found.values())
    assert [request.method for request in at.prosody.requests] == ["POST", "GET"], "nobody was asked for alone"


async def test_a_refused_connection_leaves_jobs_unsent(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(refuses=True)) as at:
        found = await all_of(at, users(3))
    assert all(isinstance(error, NotSent) for error in found.values())
    assert sorted(at.rosters.ended) == users(3)
    assert sorted(at.rosters.again) == users(3)


async def test_an_end_between_batch_and_single_leaves_jobs_unsent(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(poisoned={"user0"}, leaves_after=2)) as at:
        found = await all_of(at, users(3))
    assert all(isinstance(error, NotSent) for error in found.values())
    assert [request.method for request in at.prosody.requests[:3]] == ["POST", "GET", "POST"]


async def test_a_missing_module_is_denied_with_what_to_configure(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(status=404)) as at:
        found = await all_of(at, users(3))
        probe = await at.connector.probe(Link(at.prosody))
    for outcome in found.values():
        assert isinstance(outcome, Denied)
        assert (outcome.reason.code, outcome.reason.status) == ("ModuleMissing", 404)
        assert "HostHeader" in (outcome.reason.hint or "")
        assert (probe.ok, probe.denied, probe.detail) == (False, True, outcome.reason.message)
    assert len(at.prosody.requests) == 2


async def test_failed_user_is_refreshed_alone_and_holds_up_no_others(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(poisoned={"john"})) as at, trio.open_nursery() as nursery:
        nursery.start_soon(partial(at.refresh, "john", attempt=2))
        began_s = trio.current_time()
        found = await all_of(at, users(3))
        assert trio.current_time() - began_s < 1.0
    assert all(isinstance(outcome, Delivered) for outcome in found.values())
    assert ("john",) in at.prosody.refreshed


async def test_failed_user_stays_marked_while_his_next_try_is_near(side: Opened, autojump_clock: object) -> None:
    rows: list[tuple[int, list[str]]] = [(1, ["john"]), (3, ["john"]), (4, [])]
    for attempt, again in rows:
        async with side(prosody=Prosody(fails={"john"})) as at:
            await at.refresh("john", attempt=attempt)
            await at.refresh("aaron", attempt=attempt)
        assert at.rosters.again == again, (attempt, again)
        assert at.rosters.ended == ["john", "aaron"], (attempt, again)


async def test_cancelled_job_takes_no_refresh_with_it(side: Opened, autojump_clock: object) -> None:
    found: Collected = {}
    async with side(prosody=Prosody(takes_s=2.0)) as at:

        async def patient() -> None:
            found.update(await all_of(at, ["aaron"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            with trio.move_on_after(1.0):
                await at.refresh("john")
        await trio.testing.wait_all_tasks_blocked()
    assert isinstance(found["aaron"], Delivered)
    assert list(map(sorted, at.prosody.refreshed)) == [["aaron", "john"]]
    assert sorted(at.rosters.ended) == ["aaron", "john"]


async def test_user_of_a_cancelled_job_is_not_refreshed(side: Opened, autojump_clock: object) -> None:
    """Redis is asked for the user meanwhile, who is not due yet."""
    rosters = FakeRosters(waits={"john": BUSY_S})
    async with side(rosters=rosters) as at:
        with trio.CancelScope() as scope:
            rosters.on_request = scope.cancel
            await at.refresh("john")
        await trio.sleep(5.0)
    assert at.prosody.refreshed == []


async def test_refreshes_end_when_the_broker_stops_in_the_middle(side: Opened, autojump_clock: object) -> None:
    async with side(prosody=Prosody(takes_s=60.0)) as at:
        with trio.move_on_after(1.0):
            await at.refresh("john")
    assert at.rosters.ended == ["john"]


async def test_refresh_is_given_up_before_its_claim_ends(side: Opened, autojump_clock: object) -> None:
    slow = Prosody(poisoned=set(users(3)))
    async with side(prosody=slow, rosters=FakeRosters(lease_s=12.0)) as at:
        began_s = trio.current_time()
        found = await all_of(at, users(3))
        took_s = trio.current_time() - began_s
    assert took_s <= 7.1
    assert all(isinstance(error, MaybeSent) for error in found.values())


async def test_jobs_refused_by_redis_are_retried_later(side: Opened, autojump_clock: object) -> None:
    rosters = FakeRosters(refuses=StoreRefused("NOPERM", "Allow it."))
    async with side(rosters=rosters) as at:
        outcome = await at.refresh("john")
        rosters.refuses = None
        assert isinstance(await at.refresh("john"), Delivered)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.reason.hint) == ("RosterRefused", "Allow it.")


async def test_bug_costs_its_own_refresh_and_no_other(side: Opened, autojump_clock: object) -> None:
    prosody = Prosody(fault=ZeroDivisionError("a secret of the test"))
    async with side(prosody=prosody) as at:
        outcome = await at.refresh("john")
        prosody.fault = None
        await trio.sleep(1.0)
        assert isinstance(await at.refresh("john"), Delivered)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason.code, outcome.max_attempts) == ("Bug", 3)
    assert "secret" not in outcome.reason.text
