"""The store in plain Python: what each of its operations means, without Redis, scripts or time-outs.

The state machine drives it beside the real store and compares answer by answer; the simulations run whole brokers on
it. Each method takes and returns what the function of the same name in `restbroker.store` does after its client.
Left out: the rate limit. Always holds: nothing here is clever, so that a reader can check it against the words of
docs/architecture.md.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import attrs

from restbroker.errors import StoreRefused
from restbroker.job.crashes import Counted, count_crash
from restbroker.job.format import PAYLOAD_LIMIT_BYTES, ResponseQueue
from restbroker.job.settlement import Fingerprint, OrphanedJob
from restbroker.store.codes import Applied, Code, Gone, Refused
from restbroker.store.heartbeats import JobPutOff, MakeDead, Recovered
from restbroker.store.identities import ProcessInfo, Registration
from restbroker.store.in_progress import FetchedJob, JobsInProgress
from restbroker.store.jobs import (
    FetchAnswer,
    FetchRequest,
    FetchResult,
    IdentityUnknown,
    LimitReached,
    NotPlain,
    TargetPaused,
    UnknownTickets,
)
from restbroker.store.keys import SortedSet
from restbroker.store.pauses import PauseEnd
from restbroker.store.sets import BEGINNING, Due, Placement, Position
from restbroker.store.settling import FinishRequest
from restbroker.store.tickets import ticket_number, ticket_queue
from tests.model import effects, pausing
from tests.model.dataset import DataSet, HeldJobs
from tests.model.effects import is_forbidden, rank, settle

LONGEST_PAUSE_MS = 1000
IN_FLIGHT_MS = 25


@attrs.define
class Reference:
    """`clock` is that of Redis, epoch seconds; `crash_clock` the one by which jobs wait after crashes."""

    clock: Callable[[], float] = time.time
    crash_clock: Callable[[], float] = attrs.field(default=attrs.Factory(lambda self: self.clock, takes_self=True))
    data: DataSet = attrs.field(factory=DataSet)

    def register(
        self,
        identity: str,
        facts: ProcessInfo,
        queues: Sequence[str],
        responses: ResponseQueue | None = None,
        key_rules: str = "",
        time_outs_s: Mapping[str, float] = MappingProxyType({}),  # noqa: ARG002 - not of this reference
    ) -> bool:
        data = self.data
        if identity in data.alive or identity in data.fenced or identity in data.infos:
            return False
        data.infos[identity] = Registration(facts, tuple(queues), None, None, responses, key_rules)
        data.alive[identity] = 0
        return True

    def write_heartbeats(self, beats: Sequence[tuple[str, int]], snapshot: Mapping[str, bytes]) -> list[bool]:
        for identity, number in beats:
            if identity in self.data.alive:
                self.data.alive[identity] = number
                if shown := snapshot.get(identity, b""):
                    info = attrs.evolve(self.data.infos[identity], heartbeat_at_s=int(self.clock()), snapshot=shown)
                    self.data.infos[identity] = info
        return [identity in self.data.alive for identity, _ in beats]

    def live_identities(self) -> Mapping[str, int]:
        return dict(self.data.alive)

    def fenced_identities(self) -> Mapping[str, int]:
        return dict(self.data.fenced)

    def all_identities(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        return self.live_identities(), self.fenced_identities()

    def read(self, identity: str) -> Registration | None:
        return self.data.infos.get(identity)

    def delete_unnamed(self) -> None:
        """No payload is too large here."""

    def find(self, _targets: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """Groups have a model of their own."""
        return {}

    def free_lost(self, _target: str, _queues: Sequence[str], _longest_s: float) -> int:
        return 0

    def fence(self, identity: str, expected_counter: int) -> bool:
        if identity not in self.data.fenced and self.data.alive.get(identity) == expected_counter:
            self.data.fenced[identity] = self.data.alive.pop(identity)
        return identity in self.data.fenced

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        self.empty_hands(request.queues)
        own = self.data.held[request.identity]
        last = own.last or 0
        if request.identity not in self.data.alive:
            return IdentityUnknown()
        if last > request.base and request.follows:
            request = attrs.evolve(request, base=last, hwm=request.hwm + last - request.base)
        elif last > request.base:
            return UnknownTickets(last)
        stopped = self._stopped(request)
        if stopped is not None:
            own.hwm = max(own.hwm, min(request.hwm, last))
            return stopped
        want = self._want(request)
        taken, bad, more = self._take(request, want)
        own.last = taken[-1].number if taken else own.last
        own.hwm = max(own.hwm, min(request.hwm, max(request.base, own.last or 0)))
        paused = (self.data.paused_queues & set(request.queues)) - bad
        return FetchResult(
            tuple(taken),
            frozenset(paused),
            frozenset(bad),
            more,
            base=request.base,
        )

    def stand(self, request: FetchRequest) -> FetchAnswer:
        """As `fetch`, if a fetch that stands meets nothing but jobs that it may take; else nothing changes."""
        limits = request.limits
        if not request.follows or request.key_rules or limits.emission_us or limits.in_flight:
            return self.fetch(request)
        answer = self._stand(request) if self._is_plain(request) else NotPlain()
        self.empty_hands(request.queues)
        return answer

    def _is_plain(self, request: FetchRequest) -> bool:
        if request.identity not in self.data.alive or self._stopped(request) is not None:
            return False
        registered = self.data.infos[request.identity].queues
        return not self.data.paused_queues & set(request.queues) and set(request.queues) <= set(registered)

    def _stand(self, request: FetchRequest) -> FetchAnswer:
        own, left_bytes = self.data.held[request.identity], min(request.most_bytes, request.limit_bytes)
        base, taken, more = max(request.base, own.last or 0), list[FetchedJob](), False
        for queue in request.queues:
            for place, jobs in enumerate([self.data.hands[queue], self.data.lists[f"queue:{queue}"]]):
                is_wanted = request.count > len(taken) and not more
                more = more or (is_wanted and place == 1 and f"queue:{queue}" in self.data.broken)
                while jobs and request.count > len(taken) and not more:
                    left_bytes -= len(jobs[-1])
                    more = left_bytes < 0
                    if not more:
                        number = base + len(taken) + 1
                        ticket = f"{number}:{self._held_by(request, queue)[0]}"
                        taken.append(FetchedJob(ticket, number, queue, jobs.pop()))
        own.jobs |= {job.ticket: job.raw for job in taken}
        own.last = taken[-1].number if taken else own.last
        own.hwm = max(own.hwm, min(request.hwm + base - request.base, base + len(taken)))
        if more and not taken:
            return NotPlain()
        return FetchResult(tuple(taken), frozenset(), frozenset(), more, base=base)

    def empty_hands(self, queues: Iterable[str]) -> None:
        for queue in queues:
            if self.data.hands[queue] and f"queue:{queue}" not in self.data.broken:
                self.data.lists[f"queue:{queue}"] += self.data.hands.pop(queue)

    def finish(self, request: FinishRequest, _now_s: float) -> list[Code]:
        own = self.data.held[request.identity]
        codes: list[Code] = [Refused("") if is_forbidden(item[1]) else Gone() for item in request.items]
        places = [place for place, code in enumerate(codes) if code == Gone()]
        if places and own.last is not None:
            own.hwm = max(own.hwm, min(request.hwm, own.last))
        for place in sorted(places, key=lambda place: rank(*request.items[place])):
            ticket, settlement = request.items[place]
            raw = own.jobs.pop(ticket, None)
            if raw is not None:
                queue = request.queues[ticket_queue(ticket) - 1]
                codes[place] = settle(self.data, queue, ticket, settlement, raw, self.clock())
                if codes[place] == Applied():
                    own.sent.discard(ticket)
                    self._record(request, place)
                else:
                    own.jobs[ticket] = raw
        return codes

    def finish_alone(self, request: FinishRequest, now_s: float) -> list[Code]:
        return self.finish(request, now_s)

    def stored_for_s(self, fingerprints: Sequence[Fingerprint]) -> list[float]:
        for name in self.data.fingerprints:
            self.data.require(f"restbroker:done:{name}")
        known = {text for texts in self.data.fingerprints.values() for text in texts}
        return [math.inf if fingerprint.text.encode() in known else 0.0 for fingerprint in fingerprints]

    def _record(self, request: FinishRequest, place: int) -> None:
        record = b"" if request.records is None else request.records.each[place]
        if record:
            self.data.history.append(record)

    def finish_and_fetch(
        self, finished: FinishRequest, now_s: float, wanted: FetchRequest
    ) -> tuple[list[Code], FetchAnswer | StoreRefused]:
        codes = self.finish(finished, now_s)
        try:
            return codes, self.fetch(wanted)
        except StoreRefused as error:
            return codes, error

    def mark(self, identity: str, tickets: Sequence[str]) -> IdentityUnknown | list[bool]:
        if identity not in self.data.alive:
            return IdentityUnknown()
        own = self.data.held[identity]
        own.sent |= own.jobs.keys() & set(tickets)
        return [ticket in own.jobs for ticket in tickets]

    def time_s(self) -> float:
        return self.clock()

    def read_jobs(self, identity: str, limit_bytes: int = PAYLOAD_LIMIT_BYTES) -> JobsInProgress:
        own = self.data.held[identity]
        large = {ticket: len(raw) for ticket, raw in own.jobs.items() if effects.is_too_large(raw, limit_bytes)}
        jobs = {ticket: raw for ticket, raw in own.jobs.items() if ticket not in large}
        return JobsInProgress(own.last or 0, own.hwm, jobs, (), large)

    def retire(self, identity: str) -> bool:
        if self.data.held[identity].jobs:
            return False
        self.data.alive.pop(identity, None)
        self.data.fenced.pop(identity, None)
        self.data.infos.pop(identity, None)
        self.data.held.pop(identity)
        return True

    def recover(self, identity: str, make_dead: MakeDead) -> Recovered:
        own, info = self.data.held[identity], self.data.infos.get(identity)
        touched_up_to = self.read_jobs(identity).hwm
        if identity not in self.data.fenced:
            return Recovered()
        if info is None and own.jobs:
            raise StoreRefused(f"nothing says where the jobs of {identity} came from")
        marked, unanswered_before = set(own.sent), self.data.unanswered
        newest_first = sorted(own.jobs, key=ticket_number, reverse=True)
        queues = {ticket: self._queue_of(identity, ticket) for ticket in newest_first}
        crashed = [self._counted(identity, ticket) for ticket in newest_first]
        codes = self.recover_some(identity, newest_first, make_dead)
        put_off = [
            JobPutOff(queues[ticket], counted)
            for ticket, code, counted in zip(newest_first, codes, crashed, strict=True)
            if code == Applied() and counted.waits_s
        ]
        moved = [ticket for ticket, code in zip(newest_first, codes, strict=True) if code == Applied()]
        touched = sum(ticket_number(ticket) <= touched_up_to for ticket in moved)
        refused = sum(isinstance(code, Refused) for code in codes)
        unanswered = self.data.unanswered - unanswered_before
        died = marked.intersection(moved)
        self.retire(identity)
        return Recovered(len(moved), touched, set(died), refused, unanswered, put_off=put_off)

    def recover_some(self, identity: str, tickets: Sequence[str], make_dead: MakeDead) -> list[Code]:
        """The jobs of one call of the script."""
        return [self._recover_one(identity, ticket, place, make_dead) for place, ticket in enumerate(tickets)]

    def _queue_of(self, identity: str, ticket: str) -> str:
        return self.data.infos[identity].queues[ticket_queue(ticket) - 1]

    def _counted(self, identity: str, ticket: str) -> Counted:
        """The job as it goes back: it counts this crash if a worker may have had it."""
        own, number = self.data.held[identity], ticket_number(ticket)
        if number > own.hwm or ticket in own.sent:
            return Counted(own.jobs[ticket])
        orphan = OrphanedJob(identity, ticket, self._queue_of(identity, ticket), own.jobs[ticket])
        return count_crash(orphan, self.crash_clock(), in_order=False, unique=number, jitter=1.0)

    def _recover_one(self, identity: str, ticket: str, place: int, make_dead: MakeDead) -> Code:
        own, info = self.data.held[identity], self.data.infos[identity]
        counted, queue, raw = self._counted(identity, ticket), self._queue_of(identity, ticket), own.jobs.pop(ticket)
        if ticket in own.sent:
            code = effects.kill(
                self.data,
                make_dead(OrphanedJob(identity, ticket, queue, raw, info.responses, info.queues)),
                ticket,
                self.clock(),
            )
        elif counted.waits_s:
            code = self.data.add("schedule", counted.raw, self.crash_clock() + counted.waits_s + place / 1e6)
        else:
            code = self.data.append(queue, counted.raw)
        if code == Applied():
            own.sent.discard(ticket)
        else:
            own.jobs[ticket] = raw
        return code

    def due(self, zset: Literal["retry", "schedule"], limit: int, after: Position = BEGINNING) -> Due:
        self.data.require(zset)
        now_s = self.clock()
        found = sorted(
            (score, member) for member, score in self.data.sets[zset].items() if after.score <= score <= now_s
        )
        page = [(member, score) for score, member in found[after.ties : after.ties + limit]]
        return Due(now_s, page, len(page) == limit)

    def with_due(self, by_s: float) -> list[Literal["schedule", "retry"]]:
        names: list[Literal["schedule", "retry"]] = ["schedule", "retry"]
        for name in names:
            self.data.require(name)
        return [name for name in names if any(score <= by_s for score in self.data.sets[name].values())]

    def place(self, zset: SortedSet, moves: Sequence[Placement]) -> list[Code]:
        if moves:
            self.data.require(zset)
        return [effects.place(self.data, zset, move) for move in moves]

    def clear(self, queue: str, last: bytes, most: int) -> tuple[int, int, list[bytes]]:
        self.data.require(f"queue:{queue}")
        jobs = self.data.lists[f"queue:{queue}"]
        meant = len(jobs) - jobs.index(last) if last in jobs else 0
        if not meant:
            return 0, 0, []
        deleted = min(meant, most)
        del jobs[len(jobs) - deleted :]
        # None of them holds a lock.
        return deleted, meant - deleted, []

    def pause(self, target: str, reason: str, for_s: float | None) -> None:
        pausing.pause(self.data, target, reason, for_s, self._now_us())

    def resume(self, target: str, reason: str) -> None:
        pausing.resume(self.data, target, reason, self._now_us())

    def pauses(self, target: str) -> dict[str, float | None]:
        """Why the target is paused, with the seconds left; None: without end."""
        now_us = self._now_us()
        until = pausing.reasons(self.data, target, now_us).until_us
        return {
            why: (at_us - now_us) / 1e6 if at_us else None for why, at_us in until.items() if not 0 < at_us <= now_us
        }

    def pause_target(self, target: str, who: str, why: str, for_s: float | None) -> None:
        now_us = self._now_us()
        pausing.pause_target(self.data, target, pausing.note(who, why, for_s, now_us), now_us)

    def resume_target(self, target: str) -> bool:
        return pausing.resume_target(self.data, target, self._now_us())

    def pause_queue(self, queue: str, who: str, why: str, for_s: float | None) -> bool:
        return pausing.pause_queue(self.data, queue, pausing.note(who, why, for_s, self._now_us()))

    def resume_queue(self, queue: str) -> bool:
        return pausing.resume_queue(self.data, queue)

    def are_noted(self) -> bool:
        return bool(self.data.queue_notes or self.data.target_notes)

    def end_due(self) -> list[PauseEnd]:
        return pausing.end_due(self.data, self._now_us())

    def reasons(self, target: str) -> set[str]:
        """Why the target is paused; one that has ended may be there still."""
        return set(pausing.reasons(self.data, target, self._now_us()).until_us)

    def _now_us(self) -> int:
        return round(self.clock() * 1e6)

    def _pause_ms(self, target: str) -> int:
        ends_us = pausing.reasons(self.data, target, self._now_us()).until_us.values()
        if 0 in ends_us:
            return LONGEST_PAUSE_MS
        remaining_s = max((end_us / 1e6 - self.clock() for end_us in ends_us), default=0.0)
        return max(0, min(LONGEST_PAUSE_MS, math.ceil(remaining_s * 1000)))

    def _stopped(self, request: FetchRequest) -> TargetPaused | LimitReached | None:
        pause_ms = self._pause_ms(request.target)
        if pause_ms:
            return TargetPaused(pause_ms)
        if request.count > 0 and request.limits.dead:
            self.data.require("dead")
            if len(self.data.sets["dead"]) >= request.limits.dead:
                return LimitReached("dead", LONGEST_PAUSE_MS)
        return LimitReached("in_flight", IN_FLIGHT_MS) if request.count > 0 and self._want(request) <= 0 else None

    def _want(self, request: FetchRequest) -> int:
        in_progress = sum(len(own.jobs) for own in self.data.held.values())
        return min(request.count, request.limits.in_flight - in_progress) if request.limits.in_flight else request.count

    def _take(self, request: FetchRequest, want: int) -> tuple[list[FetchedJob], set[str], bool]:
        bad: set[str] = set()
        taken = Taken(request)
        registered = self.data.infos[request.identity].queues
        for queue in request.queues:
            if queue not in registered or self.data.hands[queue]:
                bad.add(queue)
            elif queue not in self.data.paused_queues and want > len(taken.jobs) and not taken.more:
                self._take_from_list(taken, want, queue, bad)
        return taken.jobs, bad, taken.more

    def _take_from_list(self, taken: "Taken", want: int, queue: str, bad: set[str]) -> None:
        if f"queue:{queue}" in self.data.broken:
            bad.add(queue)
            return
        jobs = self.data.lists[f"queue:{queue}"]
        while jobs and want > len(taken.jobs) and taken.accept(jobs[-1], queue, *self._held_by(taken.request, queue)):
            jobs.pop()

    def _held_by(self, request: FetchRequest, queue: str) -> tuple[int, HeldJobs]:
        return self.data.infos[request.identity].queues.index(queue) + 1, self.data.held[request.identity]


@attrs.define
class Taken:
    """What a fetch takes."""

    request: FetchRequest
    jobs: list[FetchedJob] = attrs.field(factory=list)
    more: bool = False
    left_bytes: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.left_bytes = self.request.most_bytes

    def accept(self, raw: bytes, queue: str, index: int, own: HeldJobs) -> bool:
        """Whether the bytes allow it; it is in progress then."""
        if self.more or (self.jobs and len(raw) > self.left_bytes):
            self.more = True
            return False
        self.left_bytes -= len(raw)
        self.more = self.left_bytes <= 0
        number = self.request.base + len(self.jobs) + 1
        own.jobs[f"{number}:{index}"] = raw
        is_large = effects.is_too_large(raw, self.request.limit_bytes)
        size = len(raw) if is_large else 0
        self.jobs.append(FetchedJob(f"{number}:{index}", number, queue, b"" if is_large else raw, size))
        return True
