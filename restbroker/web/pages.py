"""The pages that only show: sets, queues, jobs, search results, periodic commands, timelines, the audit log.

`web.site` serves them. Always holds: viewing changes nothing; a page costs the same however large a set is, reads no
more than its bounds allow, and says so; what is shown of a job comes from `operate.job`, without secrets.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import urlencode

from quart import Response, request

from restbroker.console import codes
from restbroker.errors import StoreRefused, UsageError
from restbroker.light import frozen
from restbroker.operate import act_waiting, audit, find, finished, life, processes, where
from restbroker.operate.act_job import VERBS
from restbroker.operate.audit import StoredEntry
from restbroker.operate.context import ConfigContext
from restbroker.operate.explain import Timeline, acts_with, explain
from restbroker.operate.find import ResultPage, SearchLimits
from restbroker.operate.finished import EndsPage
from restbroker.operate.job import ShownJob
from restbroker.operate.keys import FairQueue, KeyView, OrderKey, busy_keys, fair_queue, view_key
from restbroker.operate.names import require
from restbroker.operate.periodic import ShownPeriodic, list_periodic
from restbroker.operate.processes import Process, ProcessWork
from restbroker.operate.request import periodic_requests
from restbroker.operate.search import SearchResult, search
from restbroker.operate.system import system
from restbroker.operate.where import SearchTerms, parse_search
from restbroker.serving.app import Refuse
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet
from restbroker.store.order import read_stopped
from restbroker.store.pauses import Pause, paused_queues
from restbroker.store.queues import is_known
from restbroker.web import filters, views
from restbroker.web.causes import CauseCounter
from restbroker.web.connection import AdminConnection
from restbroker.web.live import LiveState
from restbroker.web.render import TITLES, Shell
from restbroker.web.route import page

T = TypeVar("T")
SETS: Final[Mapping[str, SortedSet]] = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}
PATHS: Final = {zset: name for name, zset in SETS.items()}
SET: Final = f"<any({', '.join(SETS)}):name>"
"""The name of a set in an address."""
WHEN: Final = {"retries": "Next try", "scheduled": "Due", "dead": "Died"}
PAGE: Final = 50
_BUDGET: Final = SearchLimits(jobs=50_000, seconds=1.5, gives_way=True)
_MOST_CONDITIONS: Final = 10
_MOST_KEYS: Final = 20
_FEW: Final = 10
"""So few dead jobs are shown with their causes; more only on request."""
_NOTES: Final = 500
_BOUNDS: Final = SearchLimits(seconds=2.0, jobs=5000, notes=2000, gives_way=True)
_FIND: Final = SearchLimits(seconds=2.0, jobs=10_000, ends=100_000, hits=10, gives_way=True)
_MOST_NOTES: Final = 2000
"""How many entries are read for one page of the audit log."""
_MOST_CHOICES: Final = 20
_TIMES: Final = {"newer 1h": "last hour", "newer 8h": "last 8 hours", "= today": "today", "= yesterday": "yesterday"}
"""What the time of an action can be narrowed to: the condition and its words."""
_SKIP: Final = re.compile(r"\d{1,6}", re.ASCII)
_WORD_LIMIT: Final = 200
KEY_LIMIT: Final = 400
"""The most characters in the name of a key, or of anything else that a person acts on."""
_EXAMPLE: Final = "For example: command = send_message, and in the next field: failed_at > yesterday."


@frozen(eq=False)
class Pages:
    """The views of sets, queues, jobs, periodic commands and the audit log; `refuse` makes an answer without a page."""

    admin: AdminConnection
    shell: Shell
    refuse: Refuse
    state_for: Callable[[], Awaitable[LiveState]]
    counter: CauseCounter

    @page(
        f"/{SET}",
        "jobs by [conditions](conditions.md), with the [periodic commands](periodic.md), or the "
        "[causes](jobs.md#see-why-they-failed) of death",
    )
    async def list_jobs(self, name: str) -> Response:
        """Return one page of the jobs in a set that match the conditions in the address; of dead jobs, causes first."""
        typed = conditions(request.args.getlist("where"))
        after, zset = request.args.get("after") or None, SETS[name]
        causes = None if typed or after or zset == "schedule" else await self.counter.table(zset, time.time())
        page: ResultPage | None = None
        wrong: UsageError | None = None
        periodic: list[ShownPeriodic] = []
        groups: Sequence[str] = ()

        def question(client: Client) -> ResultPage:
            nonlocal periodic, groups
            known = self.admin.context()
            meant = where.read(typed, time.time(), ahead=zset != "dead", hidden=known.hidden)
            groups = [str(term.value) for term in meant if (term.field, term.op) == ("failure_group", "=")]
            if zset == "schedule" and not typed and after is None:
                periodic = list_periodic(client, [*periodic_requests(self.admin.config())], known)
            return find.page(client, zset, meant, known, after=after, limit=PAGE, limits=_BUDGET)

        is_short = causes is None or not causes.rows or causes.summary.total <= _FEW
        asked = {"jobs": "all"} if "jobs" in request.args else {}
        if is_short or zset != "dead" or asked:
            page, wrong = await self._ask(question)
            if groups and not after and page is not None:
                causes = await self.counter.table(zset, time.time(), groups)
        html = await self.shell.page_of_jobs(
            "set.html",
            name=name,
            title=TITLES[name],
            when=WHEN[name],
            page=page,
            causes=causes,
            periodic=periodic,
            totals=views.totals(await self.state_for()),
            typed=typed,
            wrong=wrong,
            verbs=self._verbs(zset),
            edit_all=address(f"/edit/{name}", typed),
            after=after,
            next=address(f"/{name}", typed, None if page is None else page.after),
            first=address(f"/{name}", typed, **asked),
        )
        return Response(html, 200 if wrong is None else 400)

    @page(f"/{SET}/<key>", "one job: what happened, arguments, last tries")
    async def job(self, name: str, key: str) -> Response:
        """Return the page of one job; refuse it with 404 if the job is not in the set."""
        zset = SETS[name]

        refused: StoreRefused | None = None

        def question(client: Client) -> tuple[ShownJob | None, tuple[StoredEntry, ...]]:
            nonlocal refused
            found = find.one(client, zset, key, known=self.admin.context(), seconds=2.0)
            acts: tuple[StoredEntry, ...] = ()
            try:
                acts = () if found is None or not found.jid else acts_with(client, found.jid, _NOTES)
            except StoreRefused as error:
                refused = error
            return found, acts

        entry, acts = await self.admin.ask(question)
        if entry is None:
            return self.refuse(
                404,
                "JobGone",
                f"This job is not in the {zset} set.",
                "It may have been retried, deleted or moved. Search for its job id in the other sets.",
            )
        # As the list of causes has it.
        verbs, first = self._verbs(zset), codes.first_step(entry.error_class or "")
        values = {
            "name": name,
            "title": f"Job {entry.jid or 'without an id'}",
            "when": WHEN[name],
            "entry": entry,
            "arguments": readable(entry),
            "life": life.of_job(entry, zset),
            "acts": acts,
            "refused": refused,
            "verbs": sorted([*verbs, "edit"] if verbs else (), key=lambda verb: verb != first),
        }
        return Response(await self.shell.page_of_jobs("job.html", **values))

    @page("/queue?name=…", "the jobs of a queue, and why it does not move")
    async def waiting_page(self) -> Response:
        """Return one page of the jobs that wait in a queue; refuse it with 404 if the queue is not known."""
        queue, typed = request.args.get("name", ""), conditions(request.args.getlist("where"))
        after = request.args.get("after") or None

        pause: Pause | None = None
        lines: FairQueue | None = None
        held: list[OrderKey] = []
        is_served = False

        def question(client: Client) -> ResultPage | UsageError:
            nonlocal pause, is_served, lines, held
            known = self.admin.context()
            is_served = queue in known.targets
            pause = paused_queues(client).get(queue)
            wanted = where.read(typed, time.time(), hidden=known.hidden)
            page = find.waiting_page(client, queue, wanted, known, after=after, limit=PAGE, limits=_BUDGET)
            target = known.targets.get(queue)
            is_ordered = target is not None and (
                target.order is not None or bool(read_stopped(client, [target.name], 1))
            )
            if not typed and after is None and target is not None and is_ordered:
                held, _ = busy_keys(client, [target], known, _MOST_KEYS)
            if not typed and after is None and page.total and not (is_ordered and target and target.fairness is None):
                lines = fair_queue(client, queue, known, _MOST_KEYS)
            return page if page.total else _missing(client, queue, known) or page

        page, wrong = await self._ask(question)
        if isinstance(page, UsageError):
            return self.refuse(404, "NoQueue", page.message, page.hint)
        state = await self.state_for()
        html = await self.shell.page_of_jobs(
            "queue.html",
            name="jobs",
            title=f"Queue {queue}",
            queue=queue,
            alarms=views.alarms_of_queue(state, queue),
            row=next((known for known in state.figures.system.queues if known.name == queue), None),
            totals=views.totals(state),
            page_name="jobs",
            pause=pause,
            when="Pushed",
            page=page or ResultPage((), None, 0, 0),
            typed=typed,
            wrong=wrong,
            after=after,
            verbs=act_waiting.VERBS if is_served and not self.shell.settings.is_read_only else (),
            next=address("/queue", typed, None if page is None else page.after, name=queue),
            first=address("/queue", typed, name=queue),
            lines=lines if lines is not None and lines.in_lines else None,
            one_name=self._only_name(queue),
            held=held,
        )
        return Response(html, 200 if wrong is None else 400)

    @page("/key?target=…&key=…", "a key of [`OrderBy`](order.md#free-a-key-that-stopped), and what holds it")
    async def key(self) -> Response:
        """Return the page of a key: what holds it, the first jobs that wait with it, and what can be done."""
        # Spaces around a name are part of it.
        target, name = (request.args.get(word, "")[:KEY_LIMIT] for word in ("target", "key"))
        found: KeyView | None = None
        with suppress(UsageError):
            found = await self.admin.ask(
                lambda client: view_key(client, self.admin.context(), target, name, _MOST_KEYS)
            )
        here, totals = address("/key", [], target=target, key=name), views.totals(await self.state_for())
        values = {"title": f"Key {name}", "found": found, "here": here, "totals": totals}
        return Response(await self.shell.page_of_jobs("key.html", name="jobs", **values))

    @page("/in-progress", "jobs in progress, the longest first")
    async def in_progress(self) -> Response:
        """Return the page of the jobs that all processes have in progress, the longest first."""
        given = request.args.get("after", "")
        skip = int(given) if _SKIP.fullmatch(given) else 0

        def question(client: Client) -> tuple[list[tuple[Process, ProcessWork]], int]:
            seen = processes.processes(client, self.admin.context().secrets)
            found = [(process, job) for process in seen for job in process.jobs]
            found.sort(key=lambda one: one[1].job.at_s)
            return found[skip : skip + PAGE], len(found)

        shown, total = await self.admin.ask(question)
        totals = views.totals(await self.state_for())
        following = address("/in-progress", [], str(skip + PAGE)) if skip + PAGE < total else None
        return self._page(
            "in-progress", "In progress", jobs=shown, total=total, totals=totals, after=given, next=following
        )

    @page("/finished", "[finished jobs](find.md#see-what-was-done), newest first, by conditions")
    async def finished(self) -> Response:
        """Return one page of the jobs in the History that match the conditions in the address."""
        typed, after = conditions(request.args.getlist("where")), _entry("after")
        kept = self.admin.config().history_arguments

        def question(client: Client) -> EndsPage:
            known = self.admin.context()
            meant = finished.read(typed, time.time(), known)
            return finished.page(client, meant, known, after=after, limit=PAGE, limits=_BUDGET)

        found, wrong = await self._ask(question)
        is_kept, off = self.admin.config().history_s is not None, f"{finished.OFF} {finished.SWITCH_ON}"
        following = address("/finished", typed, None if found is None else found.after)
        around = {"first": address("/finished", typed), "next": following, "after": after, "typed": typed}
        values = {"page": found, "wrong": wrong, "is_kept": is_kept, "off": off, "kept": kept, **around}
        values["fields"] = (*finished.FIELDS, *kept)
        head = {"name": "finished", "title": "Finished", "totals": views.totals(await self.state_for())}
        html = await self.shell.page_of_jobs("finished.html", **head, **values)
        return Response(html, 200 if wrong is None else 400)

    @page("/find?q=…", "[search](find.md#find-a-job)")
    async def find(self) -> Response:
        """Return the page of the jobs, in all sets and queues, that contain a text or match a condition."""
        typed = search_word("q")

        def question(client: Client) -> SearchResult:
            known = self.admin.context()
            return search(client, parse_search(conditions([typed]), time.time(), hidden=known.hidden), known, _FIND)

        found, wrong = await self._ask(question) if typed else (None, None)
        values = {"name": "find", "title": "Find jobs", "typed": typed, "found": found, "wrong": wrong, "sets": PATHS}
        return Response(await self.shell.page_of_jobs("find.html", **values), 200 if wrong is None else 400)

    @page("/job?jid=…", "[a timeline](find.md#see-what-happened-to-one-job)")
    async def timeline(self) -> Response:
        """Return the page of one job: where it is, what became of its tries, and who did what with it."""
        jid = search_word("jid")
        if not jid:
            return await self.find()
        found: Timeline = await self.admin.ask(lambda client: explain(client, jid, self.admin.context(), _BOUNDS))
        arguments = [readable(place.entry) for place in found.locations]
        status = 200 if found.locations or found.ends else 404
        values = {"name": "find", "title": f"Job {jid}", "typed": "", "arguments": arguments, "sets": PATHS}
        return Response(
            self.shell.page("timeline.html", timeline=found, life=life.of_timeline(found), **values), status
        )

    @page("/activity", "the [audit log](find.md#see-who-changed-what)")
    async def audit_log(self) -> Response:
        """Return a page of the audit log, newest first: each action once, if it has the word and what was chosen."""
        asked = {name: word for name in ("about", "who", "action", "place", "at") if (word := search_word(name))}
        typed = [f"{name} {'' if name == 'at' else '= '}{word}" for name, word in asked.items() if name != "about"]
        wanted, before = SearchTerms((asked.get("about", ""),), where.read(typed, time.time())), _entry("after")

        def question(client: Client) -> tuple[list[StoredEntry], dict[str, list[str]], str | None]:
            # The actions of the pages before, as far as these are read again.
            newer = audit.entries_after(client, before, and_it=True) if before else ()
            seen = {row.run for row in audit.actions(reversed(newer)) if audit.holds(row, wanted)}
            read = [*audit.entries(client, _MOST_NOTES, before)]
            rows = [row for row in audit.actions(read) if row.run not in seen]
            found = [row for row in rows if audit.holds(row, wanted)]
            end = found[PAGE - 1].name if len(found) > PAGE else read[-1].name if len(read) == _MOST_NOTES else None
            return found[:PAGE], _choices(rows, asked), end

        shown, choices, last = await self.admin.ask(question)
        values = {"notes": shown, "asked": asked, "choices": choices, "times": _TIMES, "after": before}
        following = None if last is None else address("/activity", [], last, **asked)
        first = address("/activity", [], **asked)
        return self._page("activity", "Audit log", next=following, first=first, **values)

    async def _ask(self, question: Callable[[Client], T]) -> tuple[T | None, UsageError | None]:
        """Return the answer, or what is wrong with what was typed."""
        try:
            return await self.admin.ask(question), None
        except UsageError as error:
            return None, of_form(error)

    def _page(self, name: str, title: str, **values: object) -> Response:
        return Response(self.shell.page(f"{name}.html", name=name, title=title, **values))

    def _only_name(self, queue: str) -> str | None:
        """Return the argument by which jobs of this queue take turns; None: there is none, or several."""
        target = self.admin.context().targets.get(queue)
        names = () if target is None or target.fair_by is None else target.fair_by.names
        return names[0] if len(names) == 1 else None

    def _verbs(self, zset: SortedSet) -> list[str]:
        if self.shell.settings.is_read_only:
            return []
        return [verb for verb in VERBS[zset] if verb != "edit"]


def _missing(client: Client, queue: str, known: ConfigContext) -> UsageError | None:
    """Return why there is no page of this queue, which is unknown; None if it is known."""
    if queue in known.targets or is_known(client, queue):
        return None
    try:
        require("queue", queue, {known.name for known in system(client).queues})
    except UsageError as error:
        return error
    return None


def conditions(given: list[str]) -> list[str]:
    """Return the conditions without empty ones; raise `UsageError` for too many, or one that no field can show."""
    typed = [text.strip() for text in given if text.strip()]
    if len(typed) > _MOST_CONDITIONS:
        raise UsageError(f"There are more than {_MOST_CONDITIONS} conditions.", "Give fewer.")
    # It would come back from the page as another one, for which other jobs may be meant.
    if any("\n" in text or filters.plain(text) != text for text in typed):
        raise UsageError("A condition contains an invisible character.", "Give * in its place.")
    return typed


def of_form(wrong: UsageError) -> UsageError:
    """Return the error with an example as a form takes it, instead of one for the command line."""
    return UsageError(wrong.message, _EXAMPLE) if wrong.hint == where.EXAMPLE else wrong


def address(path: str, typed: list[str], after: str | None = None, **more: str) -> str:
    """Return the address of a list's page with these conditions, from the entry `after` on, and `more` parameters."""
    query = [*more.items(), *(("where", text) for text in typed), *([("after", after)] if after else [])]
    return f"{path}?{urlencode(query)}" if query else path


