"""Pages that only show: search results, jobs in progress, periodic commands, a job's timeline, the audit log.

`web.site` serves them. Always holds: viewing changes nothing; each page reads no more than its bounds allow, and says
so if there is more; neither tokens nor secret arguments of jobs are shown.
"""

import re
import time
from typing import Final

import attrs
from quart import Response, request

from restbroker.errors import UsageError
from restbroker.job import hiding
from restbroker.job.hiding import Spellings
from restbroker.operate import audit, processes
from restbroker.operate.audit import StoredEntry
from restbroker.operate.explain import Timeline, explain
from restbroker.operate.job_search import SearchLimits
from restbroker.operate.periodic import Periodic, list_periodic
from restbroker.operate.request import periodic_requests
from restbroker.operate.search import SearchResult, search
from restbroker.operate.where import parse_search
from restbroker.store.client import Client
from restbroker.web.connection import AdminConnection
from restbroker.web.sets import PAGE, SETS, address, conditions, of_form, readable
from restbroker.web.shell import Shell

_BOUNDS: Final = SearchLimits(seconds=2.0, jobs=5000, copies=2000, notes=2000, gives_way=True)
_FIND: Final = SearchLimits(seconds=2.0, jobs=10_000, copies=2000, ends=100_000, hits=10, gives_way=True)
_NOTES: Final = 2000
"""How many entries are read for one page of those that contain a word."""
_ENTRY: Final = re.compile(r"\d{1,15}-\d{1,15}", re.ASCII)
_SKIP: Final = re.compile(r"\d{1,6}", re.ASCII)
_WORD_LIMIT: Final = 200


@attrs.frozen
class WorkRow:
    """A job in progress: since when (epoch seconds), and as which `thread` of which process."""

    at_s: float
    name: str
    queue: str
    jid: str | None
    process: str
    thread: str
    may_be_cancelled: bool


@attrs.frozen(eq=False)
class JobPages:
    """The views that only show."""

    admin: AdminConnection
    shell: Shell

    async def in_progress(self) -> Response:
        """Return the page of the jobs that all processes have in progress, the longest first."""
        given = request.args.get("after", "")
        skip = int(given) if _SKIP.fullmatch(given) else 0

        def question(client: Client) -> tuple[list[WorkRow], int]:
            secrets = self.admin.context().secrets
            found = sorted(_jobs_in_progress(client), key=lambda one: one.at_s)
            # Ruby's processes hide nothing.
            return [_without(one, secrets) for one in found[skip : skip + PAGE]], len(found)

        shown, total = await self.admin.ask(question)
        more = str(skip + PAGE) if skip + PAGE < total else None
        following = address("/in-progress", [], more)
        return self._page(
            "in-progress",
            "In progress",
            jobs=shown,
            total=total,
            after=given,
            more=more,
            next=following,
            template="in-progress",
        )

    async def periodic(self) -> Response:
        """Return the page of the periodic commands: when each is due next, and what became of the last time."""

        def question(client: Client) -> list[Periodic]:
            return list_periodic(client, [*periodic_requests(self.admin.config())], self.admin.context())

        return self._page("periodic", "Periodic commands", commands=await self.admin.ask(question))

    async def find(self) -> Response:
        """Return the page of the jobs, in all sets and queues, that contain a text or match a condition."""
        typed, found, wrong = request.args.get("q", "").strip(), None, None

        def question(client: Client) -> SearchResult:
            known = self.admin.context()
            return search(client, parse_search(conditions([typed]), time.time(), hidden=known.hidden), known, _FIND)

        try:
            found = await self.admin.ask(question) if _word("q") else None
        except UsageError as error:
            wrong = of_form(error)
        sets = {zset: name for name, zset in SETS.items()}
        values = {"name": "find", "title": "Find jobs", "typed": typed, "found": found, "wrong": wrong, "sets": sets}
        return Response(await self.shell.page_of_jobs("find.html", **values), 200 if wrong is None else 400)

    async def timeline(self) -> Response:
        """Return the page of one job: where it is, what became of its tries, and who did what with it."""
        jid = _word("jid")
        found: Timeline | None = None
        if jid:
            found = await self.admin.ask(lambda client: explain(client, jid, self.admin.context(), _BOUNDS))
        title = f"Job {jid}" if jid else "Find a job"
        arguments = [] if found is None else [readable(place.entry) for place in found.locations]
        sets = {zset: name for name, zset in SETS.items()}
        status = 404 if found is not None and not (found.locations or found.ends) else 200
        return self._page(
            "job", title, status, jid=jid, timeline=found, arguments=arguments, sets=sets, template="timeline"
        )

    async def audit_log(self) -> Response:
        """Return a page of the audit log, newest first: each action once, by its last entry that has the word."""
        word, before = _word("about"), _entry("after")

        def question(client: Client) -> tuple[list[StoredEntry], str | None]:
            shown: list[StoredEntry] = []
            last: str | None = None
            # The actions of the pages before, as far as these are read again.
            newer = audit.entries_after(client, before, and_it=True) if before else ()
            runs = {written.run for written in newer if _says(written, word)}
            for seen, written in enumerate(audit.entries(client, _NOTES, before), start=1):
                if written.run not in runs and _says(written, word):
                    runs.add(written.run)
                    shown.append(written)
                if len(shown) == PAGE or seen == _NOTES:
                    last = written.name
                    break
            return shown, last

        shown, last = await self.admin.ask(question)
        about = {"about": word} if word else {}
        following = address("/audit", [], last, **about)
        first = address("/audit", [], **about)
        return self._page(
            "audit", "Audit log", notes=shown, about=word, after=before, more=last, next=following, first=first
        )

    def _page(self, name: str, title: str, status: int = 200, template: str = "", **values: object) -> Response:
        return Response(self.shell.page(f"{template or name}.html", name=name, title=title, **values), status)


def _jobs_in_progress(client: Client) -> list[WorkRow]:
    return [
        WorkRow(
            at_s=one.job.at_s,
            name=one.name or "",
            queue=one.queue,
            jid=one.job.jid,
            process=process.name,
            thread=one.thread,
            may_be_cancelled=process.is_restbroker,
        )
        for process in processes.processes(client, ())
        for one in process.jobs
    ]


def _without(one: WorkRow, secrets: Spellings) -> WorkRow:
    jid = None if one.jid is None else hiding.mask_secrets(one.jid, secrets)
    return attrs.evolve(one, name=hiding.mask_secrets(one.name, secrets), jid=jid)


def _says(written: StoredEntry, word: str) -> bool:
    note = written.note
    said = (note.who, note.action, note.place, note.where, note.why, *note.jids)
    return any(word.casefold() in one.casefold() for one in said)


def _word(name: str) -> str:
    word = request.args.get(name, "").strip()
    if len(word) > _WORD_LIMIT:
        raise UsageError("This is too long to search for.", f"Give at most {_WORD_LIMIT} characters.")
    return word


def _entry(name: str) -> str:
    """Return the place in a stream that a page's address names, "" for its beginning; raise `UsageError` otherwise."""
    entry = request.args.get(name, "")
    if entry and _ENTRY.fullmatch(entry) is None:
        raise UsageError("This place in the list cannot be read.", "Start at the list's first page.")
    return entry
