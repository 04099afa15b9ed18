"""The actions of people on queues, targets, periodic commands, processes and single jobs: a page asks before each.

`web.site` serves it. Always holds: nothing is done without a second form, and all of it goes through `operate`,
which records who did what.
"""

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Final, Literal, TypeAlias, cast
from urllib.parse import unquote

import attrs
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.config.core import Config
from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.light import frozen
from restbroker.operate import control as operate_control
from restbroker.operate import keys, periodic, processes, queues
from restbroker.operate.act import Action, Progress
from restbroker.operate.claims import release_cleared
from restbroker.operate.context import ConfigContext
from restbroker.operate.control import Noun
from restbroker.operate.keys import KeyView
from restbroker.operate.names import exact
from restbroker.operate.processes import Order
from restbroker.operate.request import PeriodicRequest, periodic_requests
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.web.connection import Actions, AdminConnection
from restbroker.web.pages import KEY_LIMIT, address
from restbroker.web.render import Shell
from restbroker.web.route import page, require_declared

_WHY_LIMIT: Final = 200
_MOST_DAYS: Final = 366
_EXAMPLES: Final = 5


@frozen
class PageAction:
    """What to do with the thing called `name`; if that is a process, with its job in progress shown as `thread`.

    If it is a key, `target` holds it, `seen` says what a person saw of it (`keys.KeyView`; "": nothing yet), and
    `repeat_unsafe` that its job is sent again though it may have run. `for_s` is how many seconds it lasts; None:
    without end. `context`: what the configuration knows of jobs. `config`: the configuration itself.
    """

    name: str
    thread: str = ""
    target: str = ""
    seen: str = ""
    repeat_unsafe: bool = False
    who: str = ""
    why: str = ""
    for_s: float | None = None
    context: Callable[[], ConfigContext] = lambda: ConfigContext({})
    config: Callable[[], Config] = Config

    def as_address(self, path: str) -> str:
        """Return the address of a page that leads to the key, or that is the key's own."""
        return address(path, [], target=self.target, key=self.name) if self.target else path


Describe: TypeAlias = Callable[[Client, PageAction], str | KeyView]


@frozen
class PageControl:
    """Something that can be done with one thing: `page` shows the thing, `meaning` tells the visitor what happens.

    `describe` returns a text on what is concerned, or the key, or raises `UsageError` if there is nothing. `names`: the
    fields of its address besides `do`. `lasts`: it may end by itself after a time. `is_grave`: its button warns.
    `is_long`: `act` returns its steps, for `web.connection`.
    """

    page: str
    label: str
    meaning: str
    act: Callable[[Client, PageAction], object]
    describe: Describe
    names: tuple[str, ...] = ("name",)
    lasts: bool = False
    is_grave: bool = False
    is_long: bool = False


def _nothing(_client: Client, _action: PageAction) -> str:
    return ""


def _name_of(client: Client, action: PageAction) -> str:
    exact(client, action.name)
    return ""


def _pausing(verb: Literal["pause", "resume"], noun: Noun, meaning: str, describe: Describe) -> PageControl:
    page, what = _PAUSED[noun]

    def act(client: Client, action: PageAction) -> None:
        if verb == "pause":
            operate_control.pause(client, noun, action.name, action.who, why=action.why, for_s=action.for_s)
        else:
            operate_control.resume(client, noun, action.name, action.who, action.why)

    return PageControl(page, f"{verb.capitalize()} the {what}", meaning, act, describe, lasts=verb == "pause")


def _ordering(verb: Order, meaning: str) -> PageControl:
    def act(client: Client, action: PageAction) -> None:
        processes.order(client, action.name, verb, action.who, action.why)

    return PageControl("processes", f"{verb.capitalize()} the process", meaning, act, _jobs_in_progress, is_grave=True)


def _waiting(client: Client, action: PageAction) -> str:
    return f"Jobs that wait in it: {queues.count_waiting(client, action.name):,}."


def _clear(client: Client, action: PageAction) -> Generator[Progress]:
    known = action.context()
    release = partial(release_cleared, client, action.name, context=known)
    return queues.clear_in_steps(client, action.name, known, action.who, action.why, release)


def _jobs_in_progress(client: Client, action: PageAction) -> str:
    found = processes.processes(client, with_jobs=False)
    one = next((process for process in found if process.name == action.name), None)
    if one is None:
        raise UsageError("This process is gone.", "Reload the list of processes.")
    return f"Its jobs in progress: {one.in_progress:,}."


