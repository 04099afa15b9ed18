"""The adaptive limit, against simulated servers on a clock that nobody waits for."""

import heapq
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.rules import Adaptive
from tests.support.rows import rows

BEST_PER_S = 200.0


@attrs.define
class Server:
    """Does `units` jobs at once, `BEST_PER_S` in sum; what comes beyond fails after `fails_after_s`."""

    units: int
    fails_after_s: float
    done: list[float] = attrs.field(factory=list)
    failed: list[float] = attrs.field(factory=list)

    def run(self, limit: Adaptive, for_s: float) -> None:
        """As many jobs as the limit allows, all the time."""
        chance, now_s, busy, served, serial = random.Random(1), 0.0, 0, 0, 0
        ends: list[tuple[float, int, bool]] = []
        while now_s < for_s:
            while busy < limit.limit:
                busy, serial, fine = busy + 1, serial + 1, served < self.units
                served += fine
                takes_s = self.units / BEST_PER_S * chance.uniform(0.5, 1.5) if fine else self.fails_after_s
                heapq.heappush(ends, (now_s + takes_s, serial, fine))
            now_s, _, fine = heapq.heappop(ends)
            busy, served = busy - 1, served - fine
            (self.done if fine else self.failed).append(now_s)
            (limit.record_answer if fine else limit.record_refusal)(now_s, busy)


def ready(limit: Adaptive, now_s: float, answers: int) -> None:
    """Note this number of answers, each while as many jobs as allowed are in delivery."""
    for _ in range(answers):
        limit.record_answer(now_s, limit.limit - 1)


@pytest.mark.promise("A good citizen", "a server is asked for what it can do")
@rows(("ceiling", "units"), [(20, 8), (50, 1), (50, 2), (50, 8), (100, 4), (20, 16), (500, 100)])
@rows("fails_after_s", [0.002, 1.0])
def test_limit_settles_within_a_fifth_of_the_best_throughput(ceiling: int, units: int, fails_after_s: float) -> None:
    server = Server(units, fails_after_s)
    server.run(Adaptive(ceiling), 30.0)
    settled = [at_s for at_s in server.done if at_s >= 5]
    assert len(settled) / 25 >= 0.8 * BEST_PER_S
    assert len([at_s for at_s in server.failed if at_s >= 5]) / 25 <= 2.5, "few jobs per second meet a refusal"


def test_refused_job_takes_its_place_with_it() -> None:
    limit = Adaptive(50)
    for others in range(49, 7, -1):
        limit.record_refusal(1.0, others)
    assert limit.limit == 8


def test_a_refusal_costs_a_fifth_once_a_second_down_to_one() -> None:
    limit, small = Adaptive(100), Adaptive(2)
    limit.record_refusal(1.0, 99)
    limit.record_refusal(1.9, 99)
    assert limit.limit == 80
    limit.record_refusal(2.9, 99)
    assert limit.limit == 64
    small.record_refusal(1.0, 5)
    assert small.limit == 1


def test_limit_rests_a_second_and_then_grows_a_step_a_second() -> None:
    limit = Adaptive(20)
    limit.record_refusal(10.0, 19)
    ready(limit, 10.9, 100)
    assert limit.limit == 16
    for second in range(11, 15):
        ready(limit, float(second), 100)
        ready(limit, second + 0.5, 100)
    assert limit.limit == 20


def test_first_goes_alone_after_an_outage_and_rounds_double() -> None:
    limit = Adaptive(100)
    limit.restart(0)
    rounds = [limit.limit]
    for number in range(8):
        ready(limit, 10.0 + number, limit.limit)
        rounds.append(limit.limit)
    assert rounds == [1, 2, 4, 8, 16, 32, 64, 100, 100]


