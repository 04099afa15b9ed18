"""The steps of a connector: how `deliver` is advanced by hand, and what may take its first step, a plan.

`deliver` is a coroutine. Each `await` of its link is a step: a request, a question for Redis, or `IN_TASK`. `advance`
takes it to its next one. A connector that says that it is stepwise, and waits for something of Trio's without a task,
must cost no more than its own job. But a lock or a nursery would first take the task that runs now for its own, and
Trio itself would break. So a connector that others wrote is advanced with no current task, and all of these raise. Trio
has no public way to do that: its private name is looked up once, and where it is missing, such a connector has a task
for each round. Our own connectors are checked by a test instead, which saves 0.3 µs a step.

Requests and outcomes of plain calls may be planned ahead of `deliver` (`servers.contract.Plan`). A plan is a source of
steps, and no second way: gates, exchange and settlement are the same. A life sends what the plan says, without
calling `deliver`; an answer whose meaning the plan does not tell goes to `deliver`, as that to the request that it
would have sent. Always holds: an outcome that is kept for equal answers depends on their status and body alone, as the
plan says; where a plan raises, the job is delivered without it.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from restbroker.broker.admission import AdmittedJob, CallFacts
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.waits import Asked
from restbroker.job.job import EFFECTED_FIELD, MAY_HAVE_RUN_FIELD
from restbroker.job.outcome import Delivered, Outcome
from restbroker.light import define, field
from restbroker.servers.contract import Plan, Planner
from restbroker.transport.client import LeanClient
from restbroker.transport.exchange import ExchangeService
from restbroker.transport.http1 import whole
from restbroker.transport.message import Request, Response

T = TypeVar("T")


class AwaitedWithoutTask(Exception):
    """A connector's bug: it says that it is stepwise, and `deliver` waited for something else than its link."""


class _InTask:
    """A step: to go on in a task."""


IN_TASK: Final = _InTask()


@define(eq=False)
class Preparation:
    """A step: a request without effect. As its sink, it asks and notes nothing; `then` gets what comes of it."""

    request: Request
    then: Callable[[Response | Exception], None]

    def may_send(self) -> None:
        """Let it leave, also if the job must not be sent."""

    def start_sending(self) -> None:
        """Note nothing: the job is not sent with it."""

    def clear_sending(self) -> None:
        """Note nothing: the job was not refused with it."""

    def answered(self, response: Response) -> None:
        """Go on with the answer."""
        self.then(response)

    def failed(self, error: Exception) -> None:
        """Go on without an answer."""
        self.then(error)

    def abandoned(self) -> None:
        """Leave the job as it is."""


Step: TypeAlias = Request | Preparation | Asked | _InTask


# Why: docs/design.md#one-driver
@types.coroutine
def step(step_: Step) -> Generator[Step, Any, Any]:
    """Have a life take a step; its value is what came of it."""
    return (yield step_)


@types.coroutine
def continue_as_task(run: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Go on, as a task, with a coroutine that took steps so far, or begin it."""
    value: T = yield from run
    return value


Run: TypeAlias = Coroutine[Any, Any, Outcome]

_NO_TASK: Final = ("must be called from async context",)
"""What Trio says where there is no current task; in other words, the error keeps its own name."""
_CONTEXT: Any
try:
    from trio._core import _run

    _CONTEXT = _run.GLOBAL_RUN_CONTEXT
except (ImportError, AttributeError):
    _CONTEXT = None


def advance(run: Run, got: object, error: Exception | None) -> Step:
    """Return the next step; raise `StopIteration` with the outcome, or what the connector raises."""
    found: Step = run.send(got) if error is None else run.throw(error)
    return found


def _advance_without_task(run: Run, got: object, error: Exception | None) -> Step:
    task = _CONTEXT.task
    del _CONTEXT.task
    try:
        return advance(run, got, error)
    except RuntimeError as problem:
        if problem.args == _NO_TASK:
            raise AwaitedWithoutTask().with_traceback(problem.__traceback__) from problem
        raise
    finally:
        _CONTEXT.task = task


def begin_task(_run: Run, _got: object, _error: Exception | None) -> Step:
    """Return the step of a connector that needs a task from its beginning."""
    return IN_TASK


advance_untasked = begin_task if _CONTEXT is None else _advance_without_task
"""As `advance`, with no current task, if Trio lets it."""


_SHORT_BYTES: Final = 64
"""The longest body whose outcome is kept."""
_OUTCOMES: Final = 100
"""How many outcomes of one endpoint are kept."""
_ENDPOINTS: Final = 500
_NOT_PLAIN: Final = frozenset((EFFECTED_FIELD, MAY_HAVE_RUN_FIELD, "traceparent"))
"""Fields of jobs that may have run, or whose request has a header of its own."""


@define(eq=False)
class PlannedEndpoint:
    """An endpoint with a plan. `head`: that of its requests. `_outcomes`: those of short answers."""

    plan: Plan
    request: Request
    head: bytes
    _outcomes: dict[tuple[int, bytes], Delivered] = field(factory=dict)

    def outcome(self, response: object) -> Delivered | None:
        """Return what the answer means, as the plan says, which gets to know it; None: `deliver` is to say it."""
        if not isinstance(response, Response):
            return None
        status, body = response.status, response.body
        found = self._outcomes.get((status, body))
        if found is None:
            if response.note:
                return None
            try:
                found = self.plan.outcome(status, body)
            except Exception:  # noqa: BLE001 - a bug of the connector, which `deliver` meets again
                return None
            if found is None:
                return None
            if len(body) <= _SHORT_BYTES and len(self._outcomes) < _OUTCOMES:
                self._outcomes[status, body] = found
        self.plan.on_outcome()
        return found


@define(eq=False)
class Plans:
    """The plans of one pool's endpoints."""

    planner: Planner
    client: LeanClient
    _known: dict[CallFacts, PlannedEndpoint] = field(factory=dict)

    def for_call(
        self, job: JobInProgress, admitted: AdmittedJob
    ) -> tuple[ExchangeService, PlannedEndpoint, bytes] | None:
        """Return what sends a plain call, its plan, and the bytes of its request; None if `deliver` is to make it.

        A call is not plain if the job may have run, or if it has to pass Redis, or if it has a `traceparent`.
        """
        payload, endpoint, service = admitted.payload, admitted.endpoint, self.client.service
        if service is None or service.is_over:
            return None
        if payload.maybe_run or job.at_most_once or job.effected or job.claims is not None:
            return None
        if not (payload.is_plain or _NOT_PLAIN.isdisjoint(payload.fields)):
            return None
        try:
            plan, known = self.planner.plan(endpoint.endpoint), self._known.get(endpoint)
            if known is None or known.plan is not plan:
                if plan is None:
                    return None
                known = self._make(endpoint, plan)
            body = known.plan.body(admitted.command.arguments)
        except Exception:  # noqa: BLE001 - a bug of the connector, or a request that `deliver` meets again
            return None
        return None if body is None else (service, known, whole(known.head, body))

    def _make(self, endpoint: CallFacts, plan: Plan) -> PlannedEndpoint:
        if len(self._known) >= _ENDPOINTS:
            self._known.clear()
        request = attrs.evolve(plan.request, timeout_s=endpoint.timeout_s)
        known = self._known[endpoint] = PlannedEndpoint(plan, request, self.client.heads.head(request))
        return known
