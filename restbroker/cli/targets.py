"""`restbroker targets`: each target over all processes, its limits, who paused it; pause, resume and probe it."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import attrs
import typer

from restbroker.cli.target_text import limit_text
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import completion, control_text, output
from restbroker.console.exits import Exit
from restbroker.console.lists import ListsFirst
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import DryRunOption, ForOption, JsonOption, WhyOption
from restbroker.console.times import milliseconds
from restbroker.console.who import who
from restbroker.job.json_types import Json
from restbroker.operate import targets as operate_targets
from restbroker.operate.connect import open_store
from restbroker.operate.names import require
from restbroker.operate.overview import state_text, target_state
from restbroker.operate.targets import Target
from restbroker.store.client import Client
from restbroker.store.pauses import OPERATOR
from restbroker.telemetry.counters import NO_FAILURES

app = typer.Typer(
    cls=ListsFirst, add_completion=False, help="Show the targets; probe them; pause or resume one, in all processes."
)

_EXITS: Final = {"denied": Exit.REFUSED, "unreachable": Exit.TARGET, "unhealthy": Exit.FAILED}
"""Exit codes by state; the first state that occurs decides."""
TargetName = Annotated[
    str, typer.Argument(metavar="TARGET", help="The target's name.", autocompletion=completion.targets)
]


@app.callback()
def targets() -> None:
    """Show the targets; probe them; pause or resume one, in all processes. Without a command: list."""


@app.command("list")
def list_targets(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show every target with its state, limits, latencies and outcomes.

    In a pipe each line is: name, state, reasons of pauses, requests in flight, concurrency limit, jobs in progress,
    jobs per second, p50, p95 and p99 (ms), delivered, failed, versions, queues, processes, why it is down.
    """
    settings = load_quietly(config)
    with open_store(settings) as client:
        found = operate_targets.targets(client, _names(settings))
    if json:
        output.as_json([attrs.asdict(one) for one in found])
    elif sys.stdout.isatty():
        # What needs a person first: forty of them fill ten screens.
        for place, one in enumerate(sorted(found, key=lambda one: one.state == "up" and not one.pauses)):
            output.data(f"{'' if place == 0 else chr(10)}TARGET  {one.name}")
            output.table(("", ""), _properties(one))
    else:
        output.table((), map(_row, found))


