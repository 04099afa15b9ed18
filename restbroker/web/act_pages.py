"""The actions of people on jobs of a set or a queue: a page says what would be done, then it is done in slices.

`web.site` serves it. Always holds: nothing is done without a second, marked form; a job that may have run is sent
again, and one goes to a queue that no target here serves, only if that was chosen separately; one request works for
some seconds at most and then reports how far it came, so that an action on a million jobs can be stopped at any moment
and continues behind the last job it checked; only the jobs that were counted for the question are meant, and conditions
mean in each slice what they meant then. Of jobs that wait in a queue one request does as many as it can, from the next
job on, and names the command that does the rest.
"""

import math
import re
import shlex
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Final, cast, get_args
from urllib.parse import unquote

import attrs
import trio
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.job.unserved_queues import counts_text
from restbroker.operate import act, act_waiting, find, keys, where
from restbroker.operate.act import Action, Progress, ResumePoint, Selection, Verb
from restbroker.operate.act_job import FOREIGN_QUEUE, MAY_HAVE_RUN, MAY_HAVE_RUN_BEFORE
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit, differences, same_for_all
from restbroker.operate.inventory import Inventory
from restbroker.operate.throttle import Throttle
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.web.connection import AdminConnection
from restbroker.web.pending import PendingValues, complete
from restbroker.web.render import TITLES
from restbroker.web.sets import PAGE, SETS, address, conditions
from restbroker.web.shell import Shell

_SLICE_S: Final = 3.0
_QUESTION_S: Final = 6.0
"""How many seconds a set is read before a person is asked; jobs beyond are not meant.

Less than `connection.TIMEOUT_S`.
"""
_COUNT_S: Final = 2.0
"""How many seconds what is to be killed is counted first."""
_PAUSE_S: Final = 0.5
"""Seconds between two slices, in which people can read how far it is and leave the page."""
_VERBS: Final = frozenset(get_args(Verb))
_MOST_DAYS: Final = 366
_LATEST_S: Final = 1e11
_WHY_LIMIT: Final = 200
_LEAST_RATE, _MOST_RATE = 0.01, 1e6
_NUMBER: Final = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)
_TOLD_APART: Final = (MAY_HAVE_RUN.why, MAY_HAVE_RUN_BEFORE.why, FOREIGN_QUEUE.why)
_NO_QUEUE: Final = "\0"
"""The queue of a trial move whose destination is not chosen yet; no job is in it."""


