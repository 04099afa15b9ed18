"""The actions of people on jobs of a set or a queue: a page says what would be done, then a task does it.

`web.site` serves it. Always holds: nothing is done without a second form; a job that may have run is sent again, and
one goes to a queue that no target here serves, only if that was chosen separately; only jobs that were there for the
question are meant: a form names the ticked ones, or conditions and that moment; the audit entry is written before
anything else, and its page has Stop, which is noted in Redis, since that page may come from another process.
"""

import math
import re
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, cast, get_args
from urllib.parse import unquote

import attrs
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.job.unserved_queues import counts_text
from restbroker.light import field, frozen
from restbroker.operate import act_waiting, audit, find, where
from restbroker.operate.act import Action, Jobs, Progress, Verb, perform
from restbroker.operate.act_job import MAY_HAVE_RUN_BEFORE
from restbroker.operate.act_set import SetJobs, SetMoment, moment_of
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit, differences, same_for_all
from restbroker.operate.find import SearchLimits
from restbroker.operate.finished import PLACE
from restbroker.operate.follow import SENT, ActionResult, FollowedRun, follow, run
from restbroker.operate.job import FOREIGN_QUEUE, MAY_HAVE_RUN
from restbroker.operate.throttle import Throttle
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.server import time_s
from restbroker.web.connection import Actions, AdminConnection, TypedEdits
from restbroker.web.pages import PAGE, PATHS, SET, SETS, address, conditions
from restbroker.web.render import TITLES, Shell
from restbroker.web.route import page, require_declared

_QUESTION_S: Final = 6.0
"""How many seconds jobs are counted before a person is asked; less than `connection.TIMEOUT_S`."""
_LEFT_S: Final = 1.0
"""How many seconds jobs are counted that an edit left in their set."""
_SILENT_S: Final = 60.0
"""An action that has not ended counts as stopped if nothing was recorded of it for this many seconds."""
_OVER: Final = ("ended", "done", "interrupted")
_BOUNDS: Final = SearchLimits(seconds=5.0, jobs=200_000, gives_way=True)
_VERBS: Final = frozenset(get_args(Verb))
_MOST_DAYS: Final = 366
_LATEST_S: Final = 1e11
_WHY_LIMIT: Final = 200
_MOST_WAITING: Final = 1e12
_LEAST_RATE, _MOST_RATE = 0.01, 1e6
_NUMBER: Final = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)
_TOLD_APART: Final = (MAY_HAVE_RUN.why, MAY_HAVE_RUN_BEFORE.why, FOREIGN_QUEUE.why)
_FIELDS: Final = (
    *("verb", "all", "run", "newest", "asked", "confirmed"),
    *("why", "rate", "repeat_unsafe", "foreign_queues"),
)
_MORE: Final = {"reschedule": ("time",), "move": ("queue",), "retry": ("first",), "edit": ("first", "edit")}
"""The fields that only some verbs have."""
_NO_QUEUE: Final = "\0"
"""The queue of a trial move whose destination is not chosen yet; no job is in it."""