@app.command()
def pause(
    name: TargetName,
    for_: ForOption = None,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Pause a target: no process takes jobs for it. Jobs in progress finish. A new pause replaces the previous one."""
    settings, for_s = load_quietly(config), control_text.duration_s(for_)
    with open_store(settings) as client:
        was = _is_paused(client, settings, name)
        if not dry_run:
            operate_targets.pause(client, name, who(), why=why, for_s=for_s)
    done = "would be" if dry_run else "is"
    words = f"{name} {done} paused {control_text.for_how_long(for_s)}; jobs in progress finish."
    fields: dict[str, Json] = {"target": name, "was_paused": was, "paused": True, "for_s": for_s}
    control_text.report(words, fields, as_json=json, dry_run=dry_run)


@app.command()
def resume(
    name: TargetName,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """End every pause of a target. restbroker pauses it again (denied, retry_after) if its server asks for that."""
    settings = load_quietly(config)
    with open_store(settings) as client:
        was = _is_paused(client, settings, name)
        if not dry_run:
            was = operate_targets.resume(client, name, who(), why)
    done = "would be" if dry_run else "is"
    words = f"{name} {done} resumed." if was else f"{name} was not paused."
    control_text.report(words, {"target": name, "was_paused": was, "paused": False}, as_json=json, dry_run=dry_run)


@app.command()
def probe(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="The targets. [default: all]", autocompletion=completion.targets),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Test now whether targets work and accept the login. Changes nothing there.

    A broker probes a target that is down in the same way. In a pipe each line is: name, ok or denied or unhealthy
    or unreachable, version, duration (ms), answer, what to do. Exits with 0 if all are ok, 4: one refuses the login, 5:
    one cannot be reached, 1: one does not work.
    """
    import trio

    from restbroker.app.probing import probe_targets

    settings = load_quietly(config)
    for name in names or ():
        require("target", name, _names(settings))
    found = trio.run(probe_targets, settings, names or ())
    if json:
        output.as_json([attrs.asdict(one) for one in found])
    else:
        header = ("TARGET", "STATE", "VERSION", "MS", "SAID", "TO DO")
        rows = [
            (one.target, one.state, one.version or "-", f"{one.took_ms:g}", one.detail, one.hint or "-")
            for one in found
        ]
        output.table(header, rows)
    states = {one.state for one in found}
    raise typer.Exit(next((code for state, code in _EXITS.items() if state in states), Exit.OK))


def _names(settings: Config) -> list[str]:
    return [target.name for target in settings.targets]


def _is_paused(client: Client, settings: Config, name: str) -> bool:
    """Tell whether the target is paused; raise `UsageError` for an unknown one."""
    found = {one.name: one for one in operate_targets.targets(client, _names(settings))}
    require("target", name, found)
    return bool(found[name].pauses)


def _properties(one: Target) -> Iterator[Sequence[str]]:
    """Yield what is known of a target, for people, as pairs of name and text."""
    if one.kind is not None or one.versions:
        yield "server", " ".join((one.kind or "", *one.versions)).strip()
    yield "state", _state(one)
    if one.reason is not None:
        yield "reason", one.reason
    if one.hint is not None:
        yield "hint", one.hint
    for pause_ in one.pauses:
        yield "paused" if pause_.reason == OPERATOR else "waits", control_text.pause_text(pause_)
    most = min(one.limit, one.concurrency)
    busy = f"{one.busy} being delivered (at most {most}), {one.ahead} fetched in advance"
    yield "jobs", f"{busy}, {one.in_progress} in progress in all"
    yield "limits", "; ".join(_limits(one)) or "-"
    times = (("p50", one.p50_ms), ("p95", one.p95_ms), ("p99", one.p99_ms))
    latencies = ", ".join(f"{name} {milliseconds(value)}" for name, value in times)
    yield "rate", f"{one.rate_per_s:.1f} jobs/s, {latencies}"
    others = {name: count for name, count in one.outcomes.items() if name != "delivered" and count}
    kinds = ", ".join(f"{count} {name}" for name, count in others.items() if name not in NO_FAILURES)
    failed = f"{one.failed} failed" + (f" ({kinds})" if kinds else "")
    rest = [f"{count} {name}" for name, count in others.items() if name in NO_FAILURES]
    yield "done", ", ".join((f"{one.delivered} delivered", failed, *rest))
    yield "queues", ", ".join(one.queues) or "-"
    yield "processes", ", ".join(one.processes) or "-"


def _state(one: Target) -> str:
    if one.state is None:
        return "no process serves it"
    if one.down_in == 0:
        return state_text(target_state(attrs.asdict(one)) or one.state)
    since = "" if one.down_for_s is None else f" for {duration_text(one.down_for_s)}"
    where = f" in {one.down_in} of {len(one.processes)} processes" if len(one.processes) > one.down_in else ""
    return f"{state_text(one.state)}{since}{where}"


def _limits(one: Target) -> Iterator[str]:
    if one.limit < one.concurrency:
        yield limit_text(one.limit, one.concurrency)
    if one.rate_limit_per_s is not None:
        yield f"RateLimit {one.rate_limit_per_s:g}/s"
    if one.max_in_flight is not None:
        yield f"MaxInFlight {one.in_progress} of {one.max_in_flight}"
    if one.limited:
        yield f"the last fetch was held back by {', '.join(one.limited)}"


def _row(one: Target) -> tuple[str, ...]:
    """Return a target as a row for programs."""
    return (
        one.name,
        state_text(one.state or "-"),
        control_text.join_names(tuple(state_text(pause_.reason) for pause_ in one.pauses)),
        str(one.busy),
        str(one.limit),
        str(one.in_progress),
        control_text.number(float(one.rate_per_s)),
        *(control_text.number(value) for value in (one.p50_ms, one.p95_ms, one.p99_ms)),
        str(one.delivered),
        str(one.failed),
        control_text.join_names(one.versions),
        control_text.join_names(one.queues),
        control_text.join_names(one.processes),
        one.reason or "-",
    )
