"""Counts settled jobs for Sidekiq's Metrics page, per minute and command, until they are written to Redis.

A sink: `app` reports to it; whoever writes the process's record calls `take`, and `give_back` when Redis is away.
Always holds: memory is bounded, whatever names producers invent and however long Redis is away; a job costs a
fifth of a microsecond, where it comes with others of its command.
"""

import time
from collections.abc import Callable, Iterable
from itertools import islice

import attrs

from restbroker.telemetry.events import Event, JobFinished, JobsDelivered
from restbroker.telemetry.metrics import OTHER, Executions, Tally, safe_name

NAMES_PER_MINUTE = 200
BACKLOG_MINUTES = 60
"""What the page shows at first; older executions are forgotten."""
TAKEN_AT_ONCE = 50
"""Redis does nothing else while it adds them: measured 0.1 ms each at most, with times in every bucket."""


@attrs.define
class _Minute:
    tallies: dict[str, Tally] = attrs.field(factory=dict)
    # Also of what was taken: otherwise each take would let another 200 names into the same minute.
    names: set[str] = attrs.field(factory=set)

    def of(self, command: str) -> Tally:
        # What an endpoint says behind the command (`register/v1`) may be anything, a secret too.
        command = command.partition("/")[0]
        # Names that are not safe miss here each time, which costs them another microsecond.
        return self.tallies.get(command) or self._add(command)

    def _add(self, command: str) -> Tally:
        name = safe_name(command)
        if name not in self.names and len(self.names) >= NAMES_PER_MINUTE:
            name = OTHER
        self.names.add(name)
        return self.tallies.setdefault(name, Tally())


@attrs.define
class ExecutionCounts:
    """Executions since the last take. `now_s`: the time of day, epoch seconds."""

    now_s: Callable[[], float] = time.time
    _minutes: dict[int, _Minute] = attrs.field(factory=dict, init=False)

    def __call__(self, event: Event) -> None:
        """Takes note of settled jobs, as `stat:processed` and `stat:failed` count them: `schedule` and `back` were no
        tries. Other events do not concern it. Never raises.
        """
        match event:
            case JobsDelivered():
                minute = self._now()
                for command, durations_s in event.took_s.items():
                    minute.of(command).succeeded(durations_s)
            case JobFinished(fate="ack"):
                self._now().of(event.command).succeeded((event.duration_s,))
            case JobFinished(fate="retry" | "dead" | "drop"):
                self._now().of(event.command).has_failed()
            case _:
                pass

    def take(self) -> tuple[Executions, ...]:
        """What was counted since the last take, the oldest first. Forgets it.

        At most 50; after a long outage of Redis the next takes give the rest.
        """
        counted = ((at_s, name) for at_s, minute in self._minutes.items() for name in minute.tallies)
        return tuple(
            self._minutes[at_s].tallies.pop(name).executions(at_s, name)
            for at_s, name in list(islice(counted, TAKEN_AT_ONCE))
        )

    def give_back(self, executions: Iterable[Executions]) -> None:
        """Counts again what was taken and could not be written. What is older than an hour is forgotten."""
        for one in executions:
            minute = self._minutes.get(one.minute_s)
            if minute is not None:
                minute.tallies.setdefault(one.command, Tally()).include(one)

    def _now(self) -> _Minute:
        minute_s = int(self.now_s()) // 60 * 60
        minute = self._minutes.get(minute_s)
        if minute is not None:
            return minute
        minute = self._minutes[minute_s] = _Minute()
        if len(self._minutes) > BACKLOG_MINUTES:
            # The one that was opened first, not the earliest: a clock may be set back.
            del self._minutes[next(iter(self._minutes))]
        return minute
