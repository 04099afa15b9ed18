"""The three forms of `restbroker stats --watch`: a live screen, blocks of lines, a line of JSON for each read.

Called by `stats`. Always holds: reads begin every `every_s` seconds, however long one takes; Ctrl-C ends each form, and
that is no failure; output is flushed before the next wait, and ends the watch if its reader has gone.
"""

import math
import os
import select
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import attrs

from restbroker.cli.watch.sampler import Sample, Sampler
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.job.json_types import Json
from restbroker.operate.overview import SystemStats
from restbroker.store.client import Client

Rows: TypeAlias = Callable[[SystemStats], Iterable[Sequence[str]]]
"""Returns the lines of `restbroker stats` in a pipe."""


def watch(client: Client, settings: Config, every_s: float, rows: Rows, *, as_json: bool) -> None:
    """Show the stats every `every_s` seconds until Ctrl-C or the key q.

    Raise `OutputLost`, and `StoreRefused` as `Sampler.sample` does.
    """
    sampler = Sampler(client, settings)
    try:
        if as_json:
            _print(sampler, every_s, _json)
        elif sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
            _screen(sampler, every_s)
        else:
            _print(sampler, every_s, lambda sample: _block(sample, rows))
    except KeyboardInterrupt:
        return


@attrs.define
class _Schedule:
    """When the next read is due: never twice for one moment, and late ones are left out."""

    every_s: float
    _start_s: float = attrs.field(factory=time.monotonic)
    _count: int = 0

    def remaining_s(self) -> float:
        return self._start_s + self._count * self.every_s - time.monotonic()

    def next(self) -> None:
        passed = (time.monotonic() - self._start_s) / self.every_s
        self._count = max(self._count + 1, math.ceil(passed))


def _screen(sampler: Sampler, every_s: float) -> None:
    from restbroker.cli.watch import terminal  # with rich, which no pipe needs
    from restbroker.cli.watch.screen import View, screen

    schedule = _Schedule(every_s)
    sample: Sample | None = None
    event: terminal.Event | None = None
    while event is not terminal.Event.QUIT:
        if event is terminal.Event.SUSPEND:
            terminal.suspend()
        with terminal.alternate_screen() as place:
            event = None
            while event not in (terminal.Event.SUSPEND, terminal.Event.QUIT):
                if sample is None or schedule.remaining_s() <= 0:
                    schedule.next()
                    sample = sampler.sample()
                clock = f"{datetime.now().astimezone():%H:%M:%S}"
                view = View(
                    server=sample.server,
                    clock=clock,
                    every=duration_text(every_s),
                    stats=sample.stats,
                    trend=sample.trend,
                    queues=sampler.settings.queues,
                    stopped_keys=sample.stopped_keys,
                    error=sample.error,
                    age_s=sample.age_s,
                )
                place.show(screen(view, *place.size))
                event = place.wait(schedule.remaining_s())


def _print(sampler: Sampler, every_s: float, write: Callable[[Sample], None]) -> None:
    schedule = _Schedule(every_s)
    while True:
        schedule.next()
        write(sampler.sample())
        with output.require_written():
            pass
        _wait(schedule)


def _wait(schedule: _Schedule) -> None:
    """Wait until the next read is due, or the reader of a pipe went away, which the next line then finds."""
    reader = select.poll()
    # Errors are always told of. A file has none, and is ready at once.
    reader.register(sys.stdout.fileno(), 0)
    reader.poll(max(schedule.remaining_s(), 0.0) * 1000)


def _json(sample: Sample) -> None:
    error: Json = None if sample.error is None else {"message": sample.error.message, "hint": sample.error.hint}
    line: dict[str, object] = {"at": _now(), "error": error, "per_s": {}}
    line |= dict.fromkeys(("redis", "totals", "queues", "targets", "sources"))
    if sample.stats is not None and sample.error is None:
        line |= {"per_s": sample.trend.per_s, **sample.stats}
    output.json_line(line)


def _block(sample: Sample, rows: Rows) -> None:
    output.row(("time", _now()))
    if sample.error is not None:
        output.row(("error", sample.error.message))
    elif sample.stats is not None:
        for name, per_s in sample.trend.per_s.items():
            output.row(("rate", name, f"{per_s:.1f}"))
        for row in rows(sample.stats):
            output.row(row)
    output.data("")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
