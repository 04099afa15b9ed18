"""`restbroker processes`: those of restbroker and Ruby, with their jobs in progress; quiet or stop them."""

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from restbroker.config.values import duration_text
from restbroker.console import columns, output
from restbroker.console.columns import Column, cell
from restbroker.console.confirmation import confirm
from restbroker.console.exits import Exit
from restbroker.console.lists import ListsFirst
from restbroker.console.options import Consent, Output, argument, command
from restbroker.console.times import utc
from restbroker.console.who import who
from restbroker.errors import UsageError
from restbroker.job.hiding import Spellings
from restbroker.job.json_types import Json
from restbroker.operate import processes as operate_processes
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.names import require
from restbroker.operate.processes import Order, Process, ProcessWork
from restbroker.store.client import Client

app = typer.Typer(
    cls=ListsFirst,
    add_completion=False,
    help="Show the processes and their jobs in progress; quiet or stop them. Without a command: list.",
)

ProcessNames = Annotated[list[str], argument("PROCESS...", "As listed, or HOST:PID.")]
_SHOWN_JOBS = 20
_CANCEL_TIMEOUT_S = 12.0
_LOOK_S = 0.5


@command(app, "list")
def list_processes(how: Output) -> None:
    """Show the processes on this Redis and their jobs in progress.

    This includes Ruby's Sidekiq. In a pipe each line is: name, version, running or quiet or silent, jobs in progress,
    concurrency, memory (KiB), start (UTC), seconds since the last heartbeat, targets, queues.
    """
    settings = how.settings()
    with open_store(settings) as client:
        found = operate_processes.processes(client, context_of(settings).secrets)
    columns.show(_COLUMNS, found, as_json=how.json, empty="No process runs on this Redis.")
    jobs = [(process.name, job) for process in found for job in process.jobs]
    if jobs and sys.stdout.isatty() and not how.json:
        output.data("")
        columns.table(_JOBS, jobs[:_SHOWN_JOBS])
        if len(jobs) > _SHOWN_JOBS:
            output.data(f"and {len(jobs) - _SHOWN_JOBS} more (--json has them)")


@command(app)
def quiet(*, names: ProcessNames, consent: Consent, how: Output) -> None:
    """Make processes take no more jobs until they are restarted. They finish their jobs in progress."""
    then = "takes no more jobs, within a few seconds and until it is restarted."
    _ask("quiet", "quieted", then, names, consent, how)


@command(app)
def stop(*, names: ProcessNames, consent: Consent, how: Output) -> None:
    """Make processes finish their jobs in progress and exit. A supervisor may restart them."""
    then = "begins to stop within a few seconds."
    _ask("stop", "stopped", then, names, consent, how)


@command(app)
def cancel(
    *,
    jid: Annotated[str, argument("JID", "The id of a job in progress.")],
    consent: Consent,
    how: Output,
) -> None:
    """Cancel a job in progress. It becomes dead, but may have run nevertheless."""
    settings = how.settings()
    with open_store(settings) as client:
        secrets = context_of(settings).secrets
        found = _find_work(client, jid, secrets)
        if not found:
            raise UsageError(
                f"No restbroker process has reported the job {jid} as in progress in the last seconds.",
                "A process reports its jobs every five seconds: try again. Where it is: restbroker explain " + jid,
            )
        told = {
            "action": "cancel",
            "jid": jid,
            "processes": [process for process, _ in found],
            "dry_run": consent.dry_run,
        }
        if consent.dry_run:
            output.say(f"{_job(found[0][1])} would be cancelled.")
        else:
            confirm(f"Cancel {_job(found[0][1])}?", yes=consent.yes)
            for process, job in found:
                operate_processes.cancel(client, process, job.thread, who=who(), why=consent.why)
        if how.json:
            output.as_json(told)
        if consent.dry_run:
            return
        if not _wait_until_ended(client, jid, secrets):
            output.say(f"{jid} is still in progress: its process was asked to cancel it and has not done so yet.")
            raise typer.Exit(Exit.WAITING)
    # It may have been done, or have failed by itself, before its process was asked.
    output.say(f"{jid} is no longer in progress: it is dead, done, or waits for its next try: restbroker explain {jid}")


