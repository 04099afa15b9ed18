"""The parts of a run that can be proved without one: the plan, the verdict, the sweep."""

import contextlib
import random

import attrs
import pytest
import trio
import typer

from restbroker.cli.verify import verify
from restbroker.console.options import Output
from restbroker.trial.result import TrialResult, Verdict, verdict_of
from restbroker.trial.stand_in import StandIn
from restbroker.trial.verify import plan
from tests.support.rows import rows


async def test_requests_are_counted_while_the_server_goes_down() -> None:
    request = b"POST /api/status HTTP/1.1\r\ntraceparent: %d\r\nContent-Length: 2\r\n\r\n{}"

    async def come(port: int, number: int) -> None:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(request % number)
                await stream.receive_some()

    # Some of 60 come at the very moment, in one of ten rounds.
    for seed in range(20):
        rng = random.Random(seed)
        async with trio.open_nursery() as nursery:
            stand_in = StandIn(nursery, "u", "p", rng, slow=True)
            await stand_in.come_up()
            for number in range(60):
                nursery.start_soon(come, stand_in.port, number)
            await trio.sleep(rng.uniform(0.002, 0.014))
            await stand_in.go_down()
            assert stand_in.cut == sum(map(len, stand_in.jobs.values()))
            assert not stand_in.done
            nursery.cancel_scope.cancel()


def test_without_kills_nothing_breaks() -> None:
    assert plan(0, random.Random(1)) == []


@rows("kills", [1, 3, 100])
def test_a_plan_has_every_fault_and_begins_with_a_freeze(kills: int) -> None:
    faults = plan(kills, random.Random(1))
    assert faults.count("kill") == kills
    assert set(faults) == {"kill", "freeze", "cut", "reset", "restart"}
    assert faults[0] == "freeze"


def test_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plan(20, random.Random(5)) == plan(20, random.Random(5)) != plan(20, random.Random(6))


def test_each_job_is_judged_by_what_redis_and_the_target_say() -> None:
    statuses: dict[str, list[int | None]] = {
        "done": [200],
        "twice": [200, 409],
        "maybe twice": [None, 200],
        "unacknowledged": [200],
        "never pushed": [200],
        "dead": [None],
    }
    attempted = ["done", "twice", "maybe twice", "unacknowledged", "dead", "queued", "gone"]
    acknowledged = [job for job in attempted if job != "unacknowledged"]
    verdict = verdict_of(attempted, acknowledged, statuses, {"queued": 1, "dead": 1}, ["dead"], bound=5)
    assert verdict == Verdict(
        attempted=7,
        acknowledged=6,
        ok=4,
        lost=1,
        duplicated=2,
        bound=5,
        unexpected=1,
        recovered=1,
        dead=1,
        unfinished=1,
    )


GOOD = TrialResult(Verdict(9, 9, 9, 0, 3, 3, 0, 0, 0, 0), {}, {"kill": 2}, {"kill": [0.5, 1.5], "freeze": []}, 1.0, 7)


@rows(
    "bad",
    [
        attrs.evolve(GOOD, verdict=attrs.evolve(GOOD.verdict, lost=1)),
        attrs.evolve(GOOD, verdict=attrs.evolve(GOOD.verdict, unexpected=1)),
        attrs.evolve(GOOD, verdict=attrs.evolve(GOOD.verdict, unfinished=1)),
        attrs.evolve(GOOD, verdict=attrs.evolve(GOOD.verdict, bound=2)),
    ],
)
def test_one_broken_promise_is_enough(bad: TrialResult) -> None:
    assert GOOD.is_kept
    assert not bad.is_kept


@rows(("faults", "bound", "tested"), [({"kill": 2}, 3, True), ({"kill": 2}, 0, False), ({}, 0, True)])
def test_a_run_whose_faults_met_no_job_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faults: dict[str, int],
    bound: int,
    tested: bool,
) -> None:
    found = attrs.evolve(GOOD, verdict=attrs.evolve(GOOD.verdict, duplicated=0, bound=bound), faults=faults)
    monkeypatch.setattr("restbroker.trial.verify.run", lambda *_: found)
    with pytest.raises(typer.Exit) as ended:
        verify(redis="redis://127.0.0.1:1/0", kills=2, how=Output())
    assert ended.value.exit_code == (0 if tested else 1)
    said = capsys.readouterr().err
    assert ("Every promise was kept." in said, "NOTHING WAS TESTED" in said) == (tested, not tested)


def test_times_of_recovery_are_summed_up_where_there_are_any() -> None:
    assert GOOD.recovery() == {"kill": {"count": 2, "min": 0.5, "median": 1.0, "max": 1.5}}
