"""What Sidekiq Web and Sidekiq's API see of this process, and the requests that they leave for it.

A service: one task per process, beside its generations. Always holds: it is for display, apart from the heartbeat, and
no error of it delays or ends anything else; nothing secret is in it; a request for this process (quiet, stop, dump) has
the effect of the local signal, except that no second request to stop cuts the drain short, and one to cancel a job in
progress ends its delivery; the record is gone when the process ends.
"""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import trio

from restbroker import __version__
from restbroker.broker import signals
from restbroker.broker.identity import new_name
from restbroker.broker.scopes import wait_for_any
from restbroker.broker.signals import Control
from restbroker.broker.status.status import Status
from restbroker.broker.status.view import RunningJob
from restbroker.broker.target_plan import TargetPlan
from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job import display, hiding, rubyjson
from restbroker.job.hiding import Spellings
from restbroker.job.json_types import Json
from restbroker.light import define, field
from restbroker.store import processes
from restbroker.store.client import Client
from restbroker.store.connection import Connection
from restbroker.store.processes import Record
from restbroker.telemetry.events import OperatorWarning, Report

RECORD_S: Final = 5.0
TREND_S: Final = 60.0
"""How far back the lengths of queues are compared, in seconds."""
_LATEST: Final = 4
"""So many of these lengths decide how fast a queue grows, if it moves at all."""
LEAST_TREND_S: Final = 15.0
"""Lengths of fewer seconds say nothing."""
TAG: Final = "restbroker"
"""The tag that is shown beside the host."""
_ORIGIN = "Sidekiq Web"
_NOT_SHOWN = "Sidekiq Web may not show this process"
_REMOVE_S = 1.0
_REQUESTS_AT_ONCE = 10
_SHOWN_JOBS = 1000
# A job of 1 MiB took up to a second to look through for secrets.
_LARGE_BYTES = 64 * 1024
# Since 8.0.10 Sidekiq Web asks with INFO for what TTIN did before.
_REQUESTS: Final[Mapping[str, signal.Signals]] = {
    "TSTP": signal.SIGTSTP,
    "TERM": signal.SIGTERM,
    "TTIN": signal.SIGTTIN,
    "INFO": signal.SIGTTIN,
}


Lengths: TypeAlias = tuple[float, Mapping[str, int | None]]
"""A moment (seconds of any clock), and how many jobs waited in each queue then."""


def changes_per_s(lengths: Sequence[Lengths]) -> dict[str, Json]:
    """Return by how many jobs per second each queue grew lately, negative if it got shorter.

    It is the median of the latest steps: many jobs that are pushed at once say nothing of how long they take. Empty if
    the moments are fewer than `LEAST_TREND_S` seconds apart.
    """
    if not lengths or lengths[-1][0] - lengths[0][0] < LEAST_TREND_S:
        return {}
    found: dict[str, Json] = {}
    for queue in lengths[-1][1]:
        known = [(at_s, jobs) for at_s, waiting in lengths if (jobs := waiting.get(queue)) is not None]
        steps = [(jobs - before) / (at_s - then_s) for (then_s, before), (at_s, jobs) in pairwise(known)]
        if len(steps) == len(lengths) - 1:
            # Of a queue in which a job comes or goes now and then all steps count.
            found[queue] = round(median(steps[-_LATEST:]) or sum(steps) / len(steps), 3)
    return found


