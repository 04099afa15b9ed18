"""What becomes of a command by what its server answers: every status, body, kind of server and class of command.

`python -m tests.golden` writes and compares it. The connectors are asked by their public `deliver`, over a link that
answers from memory; `settle` says what becomes of the job, and the breaker whether it trips. Equal rows, bodies and
classes are written once (see `table`). Always holds: what is found depends on no clock, no network and no order.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from sys import intern
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias, assert_never
from zlib import crc32

import attrs
import trio
import trio.testing

from restbroker.broker.breaker import Breaker
from restbroker.config.load import load
from restbroker.config.target import Target
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import Call, Command, CommandSpec
from restbroker.job.job import Job, read
from restbroker.job.outcome import Deferred, Delivered, Denied, Outcome, Probe, Rejected, Uncertain, Unsent
from restbroker.job.policy import Context, Policy
from restbroker.job.settle import apply_at_most_once, settle
from restbroker.servers import registry
from restbroker.servers.contract import Connector, Link, Ports
from restbroker.transport.message import TRUNCATED, MaybeSent, NotSent, Response
from tests.golden.cases import Body, Case, Kind
from tests.golden.memory import SERVICES, Memory, Questions, Way
from tests.golden.table import Table, label_of, parsed, statuses_of

ALL: Final = range(200, 600)
SILENCES: Final[Mapping[str, Exception]] = {
    "not sent": NotSent("Connection refused"),
    "no answer": MaybeSent("The connection ended"),
    "no answer in time": MaybeSent("Timed out", timed_out=True),
}
SILENCE: Final = "(no answer)"
_NOW_S: Final = 1_800_000_000.0
_MANY: Final = 20
"""The number of equal outcomes that trip a breaker that counts them."""
_LONG: Final = 5
_UNWELL: Final = Response(503, {}, b"", 0.0)
_GONE: Final = NotSent("Connection refused")


@attrs.define(eq=False)
class Bench:
    """One kind of server at work. Inside of `trio.run`, with a clock that jumps."""

    kind: Kind
    target: Target
    _known: dict[tuple[object, ...], str] = attrs.field(factory=dict)
    _open: dict[str, tuple[Connector, Memory]] = attrs.field(factory=dict)

    async def fate(self, case: Case, call: Call, answer: Response | Exception) -> str:
        """What happens to it; where something else was asked, also with a server that does not answer that."""
        well, has_asked = await self._fate(case, call, answer, self.kind.well)
        if not has_asked:
            return well
        unwell, _ = await self._fate(case, call, answer, _UNWELL)
        gone, _ = await self._fate(case, call, answer, _GONE)
        if well == unwell == gone:
            return well
        if unwell == gone:
            return f"{well}; if it answers no question: {gone}"
        more = [f"{how}: {fate}" for how, fate in (("503", unwell), ("nothing", gone)) if fate != well]
        return "; if its answer to a question is ".join([well, *more])

    async def _fate(
        self, case: Case, call: Call, answer: Response | Exception, questions: Questions
    ) -> tuple[str, bool]:
        connector, memory = self._connected(case.through)
        memory.answer, memory.questions, memory.sent, memory.asked = answer, questions, [], 0
        try:
            outcome = await delivered(connector, call, memory, works=self.kind.works)
        except (NotSent, MaybeSent) as error:
            return f"raises {type(error).__name__}", memory.asked > 0
        assert memory.sent or isinstance(answer, Exception) or memory.asked, (case, outcome)
        return self._words(case, call, connector.spec(call.command.endpoint), outcome), memory.asked > 0

    def _connected(self, through: str) -> tuple[Connector, Memory]:
        """A connector and what it speaks to: a new one for each command, where it remembers something of the last."""
        if through not in self._open or self.kind.remembers:
            memory = Memory(_GONE, _GONE, through)
            ports = Ports(lambda _: None, lambda: _NOW_S, Way(memory), SERVICES)
            self._open[through] = registry.open_connector(self.target, ports), memory
        return self._open[through]

    def _words(self, case: Case, call: Call, spec: CommandSpec | None, outcome: Outcome) -> str:
        judged = apply_at_most_once(outcome) if case.once else outcome
        words = facts(judged)
        known = (words, getattr(outcome, "pause_target", False), case.label, call.maybe_run)
        if known not in self._known:
            settled = _settled(case, call, spec, judged)
            # Of a denial that is dead the breaker sees that alone: no probe decides on it.
            final = judged if isinstance(outcome, Denied) else outcome
            self._known[known] = f"{words} → {settled}{_breaker_effect(final, once=case.once)}"
        return self._known[known]


async def delivered(connector: Connector, call: Call, memory: Link, *, works: bool) -> Outcome:
    """What it makes of this call. `works`: while its background work runs. Raises as a link does."""
    if not works:
        return await connector.deliver(call, memory)
    found: list[Outcome | Exception] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(connector.run)
        try:
            found.append(await connector.deliver(call, memory))
        except (NotSent, MaybeSent) as error:
            found.append(error)
        nursery.cancel_scope.cancel()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def facts(outcome: Outcome) -> str:
    """Return the outcome with all that the broker goes by."""
    match outcome:
        case Delivered():
            more = (
                ["negative"] * outcome.negative + ["by us"] * outcome.by_us + ([outcome.note] if outcome.note else [])
            )
            return ", ".join(["Delivered", *more])
        case Deferred():
            more = [] if outcome.counts else ["no try"]
            more += [] if outcome.max_attempts is None else [f"{outcome.max_attempts} tries"]
            more += [] if outcome.retry_after_s is None else [f"in {outcome.retry_after_s:g} s"]
            more += ["of the job"] * outcome.of_job + ["maybe run"] * (outcome.ran == "maybe")
            return ", ".join([f"Deferred {outcome.reason.code}", *more])
        case Uncertain():
            more = ["by a gateway"] * outcome.by_gateway + ["final"] * outcome.is_final
            return ", ".join([f"Uncertain {outcome.reason.code}", *more])
        case Rejected() | Unsent() | Denied():
            return f"{type(outcome).__name__} {outcome.reason.code}"
        case _:
            assert_never(outcome)


def _settled(case: Case, call: Call, spec: CommandSpec | None, outcome: Outcome) -> str:
    """What becomes of a job at its first try; one that may have run did so as often as it may."""
    if isinstance(outcome, Denied | Unsent):
        return "kept"
    uncertain = ',"restbroker_uncertain":2' if call.maybe_run else ""
    raw = f'{{"class":"Add","jid":"a","args":[],"retry":true,"queue":"q"{uncertain}}}'
    job = read(raw.encode(), "q", "b")
    assert isinstance(job, Job)
    context = Context(Policy(SidekiqBackoff()), _NOW_S, 0.0, 0, "c", at_most_once=case.once)
    return type(settle(job, spec, outcome, context)).__name__.lower()


def _breaker_effect(outcome: Outcome, *, once: bool) -> str:
    """Whether it trips the breaker: by itself, or if it is repeated."""
    breaker = Breaker("t", lambda _: None)
    breaker.record_probe(Probe(ok=True, denied=False, version=None, detail=""))
    if isinstance(outcome, Denied):
        return ", probe"
    breaker.observe(outcome, "command", once=once)
    if not breaker.admits:
        return ", gate closes"
    for _ in range(_MANY):
        breaker.observe(outcome, "command", once=once)
    return "" if breaker.admits else ", gate counts"


def target_of(kind: Kind) -> Target:
    """The target of this kind, as the configuration makes it."""
    entry = {"Kind": kind.name, "Queues": ["q"], **kind.members}
    with TemporaryDirectory() as directory:
        file = Path(directory, "env.json")
        file.write_text(json.dumps({"Token": "t", "Targets": {"it": entry}}))
        return load(file, {}, {}, registry.kinds()).config.targets[0]


def calls(case: Case) -> Iterator[tuple[str, Call]]:
    """A class' calls: the first one, one that may have run, and both where what exists counts as done."""
    command = Command(case.command, case.arguments)
    for maybe_run in (False, True):
        for ok in (False, True):
            call = Call(command, maybe_run=maybe_run, ok_if_exists=ok, host="example.org", identity="a" * 24)
            yield label_of(case.label, "m" * maybe_run + "e" * ok), call


