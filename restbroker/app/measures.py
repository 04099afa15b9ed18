"""What a process knows of itself, for /metrics. Called by `build`, and `group` for a supervisor.

Always holds: it is made where `Stats` is on only; looking costs no I/O but a look at the process' own memory.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator

import attrs
import trio

from restbroker import __version__
from restbroker.broker.item import Item
from restbroker.broker.lane import Lane
from restbroker.broker.status.record import rss_kib
from restbroker.broker.status.status import Status
from restbroker.config.core import Config
from restbroker.servers import registry
from restbroker.telemetry.counts import Counts, as_label
from restbroker.telemetry.figures import Figures
from restbroker.telemetry.latency import Histogram, added
from restbroker.telemetry.series import METRICS, Distribution, Labels, Making, Samples, Value

_SLEEP_S = 1.0


@attrs.define(eq=False)
class Measures:
    """`worker`: its number, of a group."""

    counts: Counts
    figures: Figures
    status: Status
    worker: int | None = None
    round_trips: Histogram = attrs.field(factory=Histogram)
    lag: Histogram = attrs.field(factory=Histogram)

    def took(self, duration_s: float) -> None:
        """Redis answered a call of the delivery."""
        self.round_trips.add((duration_s,))

    def samples(self) -> Making:
        """The values of this moment. Here they are only copied: to add up what a hundred targets count takes some
        milliseconds, in which nothing would be delivered.
        """
        durations, calls, lag = self.figures.durations(), self.round_trips.copied(), self.lag.copied()
        in_hand = {lane.plan.target.name: [*lane.in_hand.values()] for lane in self.status.lanes}
        ready: Samples = {
            **self.counts.samples(),
            **_of_lanes(self.status.lanes),
            "restbroker_ready": {(): float(self.status.view().unready is None)},
            "restbroker_beat_age_seconds": _if_known(self.status.beat_age_s),
            "restbroker_build_info": {(__version__,): 1},
            **self._of_process(),
        }

        def made() -> Samples:
            return {
                **ready,
                "restbroker_jobs_at_work": {(name,): _at_work(items) for name, items in in_hand.items()},
                "restbroker_job_duration_seconds": {
                    (name,): _told("job_duration", added(parts)) for name, parts in durations.items()
                },
                "restbroker_redis_call_seconds": {(): _told("redis_call", calls)},
                "restbroker_event_loop_lag_seconds": {(): _told("event_loop_lag", lag)},
            }

        return made

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Measures how late the event loop is, until cancelled."""
        task_status.started()
        while True:
            due_s = trio.current_time() + _SLEEP_S
            await trio.sleep_until(due_s)
            self.lag.add((max(0.0, trio.current_time() - due_s),))

    def _of_process(self) -> Samples:
        if self.worker is None:
            return {"restbroker_workers": {(): 1}, "restbroker_workers_wanted": {(): 1}}
        number = (str(self.worker),)
        return {
            "restbroker_worker_cpu_seconds_total": {number: time.process_time()},
            "restbroker_worker_memory_bytes": {number: rss_kib() * 1024},
        }


def commands(current: Callable[[], Config]) -> Callable[[str], Container[str]]:
    """Gives the names of the commands of a target, of the configuration that counts now."""

    def known(name: str) -> Container[str]:
        found = next((target for target in current().targets if target.name == name), None)
        return () if found is None else registry.catalogue_of(found, None).commands

    return known


def _told(name: str, histogram: Histogram) -> Distribution:
    limits_s = METRICS[f"restbroker_{name}_seconds"].limits_s
    return Distribution(histogram.between(limits_s), histogram.total_s)


def _if_known(value: float | None) -> dict[Labels, Value]:
    return {} if value is None else {(): value}


def _of_lanes(lanes: Iterable[Lane]) -> Samples:
    found: dict[str, dict[Labels, Value]] = {}
    for lane in lanes:
        for name, more, value in _of_lane(lane):
            found.setdefault(name, {})[lane.plan.target.name, *more] = value
    return found


def _of_lane(lane: Lane) -> Iterator[tuple[str, Labels, float]]:
    """Each gauge of a target, with the labels beside its name."""
    gate = lane.gate
    yield "restbroker_target_open", (), float(gate.is_open)
    if gate.reason is not None:
        yield "restbroker_target_closed_reason", (as_label(gate.reason.code),), 1
    yield "restbroker_target_limit", (), gate.limit
    yield "restbroker_target_concurrency", (), lane.plan.target.concurrency
    held_back = "refused" if lane.refused else lane.limited
    if held_back is not None:
        yield "restbroker_target_held_back", (held_back,), 1
    yield "restbroker_jobs_in_hand", (), len(lane.in_hand)


def _at_work(items: Iterable[Item]) -> int:
    return sum(item.sending and item.settlement is None for item in items)