def test_simultaneous_answers_raise_it_as_much_as_single_ones() -> None:
    together, one_by_one = Adaptive(64), Adaptive(64)
    for limit in (together, one_by_one):
        limit.restart(0)
    busy = 1
    for _ in range(5):
        together.record_answers(100.0, busy - 1, busy)
        for _ in range(busy):
            before = one_by_one.limit
            one_by_one.record_answer(100.0, busy - 1)
            busy += one_by_one.limit - before  # each place is taken at once
        assert together.limit == one_by_one.limit == busy
    assert one_by_one.limit == one_by_one.ceiling // 2


def test_former_limit_survives_an_outage_that_took_every_place() -> None:
    limit = Adaptive(20)
    for others in range(19, -1, -1):
        limit.record_refusal(1.0, others)
    assert limit.limit == 1
    limit.restart(0)
    ready(limit, 5.0, 15)
    assert limit.limit == 16
    ready(limit, 5.0, 15)
    assert limit.limit == 16, "from here on step by step"


def test_second_outage_costs_a_fifth_of_the_former_limit() -> None:
    """How far it had come back does not matter."""
    limit = Adaptive(100)
    limit.restart(0)
    limit.record_refusal(10.0, 0)
    limit.restart(0)
    rounds = [limit.limit]
    for _ in range(8):
        ready(limit, 12.0, limit.limit)
        rounds.append(limit.limit)
    assert rounds == [1, 2, 4, 8, 16, 32, 64, 80, 80]


def test_one_slow_job_does_not_hold_all_others_back() -> None:
    limit = Adaptive(20)
    limit.restart(0)
    for tenth in range(50):
        limit.raise_limit(100.0 + tenth / 10)
    assert limit.limit == 6
    stuck = Adaptive(20)
    for others in range(19, -1, -1):
        stuck.record_refusal(1.0, others)
    stuck.raise_limit(10.9)
    assert stuck.limit == 1
    stuck.raise_limit(11.0)
    assert stuck.limit == 2


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(-1, 5), st.integers(0, 3), st.integers(0, 60)), max_size=200))
def test_whatever_happens_it_stays_between_one_and_its_ceiling(
    ceiling: int, steps: list[tuple[float, int, int]]
) -> None:
    limit = Adaptive(ceiling)
    now_s = 100.0
    for pause_s, what, others in steps:
        now_s += pause_s
        before = limit.limit
        match what:
            case 0:
                limit.record_answer(now_s, others)
            case 1:
                limit.record_refusal(now_s, others)
                assert limit.limit <= max(1, before)
            case 2:
                limit.restart(others)
            case _:
                limit.raise_limit(now_s)
        assert 1 <= limit.limit <= ceiling


def test_step_takes_as_many_answers_as_the_limit_and_a_second() -> None:
    """The second counts from the last refusal."""
    limit = Adaptive(20)
    limit.record_refusal(10.0, 19)
    ready(limit, 11.0, 15)
    assert limit.limit == 16
    ready(limit, 11.0, 1)
    assert limit.limit == 17
    ready(limit, 12.0, 16)
    assert limit.limit == 17
    ready(limit, 12.0, 1)
    assert limit.limit == 18


def test_limit_does_not_grow_while_a_place_is_free() -> None:
    limit = Adaptive(20)
    limit.record_refusal(10.0, 19)
    for _ in range(100):
        limit.record_answer(12.0, limit.limit - 2)
    assert limit.limit == 16


def test_limit_refused_at_once_returns_but_for_a_fifth() -> None:
    limit = Adaptive(20)
    limit.record_refusal(1.0, 5)
    assert limit.limit == 5
    ready(limit, 2.0, 14)
    assert limit.limit == 15
    limit.raise_limit(2.5)
    assert limit.limit == 15


def test_step_after_a_harmless_outage_takes_as_many_answers() -> None:
    limit = Adaptive(20)
    limit.record_refusal(1.0, 19)
    ready(limit, 2.0, 15)
    limit.restart(15)
    ready(limit, 2.5, 15)
    assert limit.limit == 16, "what was answered before the outage no longer counts"
    ready(limit, 2.5, 1)
    assert limit.limit == 17
