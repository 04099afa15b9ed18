"""Advances the coroutine of a connector by hand, by one step; with no current task for a connector that others wrote.

A connector that waits for something of Trio's without a task, against its word, must lose its job alone. But a lock or
a nursery would first take the task that runs now for its own, and Trio itself would break. While there is no current
task, all of these raise instead. Trio has no public way to that, so its private name is looked up once; where it is
missing, such a connector has a task for each round. Our own connectors are checked by a test, and cost no 0.3 µs.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from restbroker.broker.delivery import Step
from restbroker.job.outcome import Outcome

Run: TypeAlias = Coroutine[Any, Any, Outcome]

_CONTEXT: Any
try:
    from trio._core import _run

    _CONTEXT = _run.GLOBAL_RUN_CONTEXT
except (ImportError, AttributeError):
    _CONTEXT = None


def advance(run: Run, got: object, error: Exception | None) -> Step:
    """Return the next step; raise `StopIteration` with the outcome, or what the connector raises."""
    step: Step = run.send(got) if error is None else run.throw(error)
    return step


def _advance_without_task(run: Run, got: object, error: Exception | None) -> Step:
    task = _CONTEXT.task
    del _CONTEXT.task
    try:
        return advance(run, got, error)
    finally:
        _CONTEXT.task = task


advance_untasked: Callable[[Run, object, Exception | None], Step] | None = (
    None if _CONTEXT is None else _advance_without_task
)
"""As `advance`, with no current task; None: Trio does not let it."""