def _wait_until_ended(client: Client, jid: str, secrets: Spellings) -> bool:
    """Wait until no process shows the job any more, at most as long as two records take; tell whether that is so."""
    deadline_s = time.monotonic() + _CANCEL_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if not _find_work(client, jid, secrets):
            return True
        time.sleep(_LOOK_S)
    return False


def _find_work(client: Client, jid: str, secrets: Spellings) -> list[tuple[str, ProcessWork]]:
    """Return each process of restbroker that shows this job, and the job as it shows it."""
    found = operate_processes.processes(client, secrets)
    return [(owner.name, job) for owner in found if owner.is_restbroker for job in owner.jobs if job.job.jid == jid]


def _select(client: Client, names: Sequence[str]) -> list[Process]:
    """Return the processes of these names; raise `UsageError` if one is unknown, ambiguous, or gets no requests."""
    found = {process.name: process for process in operate_processes.processes(client, with_jobs=False)}
    chosen: dict[str, Process] = {}
    for name in names:
        fit = [process for process in found.values() if name in (process.name, process.name.rpartition(":")[0])]
        if not fit:
            require("process", name, found)
        if len(fit) > 1:
            raise UsageError(
                f"{name} matches {len(fit)} processes.", f"Say which: {', '.join(process.name for process in fit)}."
            )
        if not fit[0].has_record:
            raise UsageError(
                f"{fit[0].name} has no record in Redis, so it cannot be asked.",
                "Unless it has just started, its log says why. Send it the signal on its own machine (TSTP, TERM).",
            )
        chosen[fit[0].name] = fit[0]
    return list(chosen.values())


def _ask(verb: Order, done: str, then: str, names: Sequence[str], consent: Consent, how: Output) -> None:
    """Order the processes of these names to do it, and print that each does `then`; a dry run asks none."""
    with open_store(how.settings()) as client:
        chosen = _select(client, names)
        count = "1 process" if len(chosen) == 1 else f"{len(chosen)} processes"
        what = f"{count} with {output.jobs(sum(process.in_progress for process in chosen))} in progress"
        if consent.dry_run:
            output.say(f"{what} would be {done}.")
        else:
            confirm(f"{verb.capitalize()} {what}?", yes=consent.yes)
            for process in chosen:
                operate_processes.order(client, process.name, verb, who(), consent.why)
                output.say(f"{process.name} {then}")
    if how.json:
        requested: list[Json] = [{"process": process.name, "in_progress": process.in_progress} for process in chosen]
        output.as_json({"action": verb, "requested": requested, "dry_run": consent.dry_run})


def _job(one: ProcessWork) -> str:
    words = (utc(one.job.at_s), one.queue, one.name, one.job.jid)
    return "  ".join(word for word in words if word is not None)


_COLUMNS: Final[Sequence[Column[Process]]] = (
    Column("PROCESS", lambda one: one.name),
    Column(
        "PROGRAM",
        lambda one: one.version,
        lambda one: " ".join(dict.fromkeys(f"{one.version or '-'} {one.tag or ''}".split())),
    ),
    Column("STATE", lambda one: one.state),
    # More than it delivers at once: the rest was fetched ahead.
    Column("JOBS", lambda one: one.in_progress, lambda one: f"{one.in_progress}/{cell(one.concurrency)}"),
    Column("", lambda one: one.concurrency),
    Column("MEMORY", lambda one: one.rss_kib, lambda one: _memory(one.rss_kib), numbers=True),
    Column("", lambda one: None if one.started_at_s is None else utc(one.started_at_s)),
    Column("", lambda one: one.heartbeat_age_s),
    Column("TARGETS", lambda one: one.targets),
    Column("QUEUES", lambda one: one.queues),
)
_JOBS: Final[Sequence[Column[tuple[str, ProcessWork]]]] = (
    Column("JOB", text=lambda one: cell(one[1].job.jid)),
    Column("COMMAND", text=lambda one: cell(one[1].name)),
    Column("FOR", text=lambda one: duration_text(max(0.0, time.time() - one[1].job.at_s))),
    Column("PROCESS", text=lambda one: one[0]),
)


def _memory(rss_kib: int | None) -> str:
    return "-" if rss_kib is None else f"{rss_kib / 1024:.1f} MiB"
