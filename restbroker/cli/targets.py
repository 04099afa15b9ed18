"""`restbroker targets`: each target over all processes, its limits, who paused it; pause and resume it."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import typer

from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import columns, completion
from restbroker.console.columns import Column
from restbroker.console.lists import ListsFirst
from restbroker.console.options import ForOption, Output, ReasonOptions, argument, command
from restbroker.console.pausing import Pausable
from restbroker.console.times import milliseconds
from restbroker.operate.connect import open_store
from restbroker.operate.names import require
from restbroker.operate.system import TargetState, read_targets, target_state
from restbroker.operate.words import limit_text, pause_text, state_text
from restbroker.store.client import Client

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the targets; pause or resume one, in all processes. Without a command: list.",
)

TargetName = Annotated[str, argument("TARGET", "The target's name.", completion.targets)]


@command(app, "list")
def list_targets(how: Output) -> None:
    """Show every target with its state, what it does, and why it gets no jobs or fewer; --json tells more.

    In a pipe each line is: name, state, reasons of pauses, requests in flight, concurrency limit, jobs in progress,
    jobs per second, p50, p95 and p99 (ms), delivered, failed, versions, queues, processes, why it is down.
    """
    settings = how.settings()
    with open_store(settings) as client:
        found = read_targets(client, _names(settings))
    if sys.stdout.isatty() and not how.json:
        # What needs a person first.
        found.sort(key=is_well)
    columns.show(COLUMNS, found, as_json=how.json)


@command(app)
def pause(*, name: TargetName, for_: ForOption = None, reason: ReasonOptions, how: Output) -> None:
    """Pause a target: no process takes jobs for it. Jobs in progress finish. A new pause replaces the previous one."""
    _TARGET.pause(name, for_, reason, how)


@command(app)
def resume(*, name: TargetName, reason: ReasonOptions, how: Output) -> None:
    """End every pause of a target. restbroker pauses it again (denied, retry_after) if its server asks for that."""
    _TARGET.resume(name, reason, how)


def _names(settings: Config) -> list[str]:
    return [target.name for target in settings.targets]


def _is_paused(client: Client, settings: Config, name: str) -> bool:
    """Tell whether the target is paused; raise `UsageError` for an unknown one."""
    found = {target.name: target for target in read_targets(client, _names(settings))}
    require("target", name, found)
    return bool(found[name].pauses)


def is_well(one: TargetState) -> bool:
    """Tell whether a target gets jobs in every process."""
    return one.state == "up" and not one.down_in and not one.pauses


def _state(one: TargetState) -> str:
    if one.state is None:
        return "no process serves it"
    if one.down_in == 0:
        return state_text(target_state(one) or one.state)
    since = "" if one.down_for_s is None else f" for {duration_text(one.down_for_s)}"
    where = f" in {one.down_in} of {len(one.processes)} processes" if len(one.processes) > one.down_in else ""
    return f"{state_text(one.state)}{since}{where}"


def _limits(one: TargetState) -> Iterator[str]:
    if one.limit < one.concurrency:
        yield limit_text(one.limit, one.concurrency)
    if one.rate_limit_per_s is not None:
        yield f"RateLimit {one.rate_limit_per_s:g}/s"
    if one.max_in_flight is not None:
        yield f"MaxInFlight {one.in_progress} of {one.max_in_flight}"
    if one.limited:
        yield f"the last fetch was held back by {', '.join(one.limited)}"


def _busy(one: TargetState) -> str:
    return f"{one.busy}/{min(one.limit, one.concurrency)}" + (f" +{one.ahead}" if one.ahead else "")


def _why(one: TargetState) -> str:
    """Return why a target gets no jobs, or fewer, and what to do."""
    told = " ".join(text for text in (one.reason, one.hint) if text)
    more = "; ".join((*map(pause_text, one.pauses), *_limits(one)))
    return f"{told} {more[:1].upper()}{more[1:]}" if told and more else told or more


COLUMNS: Final[Sequence[Column[TargetState]]] = (
    Column("TARGET", lambda one: one.name),
    Column("STATE", lambda one: state_text(one.state or "-"), _state),
    Column("", lambda one: [state_text(pause_.reason) for pause_ in one.pauses]),
    Column("BUSY", lambda one: one.busy, _busy),
    Column("", lambda one: one.limit),
    Column("", lambda one: one.in_progress),
    Column("JOBS/S", lambda one: float(one.rate_per_s), lambda one: f"{one.rate_per_s:,.1f}", numbers=True),
    Column("", lambda one: one.p50_ms),
    Column("", lambda one: one.p95_ms),
    Column("P99", lambda one: one.p99_ms, lambda one: milliseconds(one.p99_ms), numbers=True),
    Column("", lambda one: one.delivered),
    Column("", lambda one: one.failed),
    Column("", lambda one: one.versions),
    Column("", lambda one: one.queues),
    Column("", lambda one: one.processes),
    Column("WHY", lambda one: one.reason, _why),
)

_TARGET: Final = Pausable("target", _is_paused)
