"""For how long a fetch stands: the more targets a process has, the longer."""

from typing import Any, cast

import pytest

from restbroker.broker.generation import stands_s
from restbroker.broker.target_plan import TargetPlan
from restbroker.config.target import Target, Url
from restbroker.job.order import Order
from restbroker.store.jobs import Limits


def plan(**keys: Any) -> TargetPlan:
    unused = cast("Any", None)
    target = Target("t", "scripted", Url("http", "127.0.0.1", 1), ("rest",), **keys)
    return TargetPlan(target, unused, unused, unused, unused, Limits())


@pytest.mark.parametrize(("pools", "seconds"), [(1, 5), (10, 5), (20, 10), (60, 30), (1000, 30)])
def test_fetches_of_many_targets_stand_for_longer(pools: int, seconds: float) -> None:
    assert stands_s(plan(), pools) == seconds


def test_where_jobs_have_keys_a_fetch_stands_for_five_seconds() -> None:
    assert stands_s(plan(order_by=Order()), 1000) == 5
