"""What people do with queues, targets, processes, jobs in progress and copies: first a page asks, then it is done.

`web.site` serves it. Always holds: nothing is done without a second, marked form, and all of it goes through `operate`,
which records who did what.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Final
from urllib.parse import unquote

import attrs
from quart import Response, request

from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.operate import processes, queues, targets, trimmed
from restbroker.operate.names import exact
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.web import words
from restbroker.web.connection import AdminConnection
from restbroker.web.shell import Shell

_WHY_LIMIT: Final = 200
_NAME_LIMIT: Final = 400
_MOST_DAYS: Final = 366
_LOOK_S: Final = 2.0
"""Seconds to search for a copy; the question searches once, its form twice, all within the visitor's turn at Redis."""
_CLEAR_S: Final = 4.0


@attrs.frozen
class Action:
    """What to do with the thing called `name`; if that is a process, with its job in progress shown as `thread`.

    `for_s` is how many seconds it lasts; None: without end.
    """

    name: str
    thread: str = ""
    who: str = ""
    why: str = ""
    for_s: float | None = None


def _nothing(_client: Client, _deed: Action) -> str:
    return ""


@attrs.frozen
class Step:
    """Something that can be done with one thing: `page` shows the thing, `meaning` tells the visitor what happens.

    `lasts`: it may end by itself after a time. `is_grave`: its button warns. `look` returns a text on what is
    concerned, or raises `UsageError` if there is nothing.
    """

    page: str
    label: str
    meaning: str
    act: Callable[[Client, Action], object]
    look: Callable[[Client, Action], str] = _nothing
    lasts: bool = False
    is_grave: bool = False


def _name_of(client: Client, deed: Action) -> str:
    exact(client, deed.name)
    return ""


def _waiting(client: Client, deed: Action) -> str:
    return f"Jobs that wait in it: {queues.clear(client, deed.name, deed.who, dry_run=True):,}."


def _clear(client: Client, deed: Action) -> None:
    """Delete as many waiting jobs as the visitor may wait for.

    The list of queues then shows the rest, with the same button.
    """
    until_s = time.monotonic() + _CLEAR_S
    with closing(queues.clear_in_steps(client, deed.name, deed.who, deed.why)) as steps:
        for _ in steps:
            if time.monotonic() >= until_s:
                return


def _in_hand(client: Client, deed: Action) -> str:
    found = processes.processes(client, (), with_jobs=False)
    one = next((process for process in found if process.name == deed.name), None)
    if one is None:
        raise UsageError("This process is gone.", "Reload the list of processes.")
    return f"Its jobs in progress: {one.in_progress:,}."


def _job_text(client: Client, deed: Action) -> str:
    # Ruby's know no such request.
    asked = [one for one in processes.processes(client, ()) if one.name == deed.name and one.is_restbroker]
    job = next((job for one in asked for job in one.jobs if job.thread == deed.thread), None)
    if job is None:
        raise UsageError("This job is no longer in progress.", "Reload the list of jobs in progress.")
    return f"Of the queue {job.queue}: {job.name or 'a job'}, {job.job.jid or 'without a job id'}."


def _copy_text(client: Client, deed: Action) -> str:
    return f"Its newest copy is of {words.moment(trimmed.newest(client, deed.name, _LOOK_S).at_s)}."