@attrs.frozen
class ActionForm:
    """What a form asks to do, and with which jobs.

    `names` has the keys of ticked jobs; empty: all that match the conditions. `zset` is the set with the jobs; None:
    they wait in the queue `of`. `line` is the name of the jobs that were there when the question was made, `edit` the
    name of the changes to make (both in `Pending`).

    `time` is for a reschedule, `queue` for a move; `foreign_queues` allows queues that no target here serves. `rate` is
    the greatest number of jobs per second, as typed. `rest` is where an action of several slices continues; before
    `due_s` (epoch seconds) the next slice would exceed the rate.
    """

    name: str
    zset: SortedSet | None
    verb: Verb
    names: tuple[str, ...]
    conditions: list[str]
    time: str
    queue: str
    why: str
    repeat_unsafe: bool
    confirmed: bool
    foreign_queues: bool = False
    rate: str = ""
    rest: ResumePoint | None = None
    due_s: float = 0.0
    of: str = ""
    edit: str = ""
    line: str = ""

    @property
    def is_ahead(self) -> bool:
        """Whether times in conditions may lie in the future."""
        return self.zset in ("retry", "schedule")

    def with_fixed_dates(self) -> "ActionForm":
        """Return the form with dates instead of spans in its conditions, so that they mean the same jobs until it ends.

        Raise `UsageError` if a condition cannot be read.
        """
        # In whole seconds, for people; a moment sooner than now.
        meant = where.read(self.conditions, math.floor(time.time()), ahead=self.is_ahead)
        return self if self.names else attrs.evolve(self, conditions=[where.with_fixed_time(one) for one in meant])

    def with_fixed_time(self) -> "ActionForm":
        """Return the form with a moment instead of a span as `time`, so that it means the same in each slice.

        Only a reschedule has one. Raise `UsageError` if the time cannot be read.
        """
        if self.verb != "reschedule":
            return self
        at_s = round(moment_s(self.time, time.time()), 3)
        return attrs.evolve(self, time=datetime.fromtimestamp(at_s, UTC).isoformat())

    def for_trial(self) -> "ActionForm":
        """Return the form with a placeholder for the time and the queue, which is enough to see what it would do."""
        foreign_queues = self.foreign_queues or self.verb == "move"
        return attrs.evolve(self, time="1h", queue=_NO_QUEUE, foreign_queues=foreign_queues, rate="")

    def first_part(self) -> "ActionForm":
        """Return the form as a new action, which begins where this one was to continue."""
        return self if self.rest is None else attrs.evolve(self, rest=attrs.evolve(self.rest, done=0, run=""))

    def rate_per_s(self) -> float | None:
        """Return the greatest number of jobs per second, None for no limit; raise `UsageError` if it is unusable.

        Ticked jobs fit into one slice, which needs no limit.
        """
        if self.names or not self.rate:
            return None
        rate = float(self.rate) if _NUMBER.fullmatch(self.rate) else 0.0
        if not _LEAST_RATE <= rate <= _MOST_RATE:
            raise UsageError("This is not a rate.", "Enter a number such as 50 or 0.5, or leave it empty.")
        return rate

    @property
    def about(self) -> str:
        """The name under which an edit for this list is kept in `Pending`."""
        return f"{self.name}/{self.of}" if self.of else self.name

    def waiting_selection(self, client: Client, known: ConfigContext) -> act_waiting.WaitingSelection:
        """Return the jobs of the queue that wait now and are meant; call it in the connection's thread.

        Raise `UsageError` if a condition cannot be read.
        """
        wanted = where.read(self.conditions, time.time(), hidden=known.hidden)
        return act_waiting.select(client, self.of, wanted, keys=self.names or None)

    def steps(
        self,
        client: Client,
        admin: AdminConnection,
        action: Action,
        meant: "act_waiting.WaitingSelection | _InSet | None",
        *,
        dry_run: bool,
        rate: float | None,
    ) -> Iterator[Progress]:
        """Yield the progress while doing the action, or, with `dry_run`, while finding out what it would do.

        Call it in the connection's thread. `meant` has the jobs that `line` names; `rate` is in jobs per second. Raise
        `UsageError` if the action is refused.
        """
        known = admin.context()
        if self.zset is None:
            assert isinstance(meant, act_waiting.WaitingSelection)  # noqa: S101 - `line` is of a queue
            config = admin.config()
            return act_waiting.perform(client, action, meant, config, known, dry_run=dry_run, count_s=_COUNT_S)
        wanted = where.read(self.conditions, time.time(), ahead=self.is_ahead, hidden=known.hidden)
        shown = meant.inventory if isinstance(meant, _InSet) else None
        chosen = Selection(self.names) if self.names else Selection((), wanted, self.rest, shown)
        return act.perform(
            client,
            self.zset,
            action,
            chosen=chosen,
            known=known,
            dry_run=dry_run,
            rate_per_s=rate,
            pause=lambda _: None,
        )

    def command(self) -> str | None:
        """Return the shell command that does the rest of an action on a queue; None if a page does the rest."""
        if self.zset is not None or self.names:
            return None
        where = [word for one in self.conditions for word in ("--where", one)]
        return shlex.join(["restbroker", "queues", self.verb, self.of, *(where or ["--all"])])

    def action(self, who: str, known: ConfigContext) -> Action:
        """Return the form as an `operate.act.Action` by `who`.

        Raise `UsageError` if the time cannot be read, or no target here serves the queue.
        """
        at_s = moment_s(self.time, time.time()) if self.verb == "reschedule" else None
        if self.verb == "move" and self.queue not in known.targets and not self.foreign_queues:
            raise UsageError(
                "No target of this configuration serves that queue.",
                f"This configuration serves: {', '.join(sorted(known.targets))}."
                " If you mean exactly this one, tick the box.",
            )
        queue = self.queue if self.verb == "move" else None
        return Action(
            self.verb,
            who,
            at_s,
            queue=queue,
            why=self.why,
            repeat_unsafe=self.repeat_unsafe,
            foreign_queues=self.foreign_queues,
        )


@attrs.frozen(eq=False)
class _InSet:
    """The jobs of a set that a question was about, and where the others begin that it did not reach; None: none."""

    inventory: Inventory
    others: ResumePoint | None