def _job_text(client: Client, action: PageAction) -> str:
    # Ruby's know no such request.
    asked = [known for known in processes.processes(client) if known.name == action.name and known.is_restbroker]
    job = next((job for known in asked for job in known.jobs if job.thread == action.thread), None)
    if job is None:
        raise UsageError("This job is no longer in progress.", "Reload the list of jobs in progress.")
    return f"Of the queue {job.queue}: {job.name or 'a job'}, {job.job.jid or 'without a job id'}."


def _periodic(action: PageAction) -> PeriodicRequest:
    return periodic.find(periodic_requests(action.config()), action.name)


def _periodic_text(_client: Client, action: PageAction) -> str:
    one = _periodic(action)
    return f"{one.command.command} of {one.target}: {one.command.schedule.explanation} ({one.command.zone})."


def _run_periodic(client: Client, action: PageAction) -> None:
    _, holder = periodic.run(client, _periodic(action), action.who, action.why)
    if holder is not None:
        raise UsageError(
            f"Its job {holder.jid} ({holder.certainty}) is not done. Nothing was queued.",
            "Wait until it is, or delete that job.",
        )


def _opening(verb: Literal["retry", "skip", "drop"], label: str, meaning: str) -> PageControl:
    """Return what opens a stopped key, as `restbroker keys` does: only if it is as it was seen."""

    def describe(client: Client, action: PageAction) -> KeyView:
        known, seen = action.context(), action.seen
        found = keys.view_key(client, known, action.target, action.name, _EXAMPLES, seen)
        if found.busy.state != "stopped" or (seen and seen != found.seen):
            now = f"The key has changed: it is {found.key.state_text}. Nothing was done."
            raise UsageError(now, "Look at it again.")
        if verb == "retry":
            # The question has a box to tick.
            retry = Action("retry", action.who, repeat_unsafe=action.repeat_unsafe or not seen)
            [*keys.resume(client, found.target, found.busy, known, retry, dry_run=True)]
        return found

    def act(client: Client, action: PageAction) -> Generator[Progress]:
        found, known = describe(client, action), action.context()
        place, who, why = (client, found.target), action.who, action.why or f"keys {verb}"
        if verb == "skip":
            return keys.steer(*place, "skip", found.busy, known=known, who=who, why=action.why)
        do = Action("retry", who, why=why, repeat_unsafe=action.repeat_unsafe, begins_at_once=True)
        if verb == "retry":
            return keys.resume(*place, found.busy, known, do)
        return keys.drop(*place, found.busy, action.config(), attrs.evolve(do, verb="kill"), known, found.counts)

    names = ("name", "target")
    return PageControl("jobs", label, meaning, act, describe, names, is_grave=verb == "drop", is_long=True)


_PAUSED: Final[Mapping[Noun, tuple[str, str]]] = {
    "queue": ("jobs", "queue"),
    "target": ("targets", "target"),
    "periodic": ("scheduled", "periodic command"),
}
CONTROLS: Final[Mapping[str, PageControl]] = {
    "pause-queue": _pausing(
        "pause",
        "queue",
        "No process takes jobs from this queue meanwhile, not even Ruby's. They wait. Jobs in progress finish.",
        _name_of,
    ),
    "resume-queue": _pausing("resume", "queue", "Every process takes its jobs again.", _name_of),
    "clear-queue": PageControl(
        "jobs",
        "Clear the queue",
        "Deletes all jobs that wait in it when you confirm, without a copy. Jobs in progress finish.",
        act=_clear,
        describe=_waiting,
        is_grave=True,
        is_long=True,
    ),
    "pause-target": _pausing(
        "pause",
        "target",
        "No process takes jobs for this target meanwhile. They wait. Jobs in progress finish.",
        _nothing,
    ),
    "resume-target": _pausing(
        "resume", "target", "Processes take its jobs again, unless something else prevents them.", _nothing
    ),
    "run-periodic": PageControl(
        "scheduled",
        "Run now",
        "Queues its job now. Its times stay as they are, and a pause does not matter.",
        act=_run_periodic,
        describe=_periodic_text,
    ),
    "pause-periodic": _pausing(
        "pause", "periodic", "No process queues its jobs meanwhile: what is due is skipped.", _periodic_text
    ),
    "resume-periodic": _pausing(
        "resume",
        "periodic",
        "Its jobs are queued again when they are due. What was skipped stays skipped.",
        _periodic_text,
    ),
    "quiet-process": _ordering("quiet", "It finishes its jobs in progress and takes no more until it is restarted."),
    "stop-process": _ordering(
        "stop", "It finishes its jobs in progress within its timeout and exits. A supervisor may restart it."
    ),
    "cancel-job": PageControl(
        "in-progress",
        "Cancel the job",
        "Its delivery ends within some seconds, unless it is done before, and the job moves to the dead set as "
        "Cancelled. The server may have done it nevertheless.",
        act=lambda client, action: processes.cancel(client, action.name, action.thread, who=action.who, why=action.why),
        describe=_job_text,
        names=("name", "thread"),
        is_grave=True,
    ),
    "retry-key": _opening(
        "retry",
        "Retry the dead job",
        "The job that stopped the key is tried again. Once it is done, the jobs behind it go on in their order.",
    ),
    "skip-key": _opening(
        "skip",
        "Skip the dead job",
        "The jobs behind it go on in their order, without the job that died. That one stays among the dead jobs.",
    ),
    "drop-key": _opening(
        "drop",
        "Drop what waits",
        "The jobs that wait with the key now move to the dead set, and callers that wait get the answer Killed. "
        "The key goes on with what comes later. The job that stopped it stays dead.",
    ),
}