@frozen
class ActionForm:
    """What a form asks to do, and with which jobs.

    `names` has the keys of ticked jobs; empty: those that the edit `run` left in their set, or all that match the
    conditions and were there at `seen`: the greatest score of the set, or the number of jobs of the queue that match,
    and the time by Redis' clock; None before the question. `zset` is the set with the jobs; None: they wait in the
    queue `of`. `edit` is the name of the changes to make (in `TypedEdits`).

    `time` is for a reschedule, `queue` for a move; `foreign_queues` allows queues that no target here serves. `rate` is
    the greatest number of jobs per second, as typed. `first`: jobs that are retried go before those that wait.
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
    of: str = ""
    edit: str = ""
    seen: SetMoment | None = None
    first: bool = False
    run: str = ""

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
        return self if self.names else attrs.evolve(self, conditions=[where.with_fixed_time(term) for term in meant])

    def for_trial(self) -> "ActionForm":
        """Return the form with a placeholder for the time and the queue, which is enough to see what it would do."""
        foreign_queues = self.foreign_queues or self.verb == "move"
        return attrs.evolve(self, time="1h", queue=_NO_QUEUE, foreign_queues=foreign_queues, rate="")

    def rate_per_s(self) -> float | None:
        """Return the greatest number of jobs per second, None for no limit; raise `UsageError` if it is unusable."""
        if self.names or not self.rate:
            return None
        rate = float(self.rate) if _NUMBER.fullmatch(self.rate) else 0.0
        if not _LEAST_RATE <= rate <= _MOST_RATE:
            raise UsageError("This is not a rate.", "Enter a number such as 50 or 0.5, or leave it empty.")
        return rate

    def require_whole(self) -> None:
        """Raise `UsageError` if the form cannot be obeyed: it names no jobs, or an unusable rate."""
        self.rate_per_s()
        if not self.names and self.seen is None:
            raise UsageError("The form does not say which jobs it means.", "Check what it would do now.")

    @property
    def about(self) -> str:
        """The name under which an edit for this list, or for these jobs of it, is kept in `TypedEdits`."""
        return "/".join((self.name, *self.names))

    def jobs(self, client: Client, admin: AdminConnection) -> Jobs:
        """Return the jobs that the form means; call it in the connection's thread.

        Raise `UsageError` if there cannot be any.
        """
        known, seen = admin.context(), self.seen
        wanted = where.read(self.conditions, time.time(), ahead=self.is_ahead, hidden=known.hidden)
        if self.zset is not None:
            if self.names:
                return SetJobs(self.zset, self.names)
            if self.run:
                return attrs.evolve(_left_by(client, self.run, self.zset), rate_per_s=self.rate_per_s())
            return SetJobs(self.zset, where=wanted, seen=seen, rate_per_s=self.rate_per_s())
        limit = None if seen is None else int(min(seen.newest, _MOST_WAITING))
        until_s = math.inf if seen is None else seen.at_s
        return act_waiting.select(
            client, self.of, wanted, admin.config(), limit, keys=self.names or None, until_s=until_s
        )

    def steps(
        self, client: Client, admin: AdminConnection, who: str, edit: Edit | None, *, dry_run: bool
    ) -> Generator[Progress]:
        """Return the steps of the action, or, with `dry_run`, those of finding out what it would do.

        Go on with them in the connection's thread. Raise `UsageError` if the action is refused.
        """
        known = admin.context()
        action = self._action(who, known)
        if edit is not None:
            action = attrs.evolve(action, edit=attrs.evolve(edit, tokens=admin.tokens()))
        return cast("Generator[Progress]", perform(client, self.jobs(client, admin), action, known, dry_run=dry_run))

    def _action(self, who: str, known: ConfigContext) -> Action:
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
            first=self.first,
            begins_at_once=True,
        )


@frozen(eq=False)
class ActPages:
    """The views for actions; `edits` keeps the changes that were typed until they are confirmed."""

    admin: AdminConnection
    shell: Shell
    refuse: Refuse
    redirect: Callable[[str], Response]
    actions: Actions
    edits: TypedEdits = field(factory=TypedEdits)

    @page(f"/{SET}/act", "actions on the jobs of a set", method="POST")
    @page("/queue/act", "actions on waiting jobs", method="POST")
    async def act(self, name: str = "queue") -> Response:
        """Answer the form of a set's page, of a job's page, or of the page that asks for confirmation."""
        return await self.ask(read(name, await request.form))

    async def ask(self, form: ActionForm) -> Response:
        """Return the page that says what the form would do, or, if it is confirmed, do it and lead to its page.

        Raise `UsageError` if the form cannot be read, or if its edit changes nothing.
        """
        form = form.with_fixed_dates()
        wrong: UsageError | None = None
        edit = self.edits.find(form.edit, form.about) if form.edit else None
        if form.edit and edit is None:
            raise UsageError("Your input is no longer known.", "Fill in the form again.")
        if form.confirmed:
            try:
                form.require_whole()
                who = self.shell.who()
                steps = partial(form.steps, admin=self.admin, who=who, edit=edit, dry_run=False)
                return self.redirect(f"/activity/{await self.actions.start(steps)}")
            except UsageError as error:
                wrong = error
        form = attrs.evolve(form, seen=None)
        trial = partial(self._try, form=form, who=self.shell.who(), edit=edit, seconds=_QUESTION_S)
        progress, seen = await self.admin.ask(trial)
        is_void = progress.ended and not progress.previews and MAY_HAVE_RUN_BEFORE.why not in progress.refused
        if edit is not None and wrong is None and is_void:
            raise UsageError(" ".join(progress.refused) or "The job is gone or has changed.")
        return Response(self._question(attrs.evolve(form, seen=seen), progress, wrong, edit), 400 if wrong else 200)

    def _try(
        self, client: Client, *, form: ActionForm, who: str, edit: Edit | None, seconds: float
    ) -> tuple[Progress, SetMoment]:
        """Find out what would be done, as far as that goes in this time; return it with the present moment."""
        until_s = time.monotonic() + seconds
        zset, form = form.zset, form.for_trial()
        seen = SetMoment(0, time_s(client)) if zset is None else moment_of(client, zset)
        progress, throttle = Progress(0), Throttle()
        with closing(form.steps(client, self.admin, who, edit, dry_run=True)) as steps:
            for so_far in steps:
                progress = so_far
                throttle.step()
                if time.monotonic() >= until_s:
                    break
        if MAY_HAVE_RUN_BEFORE.why in progress.refused and not progress.previews:
            # What would be changed is to be seen before it is chosen.
            anyway = attrs.evolve(form, repeat_unsafe=True).steps(client, self.admin, who, edit, dry_run=True)
            progress = attrs.evolve(progress, previews=next(anyway).previews)
        return progress, seen if zset is not None else attrs.evolve(seen, newest=progress.matched)

    def _question(self, form: ActionForm, progress: Progress, wrong: UsageError | None, edit: Edit | None) -> str:
        given = () if edit is None else edit.values
        foreign = {queue: jobs for queue, jobs in progress.foreign_queues.items() if queue != _NO_QUEUE}
        return self.shell.page(
            "confirm.html",
            name=form.name,
            title=f"{form.verb.capitalize()} {TITLES[form.name].lower() if form.zset else 'waiting'} jobs?",
            form=form,
            wrong=wrong,
            progress=progress,
            changes=[(before, differences(before, after, given)) for before, after in progress.previews],
            runs=edit is not None and edit.retry,
            consequence="" if form.zset else act_waiting.consequence(form.of, form.verb, self.admin.context()),
            same=same_for_all(progress.previews, given) if progress.done > 1 else [],
            unsafe=sum(progress.refused.get(refusal.why, 0) for refusal in (MAY_HAVE_RUN, MAY_HAVE_RUN_BEFORE)),
            foreign=sum(foreign.values()),
            foreign_queues=counts_text(foreign),
            refused={why: count for why, count in progress.refused.items() if why not in _TOLD_APART},
            back=address(f"/{form.name}", form.conditions, **({} if form.zset else {"name": form.of})),
            job_pages=form.name if form.zset else None,
        )

    @page("/activity/<name>", "one action")
    async def action(self, name: str) -> Response:
        """Return the page of the action that began with this entry of the audit log, and of what became of its jobs.

        Raise `UsageError` if it cannot be the name of an entry.
        """
        _require_run(name)

        left: Progress | None = None

        def question(client: Client) -> tuple[FollowedRun | None, ActionResult | None, str | None]:
            nonlocal left
            found, stopped_by = run(client, name), audit.stopped_by(client, name)
            became = None
            if found is not None and found.jids and found.note.action == "edit" and not _goes_on(found):
                # Before others, jobs go newest first, as an edit takes them: they are found sooner.
                meant = MultiDict([("verb", "retry"), ("run", name), ("first", "yes")])
                form = read(PATHS[cast("SortedSet", found.note.place)], meant)
                left, _ = self._try(client, form=form, who="", edit=None, seconds=_LEFT_S)
            if found is not None and found.jids and found.note.action in SENT:
                became = follow(client, found.jids, self.admin.context(), _BOUNDS, found.began_s)
            return found, became, stopped_by

        found, became, stopped_by = await self.admin.ask(question)
        names = {name: request.args.get(name, "") for name in ("target", "key")}
        html = self.shell.page(
            "action.html",
            name="activity",
            title=found.note.action.capitalize() if found is not None else "Action",
            run=found,
            became=became,
            left=left,
            lists=PATHS,
            stopped_by=stopped_by,
            of_key=address("/key", [], **names) if all(names.values()) else None,
            # At a low rate an entry is silent for longer than one whose process is gone.
            may_stop=found is not None
            and _may_be_stopped(found)
            and stopped_by is None
            and not self.shell.settings.is_read_only,
            is_over=(found is None or not _goes_on(found)) and (became is None or became.is_over),
        )
        return Response(html, 404 if found is None else 200)

    @page("/activity/<name>/stop", "its stop", method="POST")
    async def stop(self, name: str) -> Response:
        """Note that the action is to stop after its batch, and lead back to its page; refuse it with 404 if it cannot.

        Raise `UsageError` if it cannot be the name of an entry.
        """
        _require_run(name)
        who = self.shell.who()

        def note(client: Client) -> bool:
            found = run(client, name)
            if may_be_stopped := found is not None and _may_be_stopped(found):
                audit.request_stop(client, name, who)
            return may_be_stopped

        if not await self.admin.ask(note):
            return self.refuse(404, "NoAction", "This action is over, was not begun on a page, or is no longer kept.")
        return self.redirect(f"/activity/{name}")


def _left_by(client: Client, name: str, zset: SortedSet) -> SetJobs:
    """Return the jobs that this edit left in the set and that have not changed since, as far as their ids are kept.

    Raise `UsageError` if it is no edit of jobs of this set, or is no longer kept.
    """
    found = run(client, name)
    if found is None or (found.note.action, found.note.place) != ("edit", zset):
        raise UsageError("This edit is no longer kept.", "Choose the jobs by conditions.")
    # The times in the jobs may be some milliseconds off those of the entries.
    seen, jids = SetMoment(math.inf, found.noted_s + 1), frozenset(found.jids)
    return SetJobs(zset, jids=jids, since_s=found.began_s - 1, seen=seen, limit=len(jids))


def _goes_on(one: FollowedRun) -> bool:
    return one.note.state not in _OVER and time.time() - one.noted_s < _SILENT_S


def _may_be_stopped(one: FollowedRun) -> bool:
    return one.note.who.endswith("(web)") and one.note.state not in _OVER


def _require_run(name: str) -> None:
    if PLACE.fullmatch(name) is None:
        raise UsageError("No action has that name.", "The audit log lists them.")


def read(name: str, form: MultiDict[str, str]) -> ActionForm:
    """Return the action that a form requests; raise `UsageError` if it is none of ours."""
    verb = form.get("verb", "")
    if verb not in (_VERBS if name in SETS else act_waiting.VERBS):
        raise UsageError("No action was chosen.", "Go back, and press a button.")
    require_declared(form, *_FIELDS, *_MORE.get(verb, ()), *(() if name in SETS else ("of",)), lists=("job", "where"))
    names, edited = tuple(form.getlist("job")), form.get("run", "") if name in SETS else ""
    # By key alone: to look for a job id may take seconds, for each. Without them, all that match would be meant.
    if len(names) > PAGE or not all(map(find.is_key, names)):
        raise UsageError("This form contains an invalid job id.", "Reload the list, and tick the jobs there.")
    if edited:
        _require_run(edited)
    elif not names and form.get("all") != "yes":
        raise UsageError("No job is ticked.", "Go back and tick some, or choose all that match.")
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
        of=unquote(form.get("of", "")),
        edit=form.get("edit", ""),
        seen=_moment(form.get("newest", ""), form.get("asked", "")),
        first=form.get("first") == "yes",
        run=edited,
    )


def _moment(newest: str, at_s: str) -> SetMoment | None:
    """Return the moment of the question from a form; None if it has none that can be read."""
    with suppress(ValueError):
        found = SetMoment(float(newest), float(at_s))
        return found if 0 < found.at_s < _LATEST_S and not math.isnan(found.newest) else None
    return None


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
