"""When a queue will be empty, and what is never said of one."""

import math
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.broker.status.record import LEAST_TREND_S, changes_per_s
from restbroker.operate.system import LONGEST_S, Outlook, Queue, outlook
from restbroker.operate.words import outlook_cell, outlook_text
from restbroker.web.views import last_to_empty

SIZES = st.none() | st.integers(0, 10**9)
CHANGES = st.none() | st.floats(-1e15, 1e15)


def queue_of(size: int | None, change_per_s: float | None, held_back: Outlook | None = None) -> Queue:
    expected, empty_in_s = outlook(size, change_per_s, held_back)
    state = "down" if held_back == "blocked" else None
    return Queue(
        "rest", size, 1.0, target_state=state, change_per_s=change_per_s, outlook=expected, empty_in_s=empty_in_s
    )


HELD: st.SearchStrategy[Outlook | None] = st.sampled_from([None, "paused", "blocked", "unserved", "stopped"])
QUEUES = st.builds(queue_of, SIZES, CHANGES, HELD)


@given(SIZES, CHANGES, HELD)
def test_time_is_given_only_for_a_shrinking_queue(
    size: int | None, change_per_s: float | None, held_back: Outlook | None
) -> None:
    one = queue_of(size, change_per_s, held_back)
    moves = held_back is None
    may_tell = size == 0 or (size is not None and moves and change_per_s is not None and change_per_s < 0)
    assert may_tell or one.empty_in_s is None
    assert (one.empty_in_s is not None) == (one.outlook in ("empty", "draining"))
    assert one.empty_in_s is None or (0 <= one.empty_in_s <= LONGEST_S and math.isfinite(one.empty_in_s))
    assert ("empty in about" in outlook_text(one)) == (one.outlook == "draining")
    assert ("growing" in outlook_text(one)) == (bool(size) and moves and change_per_s is not None and change_per_s > 0)
    for text in (outlook_text(one), outlook_cell(one)):
        assert text
        assert "-" not in text
        assert not {"nan", "inf", "None"} & set(text.split())


@given(st.lists(QUEUES))
def test_the_queue_that_speaks_for_all_is_the_worst(queues: list[Queue]) -> None:
    worst = last_to_empty(queues)
    if worst is None:
        assert not queues
        return
    states = {queue.outlook for queue in queues}
    red = {queue.outlook for queue in queues if queue.size} & {"stopped", "blocked"}
    assert (worst.outlook in red) == bool(red), "no promise under a red line"
    assert red or "growing" not in states or worst.outlook == "growing"
    if not red and not states & {"growing", "draining", "steady", "unknown", "empty"}:
        assert (worst.size or 0) == max(queue.size or 0 for queue in queues)
    if worst.outlook == "draining":
        assert worst.empty_in_s == max(queue.empty_in_s or 0.0 for queue in queues)


@pytest.mark.parametrize(
    ("size", "change_per_s", "text", "cell"),
    [
        (200_000, -196.0, "empty in about 17 min", "1020s"),
        (20, -40.0, "empty in about 10 s", "0s"),
        (5_400, -1.0, "empty in about 1 h 30 min", "5400s"),
        (500_000, -5.0, "empty in about 1 d 4 h", "100000s"),
        (200_000, 40.2, "growing by 40/s", "+40.20/s"),
        (1, 0.0167, "growing by 1/min", "+0.02/s"),
        (5, 0.0, "not getting shorter", "steady"),
        (10**9, -1.0, "not getting shorter", "steady"),
        (5, None, "rate unknown", "unknown"),
        (None, -1.0, "rate unknown", "unknown"),
        (0, 40.0, "empty", "0s"),
    ],
)
def test_served_queue_has_its_outlook(size: int | None, change_per_s: float | None, text: str, cell: str) -> None:
    one = queue_of(size, change_per_s)
    assert (outlook_text(one), outlook_cell(one)) == (text, cell)


def test_obstacle_of_a_queue_replaces_its_outlook() -> None:
    assert outlook_text(queue_of(5, -1.0, "paused")) == "paused"
    assert outlook_text(queue_of(5, -1.0, "unserved")) == "no process takes jobs"
    assert outlook_text(queue_of(5, -1.0, "blocked")) == "target down"
    refused = attrs.evolve(queue_of(5, -1.0, "blocked"), target_state="denied")
    assert outlook_text(refused) == "target login refused"
    stopped = queue_of(5000, -1.0, "stopped")
    said = [outlook_text(attrs.evolve(stopped, behind_stopped=count)) for count in (3, 4321, None)]
    assert said == ["3 behind stopped keys", "4,321 behind stopped keys", "many behind stopped keys"]


@given(st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(0, 10**9)), unique_by=lambda one: one[0]))
def test_a_trend_is_among_the_steps_between_lengths(lengths: list[tuple[int, int | None]]) -> None:
    sizes = sorted(lengths)
    rate = changes_per_s([(at_s, {"rest": size}) for at_s, size in sizes]).get("rest")
    steps = [
        None if before is None or jobs is None else (jobs - before) / (now_s - since_s)
        for (since_s, before), (now_s, jobs) in pairwise(sizes)
    ]
    if None in steps or not sizes or sizes[-1][0] - sizes[0][0] < LEAST_TREND_S:
        assert rate is None
    else:
        known = [step for step in steps if step is not None]
        assert isinstance(rate, float)
        assert min(known) - 0.001 <= rate <= max(known) + 0.001
