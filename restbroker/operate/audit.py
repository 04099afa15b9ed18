"""The audit log: each action of a person is written down before it begins and while it goes on.

Called by `operate.act` and all other code that changes something for a person; read by `restbroker audit`,
`operate.explain` and the pages. Always holds: nothing is done without an entry, since the first one is written before;
so an action that a crash cut short has an entry `begun` and none that ends it. How far it came is written after what
was done: an entry before it would claim what was not. No entry holds a secret: the writers leave them out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, Self, TypeAlias, get_args

import attrs

from restbroker.errors import StoreRefused, StoreUnavailable
from restbroker.job.hiding import EXCERPT_LIMIT, text
from restbroker.light import define, frozen
from restbroker.operate import where
from restbroker.operate.where import Condition, SearchTerms, parse_search
from restbroker.store import audit as store
from restbroker.store.client import Client

State: TypeAlias = Literal["begun", "going on", "ended", "interrupted", "done"]
"""The state of an action. `done`: the whole of a small action, in one entry; the others are of one that has several."""
MOST_JIDS: Final = 100
"""The most job ids in one entry."""
MOST_BEHIND: Final = 1000
_PAGE: Final = 200
_RUN_PAGE: Final = 1000
_RUN_PAGES: Final = 10
"""So many pages after its beginning an action's entries are searched for: others may write meanwhile."""
_FIELDS: Final = ("who", "action", "place", "where", "why", "state", "done", "refused", "gone", "at")
_STATES: Final[Mapping[str, State]] = {state: state for state in get_args(State)}


@frozen(kw_only=True)
class AuditEntry:
    """One entry of the audit log. `place` is a set, `queue:NAME`, `target:NAME` or `process:NAME`.

    `run` is the name of the action's first entry, "" in that entry itself. `where`: the conditions, `all`, or how many
    jobs were named. `done`, `refused`, `gone`: numbers of jobs so far. `jids`: ids of the jobs that were done since the
    last entry. `changes`: what an edit changed in the first jobs, with secrets masked. `left`: which keys stay stopped,
    and how many jobs stayed, by reason.
    """

    who: str
    action: str
    place: str
    where: str = ""
    state: State = "done"
    done: int = 0
    refused: int = 0
    gone: int = 0
    why: str = ""
    run: str = ""
    jids: tuple[str, ...] = ()
    changes: str = ""
    left: str = ""

    @property
    def counts(self) -> bool:
        """Whether the entry counts jobs: one about a pause does not."""
        return self.state != "done" or bool(self.done or self.refused or self.gone)

    @property
    def is_over(self) -> bool:
        """Whether the action has ended. An interrupted action may go on."""
        return self.state in ("ended", "done")


@frozen
class StoredEntry:
    """An entry with its name in the log and its time, `at_s`, by Redis' clock (epoch seconds)."""

    name: str
    at_s: float
    note: AuditEntry

    @property
    def run(self) -> str:
        """The name of the first entry of the same action."""
        return self.note.run or self.name


