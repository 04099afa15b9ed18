"""What people do with jobs of a set: first a page that says what it would do, then the doing, in slices.

`web.site` serves it. Always holds: nothing is done without a second, marked form; what may have run is sent again only
where that was asked for apart; one request works for some seconds at most and then says where it stands, so that an
action on a million jobs can be stopped at any moment and goes on behind what it has looked at.
"""

import re
import time
from collections.abc import Generator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Final, cast, get_args

import attrs
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.admin import act, find
from restbroker.admin.act import Action, Chosen, Progress, Rest, Verb
from restbroker.admin.act_job import MAY_HAVE_RUN
from restbroker.admin.known import Known
from restbroker.admin.pace import Pace
from restbroker.config.values import BadValue, seconds
from restbroker.errors import UsageError
from restbroker.rules import where
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.web.desk import Desk
from restbroker.web.render import TITLES
from restbroker.web.sets import PAGE, SETS, address, conditions
from restbroker.web.shell import Shell

_SLICE_S: Final = 3.0
_VERBS: Final = frozenset(get_args(Verb))
_MOST_DAYS: Final = 366
_LATEST_S: Final = 1e11
_WHY_LIMIT: Final = 200
_COUNT: Final = re.compile(r"\d{1,12}", re.ASCII)
_NO_QUEUE: Final = "\0"
"""What would be moved can be seen before it is said where to: no job is in this one."""


@attrs.frozen
class Asked:
    """What a form asks for. `names`: ticked jobs, by their keys; none of them: all for which the conditions hold.

    `time` is for a reschedule, `queue` for a move. `rest`: where an action of several slices goes on; `before`: how
    many jobs the earlier ones did.
    """

    name: str
    zset: SortedSet
    verb: Verb
    names: tuple[str, ...]
    typed: list[str]
    time: str
    queue: str
    why: str
    repeat_unsafe: bool
    confirmed: bool
    rest: Rest | None = None
    before: int = 0

    def settled(self) -> "Asked":
        """With a moment instead of a span, so that each slice means the same. Raises `UsageError` where it is none."""
        if self.verb != "reschedule":
            return self
        at_s = round(moment_s(self.time, time.time()), 3)
        return attrs.evolve(self, time=datetime.fromtimestamp(at_s, UTC).isoformat())

    def tried(self) -> "Asked":
        """The same with any time and queue, where none is said: enough to see what it would do."""
        return attrs.evolve(self, time="1h", queue=_NO_QUEUE, rest=None)

    def chosen(self, known: Known) -> Chosen:
        """The same for `admin.act`. Raises `UsageError`."""
        if self.names:
            return Chosen(self.names)
        wanted = where.read(self.typed, time.time(), ahead=self.zset != "dead", hidden=known.hidden)
        return Chosen((), wanted, self.rest)

    def action(self, who: str, known: Known) -> Action:
        """The same for `admin.act`. Raises `UsageError` where the time is none, or nobody here serves the queue."""
        at_s = moment_s(self.time, time.time()) if self.verb == "reschedule" else None
        if self.verb == "move" and self.queue != _NO_QUEUE and self.queue not in known.targets:
            raise UsageError(
                "No target of this configuration serves that queue.",
                f"Served are: {', '.join(sorted(known.targets))}. The command line can move to any (--any).",
            )
        return Action(self.verb, who, at_s, self.queue, self.why, self.repeat_unsafe)


@attrs.frozen(eq=False)
class ActPages:
    """The views."""

    desk: Desk
    shell: Shell

    async def act(self, name: str) -> Response:
        """The form of a set's page, of a job's page, or of the page that asks once more."""
        asked = read(name, await request.form)
        wrong: UsageError | None = None
        if asked.confirmed:
            try:
                asked = asked.settled()
                return self._told(asked, await self._do(asked, dry_run=False))
            except UsageError as error:
                wrong = error
        progress = await self._do(asked.tried(), dry_run=True)
        return Response(self._question(asked, progress, wrong), 200 if wrong is None else 400)

    async def _do(self, asked: Asked, *, dry_run: bool) -> Progress:
        who = self.shell.who()

        def work(client: Client) -> Progress:
            known = self.desk.known()
            until_s = time.monotonic() + _SLICE_S
            progress, pace = Progress(0), Pace()
            run = act.perform(client, asked.zset, asked.action(who, known), asked.chosen(known), known, dry_run=dry_run)
            # What is cut short is written down as such.
            with closing(cast("Generator[Progress]", run)) as slices:
                for so_far in slices:
                    progress = so_far
                    pace.step()
                    if time.monotonic() >= until_s:
                        break
            return progress

        return await self.desk.ask(work)

    def _question(self, asked: Asked, progress: Progress, wrong: UsageError | None) -> str:
        return self.shell.page(
            "confirm.html",
            title=f"{asked.verb.capitalize()} {TITLES[asked.name].lower()} jobs?",
            wrong=wrong,
            **_told_of(asked, progress),
        )

    def _told(self, asked: Asked, progress: Progress) -> Response:
        title = f"{asked.verb.capitalize()}: {'done' if progress.ended else 'going on'}"
        return Response(self.shell.page("acted.html", title=title, **_told_of(asked, progress)))


def _told_of(asked: Asked, progress: Progress) -> dict[str, object]:
    """What both pages show."""
    return {
        "name": asked.name,
        "asked": asked,
        "progress": progress,
        "done": asked.before + progress.done,
        "unsafe": progress.refused.get(MAY_HAVE_RUN.why, 0),
        "refused": {why: count for why, count in progress.refused.items() if why != MAY_HAVE_RUN.why},
        "back": address(f"/{asked.name}", asked.typed),
    }


def read(name: str, form: MultiDict[str, str]) -> Asked:
    """What a form asks for. Raises `UsageError` where it is none of ours."""
    verb = form.get("verb", "")
    if verb not in _VERBS:
        raise UsageError("It is not said what to do.", "Go back, and press a button.")
    names = tuple(form.getlist("job"))
    # By key alone: to look for a job id may take seconds, for each. Without them, all that match would be meant.
    if len(names) > PAGE or not all(map(find.is_key, names)):
        raise UsageError("This form names a job as no page does.", "Load the list again, and tick the jobs there.")
    if not names and form.get("all") != "yes":
        raise UsageError("No job is ticked.", "Go back and tick some, or choose all that match.")
    before, rest = form.get("before", ""), form.get("rest", "")
    return Asked(
        name=name,
        zset=SETS[name],
        verb=cast("Verb", verb),
        names=names,
        typed=conditions(form.getlist("where")),
        time=form.get("time", "1h").strip(),
        queue=form.get("queue", "").strip(),
        why=form.get("why", "").strip()[:_WHY_LIMIT],
        repeat_unsafe=form.get("repeat_unsafe") == "yes",
        confirmed=form.get("confirmed") == "yes",
        rest=Rest.of(rest) if rest else None,
        before=int(before) if _COUNT.fullmatch(before) else 0,
    )


def moment_s(typed: str, now_s: float) -> float:
    """`10m` from now, or `2026-11-21T14:00` in UTC, as epoch seconds. Raises `UsageError`."""
    with suppress(BadValue):
        return now_s + seconds(typed, _MOST_DAYS)
    at_s = -1.0
    with suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(typed)
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at_s < _LATEST_S:
        raise UsageError("This is no time.", "Give 10m, 2h or 1d from now, or 2026-11-21T14:00 (UTC).")
    return at_s