@attrs.frozen(eq=False)
class ActPages:
    """The views for actions; what a person has still to confirm is kept here.

    `edits`: changes that were typed. `lines`: the jobs that were there when the question about them was made.
    """

    admin: AdminConnection
    shell: Shell
    edits: PendingValues[Edit] = attrs.field(factory=PendingValues)
    lines: PendingValues[act_waiting.WaitingSelection | _InSet] = attrs.field(factory=PendingValues)

    async def act(self, name: str) -> Response:
        """Answer the form of a set's page, of a job's page, or of the page that asks for confirmation."""
        return await self.ask(read(name, await request.form))

    async def ask(self, form: ActionForm) -> Response:
        """Return the page that says what the form would do, or, if it is confirmed, do it and return how far it came.

        Raise `UsageError` if the form cannot be read.
        """
        form = form.with_fixed_dates()
        wrong: UsageError | None = None
        if form.confirmed:
            try:
                form = form.with_fixed_time()
                return self._result_page(*await self._slice(form))
            except UsageError as error:
                wrong = error
        form = form.first_part()
        # Until it is confirmed others come, which no one was asked about.
        if form.zset is None:
            waiting = await self.admin.ask(lambda client: form.waiting_selection(client, self.admin.context()))
            form = attrs.evolve(form, line=self.lines.keep(waiting, form.about))
        progress, _ = await self._do(form.for_trial(), dry_run=True)
        if form.zset is not None and progress.inventory is not None:
            others = None if progress.ended else progress.rest
            form = attrs.evolve(form, line=self.lines.keep(_InSet(progress.inventory, others), form.about))
        return Response(self._question(form, progress, wrong), 200 if wrong is None else 400)

    async def _slice(self, form: ActionForm) -> tuple[ActionForm, Progress, Sequence[str]]:
        """Do as much as one request may; return the form for the next one, how far it came, and `stopped_notes`."""
        rate = form.rate_per_s()
        if rate is None:
            return form, *await self._do(form, dry_run=False)
        early_s, rest = form.due_s - time.time(), form.rest
        if rest is not None and early_s > _SLICE_S:
            return form, Progress(rest.jobs, done=rest.done, rest=rest, run=rest.run), ()
        # Not while Redis is asked: others want to look meanwhile.
        await trio.sleep(max(0.0, early_s) if rest is not None else 0)
        begun_s = time.time()
        progress, notes = await self._do(form, dry_run=False, rate=rate)
        done = progress.done - (0 if rest is None else rest.done)
        return attrs.evolve(form, due_s=begun_s + done / rate), progress, notes

    async def _do(
        self, form: ActionForm, *, dry_run: bool, rate: float | None = None
    ) -> tuple[Progress, Sequence[str]]:
        """Do one slice, or, with `dry_run`, find out what would be done; return how far it came, and `stopped_notes`.

        With a `rate` (jobs per second) it does at once as many jobs as that allows for the length of a slice; the next
        slice waits. Raise `UsageError` if the edit or the selected jobs are no longer known.
        """
        who, edit = self.shell.who(), self._edit(form) if form.edit else None
        if form.edit and edit is None:
            raise UsageError("Your input is no longer known.", "Fill in the form again.")
        meant = self.lines.find(form.line, form.about)
        is_free = form.zset is not None and (dry_run or form.names)
        if meant is None and not is_free:
            raise UsageError("The selected jobs are no longer known.", "Check what it would do now.")

        def work(client: Client) -> tuple[Progress, Sequence[str]]:
            until_s = time.monotonic() + (_QUESTION_S if dry_run and form.zset is not None else _SLICE_S)
            progress, throttle, deleted = Progress(0), Throttle(), set[str]()
            before = 0 if form.rest is None else form.rest.done
            action = form.action(who, self.admin.context())
            if edit is not None:
                action = attrs.evolve(action, edit=complete(edit, client, self.admin))
            run = form.steps(client, self.admin, action, meant, dry_run=dry_run, rate=rate)
            # What is cut short is written down as such.
            with closing(cast("Generator[Progress]", run)) as slices:
                for so_far in slices:
                    progress = so_far
                    deleted.update(so_far.jids if form.zset == "dead" and form.verb == "delete" else ())
                    throttle.step()
                    is_enough = rate is not None and progress.done - before >= rate * _SLICE_S
                    # What is left is nothing but to say so.
                    is_all = form.zset is not None and not (progress.rest is not None and progress.rest.jobs)
                    if (is_enough or time.monotonic() >= until_s) and not is_all:
                        break
            if dry_run or not deleted:
                return progress, ()
            return progress, keys.stopped_notes(client, deleted, self.admin.context())

        return await self.admin.ask(work)

    def _question(self, form: ActionForm, progress: Progress, wrong: UsageError | None) -> str:
        edit = self._edit(form)
        given = () if edit is None else edit.values
        return self.shell.page(
            "confirm.html",
            title=f"{form.verb.capitalize()} {TITLES[form.name].lower() if form.zset else 'waiting'} jobs?",
            wrong=wrong,
            changes=[(before, differences(before, after, given)) for before, after in progress.previews],
            runs=edit is not None and edit.retry,
            consequence="" if form.zset else act_waiting.consequence(form.of, form.verb, self.admin.context()),
            same=same_for_all(progress.previews, given) if progress.done > 1 else [],
            **_progress_fields(form, progress),
        )

    def _edit(self, form: ActionForm) -> Edit | None:
        return self.edits.find(form.edit, form.about)

    def _result_page(self, form: ActionForm, progress: Progress, notes: Sequence[str]) -> Response:
        edit = self._edit(form)
        # What becomes of jobs that run is yet to be seen.
        past = "sent" if form.verb == "retry" or (edit is not None and edit.retry) else "done"
        title = f"{form.verb.capitalize()}: {past if progress.ended else 'going on'}"
        meant = self.lines.find(form.line, form.about)
        others = meant.others if progress.ended and isinstance(meant, _InSet) else None
        told = {**_progress_fields(form, progress), "past": past, "others": others, "notes": notes}
        return Response(self.shell.page("action-result.html", title=title, **told))


