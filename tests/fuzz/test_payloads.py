"""Whatever bytes are pushed to a queue: each job ends in exactly one place, and the process goes on.

A whole broker works on them, on the reference of the store and a simulated target.
"""

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from restbroker.telemetry.events import JobFinished
from tests.fuzz.effort import FUZZING
from tests.model.target import SimulatedTarget
from tests.model.world import World, simulate
from tests.support.active_job import wrapper

WORKS_FOR_S = 10.0
"""Less than the shortest back-off: nothing comes back from the retry set."""


def dump(value: Any) -> bytes:
    """JSON as lenient libraries write it: NaN, lone surrogates and all."""
    return json.dumps(value).encode()


odd_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "t", "safe", "rest", "9" * 400, -(10**400), 10**400, 10**4298, -1e308, 5e-324]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = [
    "class", "jid", "queue", "retry", "retry_for", "retry_queue", "dead", "retry_count", "failed_at", "retried_at",
    "created_at", "enqueued_at", "error_class", "error_message", "error_backtrace", "reply_to", "ok_if_exists",
    "traceparent", "restbroker_attempts", "restbroker_uncertain", "restbroker_deferred", "restbroker_may_have_run",
    "backtrace", "at", "tags", "wrapped", "restbroker_accepted", "restbroker_crowded", "restbroker_deferred_at",
    "display_class", "encrypt", "restbroker_effected",
]  # fmt: skip
fields = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), odd_values, max_size=8)
right_args = st.just(["safe", {"jid": "j"}, "t", "reply"]) | st.just(["once", [["jid", "j"]], "t"])
args = right_args | st.tuples(st.just("safe"), odd_values, st.just("t"), odd_values) | odd_values
extreme = st.sampled_from([10**400, -(10**400), 10**4298, "9" * 400, "-" + "9" * 400, 1e308, -1e308, 5e-324, -1])
extreme_jobs = st.dictionaries(st.sampled_from(FIELDS), extreme, max_size=4).map(
    lambda fields: dump({**fields, "args": ["safe", {"jid": "j"}, "t"]})
)
near_jobs = st.builds(lambda fields, args: dump({**fields, "args": args}), fields, args)
rails_jobs = st.builds(lambda fields, args: dump({**fields, **wrapper(args)}), fields, args)
GOOD = b'{"class":"A","jid":"j","args":["safe",{"jid":"j"},"t"],"retry":true,"created_at":1.5}'
cut_jobs = st.builds(
    lambda start, end, filling: GOOD[:start] + filling + GOOD[end:],
    st.integers(0, len(GOOD)),
    st.integers(0, len(GOOD)),
    st.binary(max_size=8),
)
nested = st.sampled_from([b"[" * 100_000, b'{"args":' * 5000, b'{"args":[' + b"[" * 3000])
payloads = near_jobs | rails_jobs | extreme_jobs | cut_jobs | st.binary(max_size=100) | odd_values.map(dump) | nested


@pytest.mark.promise("No command is lost", "whatever bytes are pushed to a queue")
@pytest.mark.promise("Security: who can push to the queues", "to crash or stall it")
@pytest.mark.promise("Producers: jobs", "what is no job is dead as an object")
@given(pushed=st.lists(payloads, min_size=1, max_size=12), status=st.sampled_from([200, 200, 500]))
@FUZZING
def test_whatever_is_pushed_ends_in_exactly_one_place(pushed: list[bytes], status: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        simulate(patch)
        world = trio.run(work_on, pushed, status, clock=MockClock(autojump_threshold=0))
    data, finished = world.reference.data, world.of(JobFinished)
    assert not [event for event in finished if event.code == "Bug"]
    assert not data.lists["queue:rest"]
    assert world.in_progress() == {}
    dropped = sum(event.fate == "drop" for event in finished)
    put_off, retried, dead = (len(data.sets[name]) for name in ("schedule", "retry", "dead"))
    assert data.processed + put_off == len(finished) == len(pushed)
    assert data.failed == retried + dead + dropped


async def work_on(pushed: list[bytes], status: int) -> World:
    """The world after a broker has worked on this, still alive at the end."""
    async with trio.open_nursery() as nursery:
        world = World(SimulatedTarget(status), nursery)
        process = world.start()
        for payload in pushed:
            world.push_raw(payload)
        await trio.sleep(WORKS_FOR_S)
        assert not process.done.is_set()
        nursery.cancel_scope.cancel()
    return world