def write(client: Client, note: AuditEntry) -> str:
    """Write the entry; return its name, which is the `run` of the action's later entries.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    shown = {
        name: text(value, (), EXCERPT_LIMIT) for name, value in attrs.asdict(note).items() if isinstance(value, str)
    }
    numbers = {"done": note.done, "refused": note.refused, "gone": note.gone}
    words = {name: word for name, word in shown.items() if word}
    return store.append(client, {**words, **numbers, "jids": _join(note.jids)})


def begin(client: Client, note: AuditEntry) -> str:
    """Write an action's first entry, before anything is changed; return its name.

    Raise `StoreUnavailable` or `StoreRefused`, which says that nothing was changed.
    """
    try:
        return write(client, note)
    except (StoreUnavailable, StoreRefused) as error:
        raise type(error)(f"{error.message} Nothing was changed.", error.hint) from error


def request_stop(client: Client, run: str, who: str) -> None:
    """Have the action that began with this entry stop after its batch. Raise `StoreUnavailable` or `StoreRefused`."""
    store.set_stop(client, run, who)


def stopped_by(client: Client, run: str) -> str | None:
    """Return who stopped this action; None if no one did. Raise `StoreUnavailable` or `StoreRefused`."""
    return store.stop_of(client, run)


@define(eq=False)
class AuditedAction:
    """An action with several entries: `with` writes that it began, and at its end its `state` and how much is `done`.

    Entering raises `StoreUnavailable` or `StoreRefused`; then nothing is to be done.
    """

    client: Client
    entry: AuditEntry
    state: State = "interrupted"
    done: int = 0

    def __enter__(self) -> Self:
        begun = attrs.evolve(self.entry, state="begun")
        self.entry = attrs.evolve(begun, run=begin(self.client, begun))
        return self

    def write_progress(self) -> None:
        """Write how much is done so far. Raise `StoreUnavailable` or `StoreRefused`."""
        write(self.client, attrs.evolve(self.entry, state="going on", done=self.done))

    def __exit__(self, *_: object) -> None:
        # An outage of Redis is told by what ended it.
        with suppress(StoreUnavailable, StoreRefused):
            write(self.client, attrs.evolve(self.entry, state=self.state, done=self.done))


def entries_after(client: Client, name: str, *, and_it: bool = False) -> Sequence[StoredEntry]:
    """Return the entries after the one called `name`, oldest first, at most `MOST_BEHIND`; "": from the beginning.

    With `and_it` that one comes first. Raise `StoreUnavailable` or `StoreRefused`.
    """
    page = store.entries_after(client, MOST_BEHIND, f"{'' if and_it else '('}{name}" if name else "-")
    return [StoredEntry(entry.name, entry.at_s, _read_entry(entry)) for entry in page]


def _join(jids: Sequence[str]) -> str:
    return " ".join(text(jid, (), 64).replace(" ", "_") for jid in jids[:MOST_JIDS])


def entries(client: Client, limit: int, before: str = "") -> Iterator[StoredEntry]:
    """Yield at most `limit` entries, newest first; with `before`, only those older than the entry with this name.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    while limit > 0:
        page = store.newest(client, min(_PAGE, limit), before)
        yield from (StoredEntry(entry.name, entry.at_s, _read_entry(entry)) for entry in page)
        if len(page) < min(_PAGE, limit):
            return
        limit, before = limit - len(page), page[-1].name


def actions(entries: Iterable[StoredEntry]) -> list[StoredEntry]:
    """Return the newest entry of each action, with the job ids of all its entries; `entries` come newest first."""
    rows: dict[str, StoredEntry] = {}
    for written in entries:
        newest = rows.get(written.run)
        if newest is not None:
            note = attrs.evolve(newest.note, jids=written.note.jids + newest.note.jids)
            written = attrs.evolve(newest, note=note)  # noqa: PLW2901 - it takes its place
        rows[written.run] = written
    return [*rows.values()]


def read_terms(typed: Sequence[str], now_s: float) -> SearchTerms:
    """Return the texts and conditions that were typed. Raise `UsageError` for a field that no entry has."""
    wanted = parse_search(typed, now_s) if typed else SearchTerms((), ())
    hint = "A queue is place = queue:NAME; a text with an operator needs quotes."
    where.require_fields(wanted.where, _FIELDS, "The audit log has", hint)
    return wanted


def holds(written: StoredEntry, wanted: SearchTerms) -> bool:
    """Tell whether an entry has all texts, in upper or lower case, and all conditions hold for it."""
    note = written.note
    values = (written.at_s if term.field == "at" else getattr(note, term.argument or "") for term in wanted.where)
    said = (note.who, note.action, note.place, note.where, note.why, *note.jids)
    return all(map(Condition.holds, wanted.where, values)) and all(
        any(word.casefold() in text.casefold() for text in said) for word in wanted.texts
    )


def of_run(client: Client, name: str) -> Sequence[StoredEntry]:
    """Return the entries of the action that began with this one, oldest first; none if it is no longer in the log.

    Raise `StoreUnavailable` or `StoreRefused`.
    """
    found: list[StoredEntry] = []
    page = store.entries_after(client, _RUN_PAGE, name)
    if not page or page[0].name != name:
        return found
    for _ in range(_RUN_PAGES):
        for entry in page:
            note = _read_entry(entry)
            if name in (entry.name, note.run):
                found.append(StoredEntry(entry.name, entry.at_s, note))
            if found[-1].note.is_over:
                return found
        if len(page) < _RUN_PAGE:
            break
        page = store.entries_after(client, _RUN_PAGE, f"({page[-1].name}")
    return found


def _read_entry(entry: store.AuditRecord) -> AuditEntry:
    fields = entry.fields
    words = {
        name: fields.get(name, "") for name in ("who", "action", "place", "run", "where", "why", "changes", "left")
    }
    done, refused, gone = (_number(fields.get(name, "")) for name in ("done", "refused", "gone"))
    state, jids = _STATES.get(fields.get("state", ""), "done"), tuple(fields.get("jids", "").split())
    return AuditEntry(**words, state=state, done=done, refused=refused, gone=gone, jids=jids)


def _number(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 15 else 0