STEPS: Final[Mapping[str, Step]] = {
    "pause-queue": Step(
        "queues",
        "Pause the queue",
        "No process takes jobs from this queue meanwhile, not even Ruby's. They wait; jobs in progress finish.",
        act=lambda client, deed: queues.pause(client, deed.name, deed.who, why=deed.why, for_s=deed.for_s),
        look=_name_of,
        lasts=True,
    ),
    "resume-queue": Step(
        "queues",
        "Resume the queue",
        "Every process takes its jobs again.",
        act=lambda client, deed: queues.resume(client, deed.name, deed.who, deed.why),
        look=_name_of,
    ),
    "clear-queue": Step(
        "queues",
        "Clear the queue",
        "Deletes all jobs that wait in it, without a copy. Jobs in progress finish. With millions of jobs it "
        "stops after a few seconds and shows the rest, to be cleared again.",
        act=_clear,
        look=_waiting,
        is_grave=True,
    ),
    "pause-target": Step(
        "targets",
        "Pause the target",
        "No process takes jobs for this target meanwhile. They wait; jobs in progress finish.",
        lambda client, deed: targets.pause(client, deed.name, deed.who, why=deed.why, for_s=deed.for_s),
        lasts=True,
    ),
    "resume-target": Step(
        "targets",
        "Resume the target",
        "Its jobs are taken again, unless something else prevents it.",
        lambda client, deed: targets.resume(client, deed.name, deed.who, deed.why),
    ),
    "quiet-process": Step(
        "processes",
        "Quiet the process",
        "It finishes its jobs in progress and takes no more until it is restarted.",
        act=lambda client, deed: processes.quiet(client, deed.name, deed.who, deed.why),
        look=_in_hand,
        is_grave=True,
    ),
    "stop-process": Step(
        "processes",
        "Stop the process",
        "It finishes its jobs in progress within its timeout and exits. A supervisor may restart it.",
        act=lambda client, deed: processes.stop(client, deed.name, deed.who, deed.why),
        look=_in_hand,
        is_grave=True,
    ),
    "cancel-job": Step(
        "in-hand",
        "Cancel the job",
        "Its delivery ends within some seconds, unless it is done before, and the job moves to the dead set as "
        "Cancelled. The server may have done it nevertheless.",
        act=lambda client, deed: processes.cancel(client, deed.name, deed.thread, who=deed.who, why=deed.why),
        look=_job_text,
        is_grave=True,
    ),
    "restore-job": Step(
        "copies",
        "Restore the job",
        "Puts the newest copy of this job back into the dead set; it does not run. It may have been retried or "
        "deleted since it died: look at its timeline before you retry it.",
        act=lambda client, deed: trimmed.restore(client, deed.name, deed.who, why=deed.why, seconds=_LOOK_S),
        look=_copy_text,
    ),
}


@attrs.frozen(eq=False)
class SteerPages:
    """The views for steps; `go` redirects the visitor to a page, `hurry` makes live pages read Redis again at once."""

    desk: AdminConnection
    shell: Shell
    refuse: Refuse
    go: Callable[[str], Response]
    hurry: Callable[[], None]

    async def ask(self) -> Response:
        """Return the page that asks whether to do a step; refuse it if the pages are read-only.

        Raise `UsageError` if the address names no step, or nothing that it concerns.
        """
        if self.shell.settings.is_read_only:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        do = request.args.get("do", "")
        step, deed = _read_form(do, request.args.get("name", ""), request.args.get("thread", ""))
        return Response(await self._question(do, step, deed))

    async def act(self) -> Response:
        """Do the step that the confirmed form names, and redirect the visitor to the page that shows the result.

        Raise `UsageError` if the form cannot be read, or nothing is concerned any more.
        """
        form = await request.form
        do, name, thread = (form.get(field, "") for field in ("do", "name", "thread"))
        step, deed = _read_form(do, unquote(name), unquote(thread))
        why, length = form.get("why", "").strip()[:_WHY_LIMIT], form.get("for", "").strip()
        deed = attrs.evolve(deed, who=self.shell.who(), why=why)
        try:
            for_s = seconds(length, _MOST_DAYS) if step.lasts and length else None
        except BadValue:
            wrong = "This is not a duration: enter 30m, 2h or 1d, or leave it empty."
            return Response(await self._question(do, step, deed, length=length, wrong=wrong), 400)
        await self.desk.ask(partial(_act, step=step, deed=attrs.evolve(deed, for_s=for_s)))
        self.hurry()
        return self.go(f"/{step.page}")

    async def _question(self, do: str, step: Step, deed: Action, length: str = "", wrong: str = "") -> str:
        concerned = "" if step.look is _nothing else await self.desk.ask(partial(_summary, step=step, deed=deed))
        values = {"do": do, "step": step, "deed": deed, "concerned": concerned, "length": length, "wrong": wrong}
        return self.shell.page("steer.html", name=step.page, title=f"{step.label}?", **values)


def _act(client: Client, *, step: Step, deed: Action) -> None:
    # It may be gone since it was asked for.
    step.look(client, deed)
    step.act(client, deed)


def _summary(client: Client, *, step: Step, deed: Action) -> str:
    return step.look(client, deed)


def _read_form(do: str, name: str, thread: str) -> tuple[Step, Action]:
    step = STEPS.get(do)
    if step is None or not 0 < len(name) <= _NAME_LIMIT or len(thread) > _NAME_LIMIT:
        raise UsageError("There is no action.", "Go back, and press a button.")
    return step, Action(name, thread)
