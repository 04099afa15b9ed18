"""The order in which queues with weights are asked."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.intake import draw_order
from tests.support.rows import rows

WEIGHTS = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 1000), max_size=8)


@given(WEIGHTS, st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8))
def test_every_queue_is_asked_exactly_once(weights: dict[str, int], numbers: list[float]) -> None:
    order = draw_order(weights, iter(numbers).__next__)
    assert sorted(order) == sorted(weights)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=2), st.integers(0, 2**32))
def test_orders_come_as_often_as_sidekiq_s_do(weights: dict[str, int], seed: int) -> None:
    chance = random.Random(seed)
    tickets = [queue for queue, weight in weights.items() for _ in range(weight)]

    def as_sidekiq_draws() -> tuple[str, ...]:
        chance.shuffle(tickets)
        return tuple(dict.fromkeys(tickets))

    tries = 500
    ours = Counter(draw_order(weights, chance.random) for _ in range(tries))
    theirs = Counter(as_sidekiq_draws() for _ in range(tries))
    for order in {*ours, *theirs}:
        # Six standard deviations of the difference of two counts, at the most.
        assert abs(ours[order] - theirs[order]) <= 6 * (tries / 2) ** 0.5


@rows(("weights", "share"), [({"a": 3, "b": 1}, 0.75), ({"a": 99, "b": 1}, 0.99)])
def test_a_queue_is_first_in_its_weight_s_share_of_all_draws(weights: dict[str, int], share: float) -> None:
    chance = random.Random(1)
    first = Counter(draw_order(weights, chance.random)[0] for _ in range(20_000))
    assert first["a"] / 20_000 == pytest.approx(share, abs=0.015)
    assert first["b"] > 0
