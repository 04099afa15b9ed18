"""`restbroker stats --watch`: repeat the stats, as one screen, as blocks of lines, or as lines of JSON.

Always holds: reads begin every `every_s` seconds, however long one takes; that Redis is away is reported, and the next
read connects again; Ctrl-C ends each form, and that is no failure; output is flushed before the next wait, and ends the
watch if its reader has gone; a terminal is left as it was.
"""

import math
import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from heapq import nlargest
from io import TextIOWrapper
from typing import Final, NoReturn, TypeAlias

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.styled import Styled
from rich.text import Text

from restbroker.cli import targets
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import output
from restbroker.console.causes import said
from restbroker.console.columns import ALARM, Column, Row, draw
from restbroker.console.times import listed
from restbroker.errors import ConnectionEnded, RestbrokerError, StoreRefused, StoreUnavailable
from restbroker.job.json_types import Json
from restbroker.light import define, field
from restbroker.operate.context import context_of
from restbroker.operate.problems import Alarm, problems
from restbroker.operate.summary import Cause, Summaries
from restbroker.operate.system import (
    Queue,
    Snapshot,
    TargetState,
    TargetStoppedKeys,
    stopped_keys,
    system,
)
from restbroker.operate.system import targets as targets_of
from restbroker.operate.words import all_well
from restbroker.store.client import Client

Lines: TypeAlias = Callable[[Snapshot], Iterable[Sequence[str]]]
"""Returns the lines of `restbroker stats` in a pipe."""
TIMEOUT_S: Final = 2.0
"""The time-out of one read in seconds; a key that is pressed meanwhile has to wait as long."""
_DEAD: Final = 8
_KEY: Final = re.compile(rb"\x1b[\[O][AB]|\n")
"""What the arrow keys up (A) and down (B), and Enter, send."""
_CAUSES_S: Final = 0.3
_CAUSES: Final[Sequence[Column[Cause]]] = (
    Column("DIED", text=lambda one: listed(one.last_s)),
    Column("JOBS", text=lambda one: f"{one.jobs:,}", numbers=True),
    Column("COMMAND", lambda one: one.command),
    Column("CODE", lambda one: one.code),
    Column("MESSAGE", text=lambda one: said(one.message)),
)
_BARS: Final = ("▁▂▃▄▅▆▇█", "_.-:=+*#")
"""Low to high, and the same for a terminal whose encoding has only letters."""
_MOST_TRENDS: Final = 1000


@define
class Sample:
    """The latest good read of the stats, `read_at_s` by a clock that never goes back, and the `error` since then.

    `per_s`: how fast totals rise; empty after the first read. `stopped`: what `stopped_keys` returned.
    """

    client: Client
    settings: Config
    stats: Snapshot | None = None
    error: RestbrokerError | None = None
    per_s: Mapping[str, float] = field(factory=dict)
    trends: deque[tuple[int, float]] = field(factory=lambda: deque(maxlen=_MOST_TRENDS))
    """Of each good read, the latest last: the jobs that waited, and failures in a second."""
    stopped: Sequence[TargetStoppedKeys] = ()
    read_at_s: float = 0.0

    def read(self) -> None:
        """Read the stats once. Raise `StoreRefused` if the very first read is refused: waiting would not help."""
        self.error = None
        try:
            try:
                seen = system(self.client, self.settings.queues)
            except ConnectionEnded:
                # It ended since the last read, and nothing was asked: Redis may well be there.
                seen = system(self.client, self.settings.queues)
            self.stopped = stopped_keys(self.client, self.settings.targets)
        except (StoreUnavailable, StoreRefused) as error:
            if isinstance(error, StoreRefused) and self.stats is None:
                raise
            self.error = error
            return
        now_s = time.monotonic()
        if self.stats is not None:
            before, lasted_s = self.stats.totals, max(now_s - self.read_at_s, 1e-3)
            grown = {name: seen.totals[name] - before[name] for name in ("processed", "failed")}
            # Totals that fell, since Redis was emptied, have no rate.
            self.per_s = {name: round(more / lasted_s, 1) for name, more in grown.items() if more >= 0}
        self.trends.append((seen.waiting, self.per_s.get("failed", 0.0)))
        self.stats, self.read_at_s = seen, now_s


@define
class ReadTimes:
    """When the next read is due: never twice for one moment, and late ones are left out."""

    every_s: float
    _start_s: float = field(factory=time.monotonic)
    _count: int = 0

    def remaining_s(self) -> float:
        """Return the seconds until the next read is due."""
        return max(0.0, self._start_s + self._count * self.every_s - time.monotonic())

    def next(self) -> None:
        """Count a read that begins now."""
        self._count = max(self._count + 1, math.ceil((time.monotonic() - self._start_s) / self.every_s))