Picked: TypeAlias = Callable[[str, str], Iterable[int]]
"""The statuses at which a body and a class are asked."""


def rows(kind: Kind, picked: Picked) -> Table:
    """By body and class, the fates."""

    async def found() -> Table:
        bench = Bench(kind, target_of(kind))
        return {
            name: {
                label: {
                    at: intern(await bench.fate(case, call, answer))
                    for at, answer in _answers(body, picked(name, label))
                }
                for case in kind.commands
                for label, call in calls(case)
            }
            for name, body in (*((body.name, body) for body in kind.bodies), (SILENCE, None))
        }

    return trio.run(found, clock=trio.testing.MockClock(autojump_threshold=0))


def _answers(body: Body | None, statuses: Iterable[int]) -> Iterator[tuple[str, Response | Exception]]:
    if body is None:
        yield from SILENCES.items()
        return
    for status in statuses:
        yield intern(str(status)), Response(status, body.headers, body.data, 0.0, TRUNCATED if body.is_cut else None)


@cache
def points(written: str, share: int) -> Sequence[tuple[str, str, str, str]]:
    """Of such a text body, label, status and fate, in part: the first of each fate that a label has in a hundred of
    statuses, and of each label and span one status in each `share`-th body; in each third of these where the span is
    long. Which, is the same each time; together they come to all statuses.
    """
    used: Counter[str] = Counter()
    known: set[tuple[str, str, str]] = set()
    found = []
    for number, (body, by_label) in enumerate(parsed(written).items()):
        for label, spans in by_label.items():
            for span, fate in spans:
                statuses = statuses_of(span)
                turn = number + crc32(f"{label}|{span}".encode())
                first = (label, statuses[0][0], fate)
                is_picked = turn % (share if len(statuses) < _LONG else 3 * share) == 0
                if is_picked or first not in known or body == SILENCE:
                    known.add(first)
                    found.append((body, label, statuses[used[span] % len(statuses)], fate))
                    used[span] += 1
    return found


def differences(kind: Kind, written: str, share: int) -> Iterator[str]:
    """What is otherwise now than this text says, at its points."""
    wanted: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for body, label, status, fate in points(written, share):
        wanted[body, label][status] = fate
    found = rows(kind, lambda body, label: [int(at) for at in wanted[body, label] if at.isdigit()])
    known = parsed(written)
    for body, by_label in found.items():
        for label, row in by_label.items():
            if label not in known.get(body, {}):
                yield f"{body}: {label}: it is not in the table"
            for at, fate in wanted[body, label].items():
                if row[at] != fate:
                    yield f"{body}: {label}: {at} was {fate}, and is {row[at]}"
    yield from (f"{body}: it is in the table alone" for body in known.keys() - found.keys())


def every(body: str, label: str) -> Iterable[int]:
    """All statuses."""
    return ALL