@frozen(eq=False)
class ControlPages:
    """The views of what can be done with queues, targets, processes and single jobs.

    `redirect` leads the visitor to a page, `refresh_now` makes live pages read Redis again at once.
    """

    admin: AdminConnection
    shell: Shell
    refuse: Refuse
    redirect: Callable[[str], Response]
    actions: Actions
    refresh_now: Callable[[], None]

    @page("/steer", "actions on queues, targets, processes and periodic commands")
    async def ask(self) -> Response:
        """Return the page that asks whether to do it; refuse it if the pages are read-only.

        Raise `UsageError` if the address names no known action, or nothing that it concerns.
        """
        if self.shell.settings.is_read_only:
            return self.refuse(403, "ReadOnly", "These pages change nothing (StatsReadOnly).")
        control, action = self._read(request.args, str)
        return Response(await self._question(request.args["do"], control, action))

    @page("/steer", method="POST")
    async def act(self) -> Response:
        """Do what the confirmed form names, and lead to the page that shows the result, or to that of the action.

        Raise `UsageError` if the form cannot be read, or nothing is concerned any more.
        """
        form = await request.form
        control, action = self._read(form, unquote, is_form=True)
        why, length = form.get("why", "").strip()[:_WHY_LIMIT], form.get("for", "").strip()
        action = attrs.evolve(action, who=self.shell.who(), why=why)
        try:
            for_s = seconds(length, _MOST_DAYS) if control.lasts and length else None
        except BadValue:
            wrong = "This is not a duration: enter 30m, 2h or 1d, or leave it empty."
            return Response(await self._question(form["do"], control, action, length=length, wrong=wrong), 400)
        seen, unsafe = form.get("seen", "") or "0", form.get("repeat_unsafe") == "yes"
        action = attrs.evolve(action, for_s=for_s, seen=seen, repeat_unsafe=unsafe)
        act = partial(_act, control=control, action=action)
        if control.is_long:
            steps = cast("Callable[[Client], Generator[Progress]]", act)
            return self.redirect(action.as_address(f"/activity/{await self.actions.start(steps)}"))
        await self.admin.ask(act)
        self.refresh_now()
        return self.redirect(f"/{control.page}")

    def _read(
        self, given: MultiDict[str, str], decode: Callable[[str], str], *, is_form: bool = False
    ) -> tuple[PageControl, PageAction]:
        """Return what is to be done with what; raise `UsageError` for a field too few or too many."""
        control = CONTROLS.get(given.get("do", ""))
        names = {name: decode(given.get(name, "")) for name in (control.names if control else ())}
        if control is None or not all(0 < len(name) <= KEY_LIMIT for name in names.values()):
            raise UsageError("No action was chosen.", "Go back, and press a button.")
        typed = ("why", *["for"] * control.lasts, *["seen", "repeat_unsafe"] * ("target" in names)) if is_form else ()
        require_declared(given, "do", *names, *typed)
        name, thread, target = (names.get(field, "") for field in ("name", "thread", "target"))
        return control, PageAction(name, thread, target, context=self.admin.context, config=self.admin.config)

    async def _question(
        self, do: str, control: PageControl, action: PageAction, length: str = "", wrong: str = ""
    ) -> str:
        concerned = await self.admin.ask(lambda client: control.describe(client, action))
        back = action.as_address("/key" if action.target else f"/{control.page}")
        values = {"do": do, "control": control, "action": action, "length": length, "wrong": wrong, "back": back}
        title = f"{control.label}?"
        return self.shell.page("control.html", name=control.page, title=title, concerned=concerned, **values)


def _act(client: Client, *, control: PageControl, action: PageAction) -> object:
    # It may be gone since it was asked for.
    control.describe(client, action)
    return control.act(client, action)