@define(eq=False)
class SidekiqRecord:
    """The record of this process. `connection` is its own, with a short time-out.

    `show_bodies` tells whether jobs are shown with their message texts.
    """

    connection: Connection
    status: Status
    control: Control
    report: Report
    show_bodies: Callable[[], bool]
    name: str = field(factory=new_name)
    _started_at_s: float = field(factory=time.time)
    _rtt_us: int = 0
    _lengths: Sequence[Lengths] = ()
    _reported: set[str] = field(factory=set)
    _formatted: dict[str, bytes] = field(factory=dict, repr=False)
    _tokens: tuple[tuple[str, ...], Spellings] | None = field(default=None, repr=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write the record every five seconds, from the first generation on, until cancelled; then remove it."""
        task_status.started()
        try:
            await self.status.served.wait()
            with suppress(StoreUnavailable, StoreRefused):
                await self.connection.ask(processes.prune)
            while True:
                shown = self._state
                for _ in range(_REQUESTS_AT_ONCE):
                    if (request := await self._write()) is None:
                        break
                    # What was requested shows at once; a person is looking.
                    self._act(request)
                if shown == self._state:
                    await self._pause()
        finally:
            last = trio.CancelScope(shield=True, deadline=trio.current_time() + _REMOVE_S)
            with last, suppress(StoreUnavailable, StoreRefused):
                if self.status.served.is_set():
                    await self.connection.ask(processes.remove, self.name)
            await self.connection.aclose()

    @property
    def _state(self) -> tuple[bool, bool]:
        """Whether the process is quiet, and whether it stops: what a person at Sidekiq Web waits for."""
        return self.control.quiet.is_set(), self.control.stop.is_set()

    async def _pause(self) -> None:
        """Wait until the next record is due, or the process becomes quiet or begins to stop."""
        with trio.move_on_after(RECORD_S):
            await wait_for_any(*(event.wait for event in (self.control.quiet, self.control.stop) if not event.is_set()))

    async def _write(self) -> str | None:
        """Write the record; return the request that is there for this process, None if there is none or Redis fails."""
        try:
            request, self._rtt_us, waiting = await self.connection.ask(_timed_write, await self._record())
        except StoreUnavailable:
            return None
        except StoreRefused as error:
            self._warn_once("RecordRefused", f"{_NOT_SHOWN}: {error.message}", error.hint)
            return None
        now_s = trio.current_time()
        self._lengths = [*(length for length in self._lengths if length[0] >= now_s - TREND_S), (now_s, waiting)]
        return request

    def _warn_once(self, code: str, message: str, hint: str | None) -> None:
        """Warn once for each code. That Redis is away is reported by tasks that it holds up."""
        if code not in self._reported:
            self._reported.add(code)
            self.report(OperatorWarning(code, message, hint))

    def _act(self, request: str) -> None:
        number = _REQUESTS.get(request)
        if request.startswith(processes.CANCEL):
            # One that has ended meanwhile needs no word: its place tells.
            self.status.cancel(request.removeprefix(processes.CANCEL))
        elif number is not None:
            signals.act(number, self.control, self.report, _ORIGIN)
        else:
            message = f"This process ignored a request that it does not know: {request[:20]!r}."
            self._warn_once("UnknownRequest", message, None)

    async def _record(self) -> Record:
        serving = self.status.serving
        info = _info(self.name, self._started_at_s, serving) | {processes.CHANGES: changes_per_s(self._lengths)}
        return Record(
            name=self.name,
            info=rubyjson.dumps(info),
            work=await self._work(),
            quiet=self.control.quiet.is_set() or self.control.stop.is_set(),
            rss_kib=rss_kib(),
            rtt_us=self._rtt_us,
            concurrency=sum(plan.places for plan in serving),
            queues=tuple(queue for plan in serving for queue in plan.target.queues),
        )

    async def _work(self) -> dict[str, bytes]:
        """Return what is shown of each job in progress, {thread: JSON}.

        It is made once, since a job does not change while it is in progress.
        """
        show_bodies = self.show_bodies()
        shown: dict[str, bytes] = {}
        for job in self.status.running_jobs()[:_SHOWN_JOBS]:
            known = self._formatted.get(job.thread)
            if known is None:
                known = _format(job, self._spellings(job.secrets), show_bodies=show_bodies)
                # A large job takes milliseconds, and deliveries wait meanwhile.
                await trio.lowlevel.checkpoint()
            shown[job.thread] = known
        self._formatted = shown
        return shown

    def _spellings(self, secrets: tuple[str, ...]) -> Spellings:
        """Return the spellings of the tokens, which are the same for all jobs until one changes."""
        if self._tokens is None or self._tokens[0] != secrets:
            self._tokens = (secrets, hiding.spellings_of(secrets))
        return self._tokens[1]


def _format(one: RunningJob, secrets: Spellings, *, show_bodies: bool) -> bytes:
    if len(one.job.raw) > _LARGE_BYTES:
        payload = display.minimal_payload(one.job.fields, one.command, one.queue, secrets)
    else:
        fields = one.job.fields
        payload = display.payload(
            fields, command=one.command, queue=one.queue, secrets=secrets, spec=one.spec, show_bodies=show_bodies
        )
    return rubyjson.dumps({"queue": one.queue, "payload": payload.decode(), "run_at": int(one.started_at_s)})


def _timed_write(client: Client, record: Record) -> tuple[str | None, int, Mapping[str, int | None]]:
    began_s = time.perf_counter()
    request, waiting = processes.write(client, record)
    return request, int((time.perf_counter() - began_s) * 1e6), waiting


def _info(name: str, started_at_s: float, serving: Sequence[TargetPlan]) -> dict[str, Json]:
    """Return the facts as every version of Sidekiq reads them: 5 and 6 `queues`, 7 `weights`, 8 `capsules`.

    A target is a capsule. Where queues are served strictly in their order, Sidekiq's word is a weight of 0.
    """
    queues: list[Json] = [queue for plan in serving for queue in plan.target.queues]
    targets = [plan.target for plan in serving]
    weights = {target.name: dict[str, Json](target.weights or dict.fromkeys(target.queues, 0)) for target in targets}
    return {
        "hostname": socket.gethostname(),
        "started_at": started_at_s,
        "pid": os.getpid(),
        "tag": TAG,
        "concurrency": sum(plan.places for plan in serving),
        "queues": queues,
        "weights": list(weights.values()),
        "labels": [target.name for target in targets],
        "identity": name,
        # `check` knows our own processes by its first word.
        "version": f"restbroker {__version__}",
        "embedded": False,
        "capsules": {
            plan.target.name: {
                "concurrency": plan.places,
                "mode": "weighted" if plan.target.weights else "strict",
                "weights": weights[plan.target.name],
            }
            for plan in serving
        },
    }


def rss_kib() -> int:
    """Return the KiB of memory that the process holds now; where the system does not say, the most it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024