def watch(
    sample: Sample,
    every_s: float,
    *,
    lines: Lines,
    queue_columns: Sequence[Column[Queue]],
    explain: Callable[[str], None],
    as_json: bool,
) -> None:
    """Show the stats every `every_s` seconds until Ctrl-C; `explain` prints what is known of a job.

    Raise `OutputLost`, and `StoreRefused` as `Sample.read` does.
    """
    with suppress(KeyboardInterrupt):
        if not as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown"):
            with _terminal() as keys:
                Screen(sample, ReadTimes(every_s), keys, queue_columns, explain).run()
        schedule = ReadTimes(every_s)
        while True:
            schedule.next()
            sample.read()
            with output.require_written():
                if as_json:
                    _json(sample)
                else:
                    _block(sample, lines)
            output.wait(schedule.remaining_s())


def _json(sample: Sample) -> None:
    error: Json = None if sample.error is None else {"message": sample.error.message, "hint": sample.error.hint}
    line: dict[str, object] = {"at": _now(), "error": error, "per_s": {}}
    line |= dict.fromkeys(("redis", "totals", "queues", "targets", "sources"))
    if sample.stats is not None and sample.error is None:
        line |= {"per_s": sample.per_s, **sample.stats.as_json()}
    output.json_line(line)


def _block(sample: Sample, lines: Lines) -> None:
    output.row(("time", _now()))
    if sample.error is not None:
        output.row(("error", sample.error.message))
    elif sample.stats is not None:
        for name, per_s in sample.per_s.items():
            output.row(("rate", name, f"{per_s:.1f}"))
        for cells in lines(sample.stats):
            output.row(cells)
    output.data("")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def _terminal() -> Iterator[int | None]:
    """Yield where keys come from, at once and unseen; None if nobody types. At the end all is as it was before."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal may have none of the characters that a server's text has.
        sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    if sys.stdin is None or not sys.stdin.isatty():
        yield None
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        # Ctrl-C stays a signal.
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)
        yield sys.stdin.fileno()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@define
class Screen:
    """The live screen: what is wrong, targets, queues and the latest causes of dead jobs, of which one is selected."""

    sample: Sample
    schedule: ReadTimes
    keys: int | None
    queue_columns: Sequence[Column[Queue]]
    explain: Callable[[str], None]
    _targets: Sequence[TargetState] = ()
    _summaries: Summaries | None = None
    _dead: Sequence[Cause] = ()
    _selected: int | None = None

    def run(self) -> NoReturn:
        """Show the screen until Ctrl-C, and after Enter a job's explanation until the next key."""
        console = Console(highlight=False, markup=False, emoji=False)
        while True:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                jid = self._choose(live)
            try:
                self.explain(jid)
            except RestbrokerError as error:
                output.say_error(error)
            except typer.Exit:
                pass  # it was not found, and says so
            output.say("", "Any key goes back.")
            self._key(None)

    def _choose(self, live: Live) -> str:
        """Refresh the screen until Enter; return the id of the selected job."""
        while True:
            if not self.schedule.remaining_s():
                self.schedule.next()
                self._read()
            live.update(self._draw(live.console), refresh=True)
            pressed = self._key(self.schedule.remaining_s())
            for key in _KEY.findall(pressed) if self._dead else ():
                place = -1 if self._selected is None else self._selected
                if key == b"\n" and place >= 0 and (jid := self._dead[place].jid):
                    return jid
                step = {b"A": -1, b"B": 1}.get(key[-1:], 0)
                self._selected = min(max(0, place + step), len(self._dead) - 1)

    def _key(self, timeout_s: float | None) -> bytes:
        """Return the key that is pressed within this time; empty if there is none."""
        if select.select([] if self.keys is None else [self.keys], [], [], timeout_s)[0] and self.keys is not None:
            with suppress(OSError):
                if typed := os.read(self.keys, 64):
                    return typed
            self.keys = None  # nobody types any more; the screen goes on
        return b""

    def _read(self) -> None:
        chosen = None if self._selected is None else self._dead[self._selected]
        self.sample.read()
        # A user of Redis who may not read jobs sees the rest.
        with suppress(StoreUnavailable, StoreRefused):
            client, settings = self.sample.client, self.sample.settings
            if self.sample.stats is not None:
                self._targets = targets_of(client, self.sample.stats.targets)
            self._summaries = self._summaries or Summaries("dead", context_of(settings))
            found = self._summaries.now(client, _CAUSES_S).causes
            self._dead = nlargest(_DEAD, found, key=lambda cause: cause.last_s)
        groups = [cause.group for cause in self._dead]
        self._selected = groups.index(chosen.group) if chosen is not None and chosen.group in groups else None

    def _draw(self, console: Console) -> RenderableType:
        sample, seen = self.sample, self.sample.stats
        clock, every = f"{datetime.now().astimezone():%H:%M:%S}", duration_text(self.schedule.every_s)
        keys = "" if self.keys is None else "arrows and Enter explain a dead job, "
        head = f"{clock}  {keys}Ctrl-C ends  every {every}  Redis at {sample.client.address}"
        found = [] if seen is None else problems(seen, sample.settings, sample.stopped, time.time())
        if sample.error is not None:
            age = duration_text(time.monotonic() - sample.read_at_s)
            old = "" if seen is None else f" These numbers are {age} old."
            found = [Alarm("Unreachable", "Redis", True, sample.error.message + old, sample.error.hint), *found]
        well = Text(all_well(0 if seen is None else seen.totals["dead"]), "green")
        top = [_one_line(head, "bold"), *(_problem_lines(found, console) or [well])]
        if seen is None:
            return Group(*top)
        rates = {name: f" (+{per_s:,.1f}/s)" for name, per_s in sample.per_s.items()}
        totals = ", ".join(f"{name} {count:,}{rates.get(name, '')}" for name, count in seen.totals.items())
        wrong = ["" if targets.is_well(target) else "red" for target in self._targets]
        selected = ["reverse" if place == self._selected else "" for place in range(len(self._dead))]
        queues = sorted(seen.queues, key=_waited_s, reverse=True)
        width = console.width
        lists = [
            (len(self._targets), partial(_list, targets.COLUMNS, self._targets, wrong, width)),
            (len(queues), partial(_list, self.queue_columns, queues, [""] * len(queues), width)),
            (len(self._dead), partial(_list, _CAUSES, self._dead, selected, width)),
        ]
        body: list[RenderableType] = [_one_line(totals), *_trend_lines(sample.trends, console)]
        room = console.height - len(top) - len(body)
        for place, (count, lines) in enumerate(lists):
            share = min(count + 2, room // (len(lists) - place))
            body += lines(share)
            room -= share
        return Group(*top, Group(*body) if sample.error is None else Styled(Group(*body), "dim"))


def _waited_s(queue: Queue) -> float:
    return queue.latency_s or 0.0


def _list(
    columns: Sequence[Column[Row]], rows: Sequence[Row], styles: Sequence[str], width: int, room: int
) -> list[RenderableType]:
    """Return an empty line, the header and as many rows as there is room for; the last line counts the others."""
    if not rows or room < 3:
        return []
    if len(rows) <= room - 2:
        return ["", draw(columns, rows, width=width, whole=False, styles=styles)]
    shown = draw(columns, rows[: room - 3], width=width, whole=False, styles=styles)
    return ["", shown, f"… and {len(rows) - room + 3} more"]


def _trend_lines(trends: Iterable[tuple[int, float]], console: Console) -> Iterator[Text]:
    """Yield a line of bars for the jobs that waited at each read, and one for failures, the latest last."""
    bars, (waiting, failed) = _BARS[console.options.ascii_only], zip(*trends, strict=True)
    for name, values in ((f"waiting {waiting[-1]:,}", waiting), (f"failed {failed[-1]:,.1f}/s", failed)):
        shown = values[-max(1, console.width - 17) :]
        step = max(1.0, *shown) / (len(bars) - 1)
        yield _one_line(f"{name:15}  {''.join(bars[math.ceil(value / step)] for value in shown)}")


def _problem_lines(found: Sequence[Alarm], console: Console) -> list[Text]:
    """Return what is wrong in a third of the screen, in full if that suffices, otherwise in one line each."""
    room = max(1, console.height // 3)
    texts = [Text(output.one_line(alarm.line), ALARM[alarm.grave]) for alarm in found]
    whole = [line for text in texts for line in text.wrap(console, console.width)]
    if len(whole) <= room:
        return whole
    lines = [_one_line(text.plain, str(text.style)) for text in texts]
    return lines if len(lines) <= room else [*lines[: room - 1], Text(f"… and {len(lines) - room + 1} more")]


def _one_line(text: str, style: str = "") -> Text:
    return Text(output.one_line(text), style, no_wrap=True, overflow="ellipsis")
