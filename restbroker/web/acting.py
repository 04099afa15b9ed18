"""What people do with jobs of a set: first a page that says what it would do, then the doing, in slices.

`web.site` serves it. Always holds: nothing is done without a second, marked form; what may have run is sent again only
where that was asked for apart; one request works for some seconds at most and then says where it stands, so that an
action on a million jobs can be stopped at any moment and goes on where it was.
"""

import time
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from typing import Final, cast, get_args

import attrs
from quart import Response, request
from werkzeug.datastructures import MultiDict

from restbroker.admin import act
from restbroker.admin.act import Action, Chosen, Progress, Verb
from restbroker.admin.act_job import MAY_HAVE_RUN
from restbroker.admin.known import Known
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
_VERBS: Final = frozenset(get_args(Verb)) - {"move"}
_MOST_DAYS: Final = 366
_WHY_LIMIT: Final = 200


@attrs.frozen
class Asked:
    """What a form asks for. `names`: ticked jobs; none of them: all for which the conditions hold."""

    name: str
    zset: SortedSet
    verb: Verb
    names: tuple[str, ...]
    typed: list[str]
    time: str
    why: str
    repeat_unsafe: bool
    confirmed: bool

    def chosen(self, known: Known) -> Chosen:
        """The same for `admin.act`. Raises `UsageError`."""
        if self.names:
            return Chosen(self.names)
        return Chosen((), where.read(self.typed, time.time(), ahead=self.zset != "dead", hidden=known.hidden))

    def action(self, who: str) -> Action:
        """The same for `admin.act`. Raises `UsageError` where the time is none."""
        at_s = moment_s(self.time, time.time()) if self.verb == "reschedule" else None
        return Action(self.verb, who, at_s=at_s, why=self.why, repeat_unsafe=self.repeat_unsafe)


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
                return self._told(asked, await self._do(asked, dry_run=False))
            except UsageError as error:
                wrong = error
        # Any time will do to see what it would do.
        progress = await self._do(attrs.evolve(asked, time=asked.time if wrong is None else "1h"), dry_run=True)
        return Response(self._question(asked, progress, wrong), 200 if wrong is None else 400)

    async def _do(self, asked: Asked, *, dry_run: bool) -> Progress:
        who = self.shell.who()

        def work(client: Client) -> Progress:
            known = self.desk.known()
            until_s = time.monotonic() + _SLICE_S
            progress = Progress(0)
            run = act.perform(client, asked.zset, asked.action(who), asked.chosen(known), known, dry_run=dry_run)
            # What is cut short is written down as such.
            with closing(cast("Generator[Progress]", run)) as slices:
                for so_far in slices:
                    progress = so_far
                    if time.monotonic() >= until_s:
                        break
            return progress

        return await self.desk.ask(work)

    def _question(self, asked: Asked, progress: Progress, wrong: UsageError | None) -> str:
        return self.shell.page(
            "confirm.html",
            name=asked.name,
            title=f"{asked.verb.capitalize()} {TITLES[asked.name].lower()} jobs?",
            asked=asked,
            progress=progress,
            unsafe=progress.refused.get(MAY_HAVE_RUN.why, 0),
            refused={why: count for why, count in progress.refused.items() if why != MAY_HAVE_RUN.why},
            wrong=wrong,
            back=address(f"/{asked.name}", asked.typed),
        )

    def _told(self, asked: Asked, progress: Progress) -> Response:
        html = self.shell.page(
            "acted.html",
            name=asked.name,
            title=f"{asked.verb.capitalize()}: done" if progress.ended else f"{asked.verb.capitalize()}: going on",
            asked=asked,
            progress=progress,
            unsafe=progress.refused.get(MAY_HAVE_RUN.why, 0),
            refused={why: count for why, count in progress.refused.items() if why != MAY_HAVE_RUN.why},
            back=address(f"/{asked.name}", asked.typed),
        )
        return Response(html)


def read(name: str, form: MultiDict[str, str]) -> Asked:
    """What a form asks for. Raises `UsageError` where it is none of ours."""
    verb = form.get("verb", "")
    if verb not in _VERBS:
        raise UsageError("It is not said what to do.", "Go back, and press a button.")
    names = tuple(form.getlist("job"))[:PAGE]
    if not names and form.get("all") != "yes":
        raise UsageError("No job is ticked.", "Go back and tick some, or choose all that match.")
    return Asked(
        name=name,
        zset=SETS[name],
        verb=cast("Verb", verb),
        names=names,
        typed=conditions(form.getlist("where")),
        time=form.get("time", "1h").strip(),
        why=form.get("why", "").strip()[:_WHY_LIMIT],
        repeat_unsafe=form.get("repeat_unsafe") == "yes",
        confirmed=form.get("confirmed") == "yes",
    )


def moment_s(typed: str, now_s: float) -> float:
    """`10m` from now, or `2026-11-21T14:00` in UTC, as epoch seconds. Raises `UsageError`."""
    try:
        return now_s + seconds(typed, _MOST_DAYS)
    except BadValue:
        pass
    try:
        moment = datetime.fromisoformat(typed)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError("This is no time.", "Give 10m, 2h or 1d from now, or 2026-11-21T14:00 (UTC).") from error