def readable(entry: ShownJob) -> str:
    """Return a job's arguments for people, as indented JSON."""
    # As ASCII: half surrogate pairs, which jobs may hold, do no harm.
    try:
        return json.dumps(entry.arguments, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    except (TypeError, ValueError):
        return "(cannot be shown)"


def _choices(rows: Sequence[StoredEntry], asked: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the values, by field, that most of these actions have, and those that are asked for."""
    counts = {name: Counter(getattr(row.note, name) for row in rows) for name in ("who", "action", "place")}
    common = {name: sorted(value for value, _ in count.most_common(_MOST_CHOICES)) for name, count in counts.items()}
    return {name: [*dict.fromkeys((*values, asked.get(name, "")))] for name, values in {**common, "at": _TIMES}.items()}


def search_word(name: str) -> str:
    """Return what the address searches for; raise `UsageError` if it is too long."""
    word = request.args.get(name, "").strip()
    if len(word) > _WORD_LIMIT:
        raise UsageError("This is too long to search for.", f"Give at most {_WORD_LIMIT} characters.")
    return word


def _entry(name: str) -> str:
    """Return the place in a stream that a page's address names, "" for its beginning; raise `UsageError` otherwise."""
    entry = request.args.get(name, "")
    if entry and finished.PLACE.fullmatch(entry) is None:
        raise UsageError("This place in the list cannot be read.", "Start at the list's first page.")
    return entry