def _progress_fields(form: ActionForm, progress: Progress) -> dict[str, object]:
    """Return the values that both the question and the result show."""
    foreign = {queue: jobs for queue, jobs in progress.foreign_queues.items() if queue != _NO_QUEUE}
    return {
        "name": form.name,
        "form": form,
        "progress": progress,
        "due_s": form.due_s if form.due_s > time.time() else None,
        "after_ms": math.ceil(max(_PAUSE_S, form.due_s - time.time()) * 1000),
        "unsafe": sum(progress.refused.get(one.why, 0) for one in (MAY_HAVE_RUN, MAY_HAVE_RUN_BEFORE)),
        "foreign": sum(foreign.values()),
        "foreign_queues": counts_text(foreign),
        "refused": {why: count for why, count in progress.refused.items() if why not in _TOLD_APART},
        "back": address(f"/{form.name}", form.conditions, **({} if form.zset else {"name": form.of})),
        "job_pages": form.name if form.zset else None,
        "command": None if progress.ended else form.command(),
    }


def read(name: str, form: MultiDict[str, str]) -> ActionForm:
    """Return the action that a form requests; raise `UsageError` if it is none of ours."""
    verb = form.get("verb", "")
    if verb not in _VERBS:
        raise UsageError("No action was chosen.", "Go back, and press a button.")
    names = tuple(form.getlist("job"))
    # By key alone: to look for a job id may take seconds, for each. Without them, all that match would be meant.
    if len(names) > PAGE or not all(map(find.is_key, names)):
        raise UsageError("This form contains an invalid job id.", "Reload the list, and tick the jobs there.")
    if not names and form.get("all") != "yes":
        raise UsageError("No job is ticked.", "Go back and tick some, or choose all that match.")
    rest, due = form.get("rest", ""), form.get("due", "")
    return ActionForm(
        name=name,
        zset=SETS.get(name),
        verb=cast("Verb", verb),
        names=names,
        conditions=conditions(form.getlist("where")),
        time=form.get("time", "1h").strip(),
        queue=form.get("queue", "").strip(),
        why=form.get("why", "").strip()[:_WHY_LIMIT],
        repeat_unsafe=form.get("repeat_unsafe") == "yes",
        confirmed=form.get("confirmed") == "yes",
        foreign_queues=form.get("foreign_queues") == "yes",
        rate=form.get("rate", "").strip(),
        rest=ResumePoint.of(rest) if rest else None,
        due_s=float(due) if _NUMBER.fullmatch(due) else 0.0,
        of=unquote(form.get("of", "")),
        edit=form.get("edit", ""),
        line=form.get("line", ""),
    )


def action_form_of(name: str, meant: MultiDict[str, str]) -> ActionForm:
    """Return the form of an edit of the jobs that the form `meant` selects, still without changes and confirmation."""
    return read(name, MultiDict([*meant.items(multi=True), ("verb", "edit"), ("all", "yes")]))


def moment_s(typed: str, now_s: float) -> float:
    """Return the epoch seconds of `10m` from now, or of `2026-11-21T14:00` in UTC; raise `UsageError` otherwise."""
    with suppress(BadValue):
        return now_s + seconds(typed, _MOST_DAYS)
    at_s = -1.0
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(typed)
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at_s < _LATEST_S:
        raise UsageError("This is not a time.", "Enter 10m, 2h or 1d from now, or 2026-11-21T14:00 (UTC).")
    return at_s
