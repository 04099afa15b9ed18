"""`restbroker explain JID`: where a job is or how it ended, what became of its tries, and what people did with it.

Always holds: it changes nothing, and says which places it did not search to the end.
"""

import shlex
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, assert_never

import attrs
import typer

from restbroker.cli import entries
from restbroker.config.core import Config
from restbroker.config.values import duration_text
from restbroker.console import columns, output
from restbroker.console.exits import Exit
from restbroker.console.load_config import load_quietly
from restbroker.console.progress import progress
from restbroker.console.times import local, milliseconds, utc
from restbroker.job.auth import NEVER_EDITED
from restbroker.job.crashes import crash_text
from restbroker.job.json_types import Json
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.explain import TOLD, HistoryExtent, Location, NotFound, Receipts, Timeline, not_found
from restbroker.operate.explain import explain as find_timeline
from restbroker.operate.find import SearchLimits
from restbroker.operate.follow import SENT
from restbroker.operate.job import CHECK_FIRST, Refusal, retry_options
from restbroker.operate.names import nearest
from restbroker.operate.order_wait import NO_RETRY, OrderWait
from restbroker.operate.walk import FoundEnd, Kind
from restbroker.store.client import Client

_RETRY: Final[Mapping[Kind, tuple[str, str]]] = {
    "dead": ("When the cause is fixed", ""),
    "retry": ("To try it now", ". To stop trying: restbroker retries kill {jid}"),
    "schedule": ("To run it now", ". To cancel it: restbroker scheduled delete {jid}"),
}
"""What a retry of the jobs of a set is for, and what else can be done."""
_UNREADABLE: Final = "BadArguments"
"""The code of a job whose arguments have no form that restbroker reads: neither a retry nor an edit helps."""
_DONE_BEFORE: Final = "AlreadyExists"
"""The code of a job that wanted what is there already: a retry fails again, and most are only to be dropped."""


def explain_job(jid: str, config: Path | None, *, jobs: int, seconds: int, as_json: bool) -> None:
    """Print the timeline of a job; end with 1 if it is nowhere."""
    settings = load_quietly(config)
    with open_store(settings) as client, progress(client):
        timeline = find_timeline(client, jid, context_of(settings), SearchLimits(seconds=seconds, jobs=jobs))
        found = not_found(client, settings) if not timeline.locations and not timeline.ends else None
    if as_json:
        searched: list[Json] = [{"label": place, "jobs": jobs} for place, jobs in timeline.looked_at.items()]
        more = {} if found is None else {"not_found": {"searched": searched, **attrs.asdict(found)}}
        output.as_json(_as_json(timeline) | more)
    else:
        fair = {queue for target in settings.targets if target.fair_by is not None for queue in target.queues}
        _tell(timeline, settings.queues, fair)
    for refused in timeline.refused:
        output.say(f"note: {refused}")
    for where in timeline.unseen:
        output.say(f"note: not searched to the end: {where}. --jobs and --seconds extend the search.")
    if found is not None:
        if timeline.refused:
            output.say(_NOT_SEEN.format(jid=jid))
        if not as_json:
            _print_not_found(timeline, found)
        raise typer.Exit(Exit.FAILED)


def situation(client: Client, jid: str, settings: Config) -> Iterator[str]:
    """Yield where a job is, or how it ended, and what can be done, if it is found within two seconds."""
    limits = SearchLimits(seconds=2.0, jobs=2000, ends=2000, notes=1)
    timeline = find_timeline(client, jid, context_of(settings), limits)
    for place in timeline.locations[:1]:
        failed = ": ".join(text for text in (place.entry.error_class, place.entry.message) if text)
        yield _where(place) + (f" It failed: {failed}" if failed else "")
        yield from _hints(place, timeline, settings.queues)
    if not timeline.locations:
        yield from (f"It ended: {_end_text(end)}" for end in timeline.ends[:1])


_NOT_SEEN: Final = "The job {jid} was not found in any place that could be read."


def _tell(timeline: Timeline, queues: Collection[str], fair: Collection[str]) -> None:
    """Print the timeline. `fair`: those of `queues` that are served fairly."""
    if timeline.ends:
        vain = (("asked in vain", f"It {end.ending.unmet}.") for end in timeline.ends if end.ending.unmet)
        columns.rows(("", ""), [*(("ended", _end_text(end)) for end in timeline.ends), *vain])
    for place in timeline.locations:
        if sys.stdout.isatty():
            output.data(_where(place), "")
            columns.rows(("", ""), list(entries.properties(place.entry)))
        else:
            columns.rows(("", ""), [("where", _where(place)), *entries.properties(place.entry)])
        for line in _hints(place, timeline, queues):
            output.say(line)
        if place.kind == "queue" and place.line is None and place.name in fair:
            output.say("It is in the list: keys take turns once a broker has looked at it.")
    _print_receipts(timeline.receipts)
    acts = [
        ("changed by", f"{local(act.at_s)}  {act.note.who}  {act.note.action} ({act.note.place})")
        for act in timeline.acts
    ]
    if acts:
        columns.rows(("", ""), acts)


def _print_receipts(found: Receipts) -> None:
    if not (found.receiver or found.told):
        return
    rows = [
        (TOLD[told.words["type"] or ""], f"{local(told.at_s)}  {told.words['from']}  {found.warning(told)}".rstrip())
        for told in found.told
    ]
    columns.rows(("", ""), rows or [(TOLD["receipt"], "nobody, as far as the recent events tell")])
    reach = "none" if found.since_s is None else f"back to {local(found.since_s)}"
    output.say(f"Recent events: {reach}. A receipt that is missing says nothing.")
    if not found.receiver:
        output.say("It went to a room, or to whom is not known here: anyone may send a receipt for an id they know.")


def _end_text(end: FoundEnd) -> str:
    one = end.ending
    words = (
        local(end.at_s),
        one.outcome,
        one.code or "",
        "" if one.status is None else f"status {one.status}",
        milliseconds(one.took_ms) if one.took_ms else "",
        f"{one.command} ({one.target})",
    )
    return "  ".join(word for word in words if word)


def _where(place: Location) -> str:
    entry = place.entry
    match place.kind:
        case "queue":
            before = "the next to be taken" if not place.ahead else f"{place.ahead} before it"
            line, order = place.line, place.order
            if order is not None and order.place:
                return f"It waits in the queue {place.name}, {order.place} of the key {order.key}."
            if line is not None:
                of = f" of {line.key}" if line.key else " without a key"
                keys = "1 key waits" if line.keys == 1 else f"{line.keys:,} keys wait"
                before = f"number {line.number:,} of {line.jobs:,}{of}, {keys}; {before}"
            return f"It waits in the queue {place.name}: {before}."
        case "in progress":
            since = "" if place.since_s is None else f" since {local(place.since_s)}"
            if place.hindrance is not None:
                return f"It waits for its target, in the process {place.name}{since}."
            return f"The process {place.name} has it in progress{since}."
        case "retry":
            return f"It waits for its next try at {local(entry.at_s)}."
        case "schedule" if entry.crash_wait_s is not None:
            return f"It {entry.crash_text}, until {local(entry.at_s)}."
        case "schedule":
            return f"It is scheduled for {local(entry.at_s)}."
        case "dead":
            return f"It died at {local(entry.at_s)}: it stays dead until someone retries or deletes it."
        case _:
            assert_never(place.kind)


def _hints(place: Location, timeline: Timeline, queues: Collection[str]) -> Iterator[str]:
    if place.order is not None:
        yield place.order.text(local)
        yield from place.order.next_steps
    if place.twin is not None:
        yield place.twin.text
    if place.entry.crashes:
        unsafe = "" if place.entry.repeat_safe else ", or more often than UncertainRetries allows (Uncertain)"
        after = f"it is tried again, later after each, and dies after six in all (Poison){unsafe}."
        yield f"It {crash_text(place.entry.crashes)}: {after}"
    yield from place.pause_texts
    if place.kind != "dead" and (expires_at_s := place.entry.expires_at_s) is not None:
        is_over = expires_at_s <= time.time()
        then = "It expired at {}: restbroker will not send it." if is_over else "restbroker does not send it after {}."
        yield then.format(local(expires_at_s))
    if place.kind == "queue" and place.serving is None:
        meant = None if place.name in queues else nearest(place.name, queues)
        may = "" if meant is None else f" Did its producer mean {meant}?"
        yield f"No running restbroker serves the queue {place.name}.{may}"
    elif place.hindrance is not None:
        is_sent = place.kind == "in progress" and place.since_s is not None
        yield f"{'Its target gets no jobs now' if is_sent else 'It waits'}: {place.hindrance}"
    queue = place.entry.queue
    if place.kind in ("retry", "schedule", "dead") and queue is not None and queue not in queues:
        yield f"No target of this configuration serves its queue {queue}: --foreign-queues pushes it there anyway."
    yield from _next_steps(place, timeline, queues)


def _next_steps(place: Location, timeline: Timeline, queues: Collection[str]) -> Iterator[str]:
    """Yield what a person can do with the job, by the rules that then let it through."""
    code, is_dead, jid = place.entry.error_class, place.kind == "dead", shlex.quote(timeline.jid)
    command = entries.COMMANDS.get(place.kind)
    if command is None:
        return
    options = retry_options(place.entry)
    if isinstance(options, Refusal):
        yield f"{options.why} To delete it: restbroker {command} delete {jid}"
        return
    unsafe = " --repeat-unsafe" if "unsafe" in options else ""
    if is_dead and code in NEVER_EDITED:
        yield (
            "A retry works only if this broker accepts its token by then. Otherwise delete it, and push it again with "
            "a valid token."
        )
    elif is_dead and code == _UNREADABLE:
        yield f"It can only be deleted: restbroker dead delete {jid}. Push it again in the form above."
    elif not (is_dead and (code == _DONE_BEFORE or place.order is not None)):
        # `keys retry` retries the one that stopped a key, which is named already.
        when, then = _RETRY[place.kind]
        when = f"{CHECK_FIRST} If it was not" if unsafe else when
        yield f"{when}: restbroker {command} retry {jid}{options}{then.format(jid=jid)}"
    if place.entry.queue in queues and not place.entry.is_signed and code not in {*NEVER_EDITED, _UNREADABLE}:
        verb = f"restbroker {command} edit {jid}"
        yield f"To change its arguments and run it: {verb} NAME=VALUE --retry{unsafe}"
    if is_dead and (code == _DONE_BEFORE or code not in NO_RETRY):
        yield f"To drop it: restbroker dead delete {jid}"


def _place_json(place: Location) -> dict[str, Json]:
    fields: dict[str, Json] = attrs.asdict(place)
    del fields["entry"], fields["since_s"]
    since = None if place.since_s is None else utc(place.since_s)
    order = None if place.order is None else _order_json(place.order)
    return {**fields, "order": order, "since": since, "job": entries.all_fields(place.entry)}


def _order_json(order: OrderWait) -> dict[str, Json]:
    fields: dict[str, Json] = attrs.asdict(
        order, filter=lambda field, _: field.name not in ("at_s", "is_hopeless", "more", "options")
    )
    return {**fields, "at": None if order.at_s is None else utc(order.at_s), "next_steps": list(order.next_steps)}


def _as_json(timeline: Timeline) -> dict[str, Json]:
    acts: list[Json] = [
        {"when": utc(act.at_s), "who": act.note.who, "action": act.note.action, "place": act.note.place}
        for act in timeline.acts
    ]
    ends: list[Json] = [entries.of_end(end) for end in timeline.ends]
    found = timeline.receipts
    return {
        "jid": timeline.jid,
        "places": list(map(_place_json, timeline.locations)),
        "ends": ends,
        "acts": acts,
        "told": [
            {"when": utc(told.at_s), "id": told.id, "warning": found.warning(told), **told.words} for told in found.told
        ],
        "told_since": None if found.since_s is None else utc(found.since_s),
        "unseen": list(timeline.unseen),
        "refused": list(timeline.refused),
    }


def _print_not_found(timeline: Timeline, found: NotFound) -> None:
    """Print the places that were searched, and where the job may be; `timeline` has neither a place nor an end."""
    columns.rows(("SEARCHED", "JOBS"), [(place, str(jobs)) for place, jobs in timeline.looked_at.items()])
    for line in _not_found_lines(timeline, found):
        output.say(line)


def _not_found_lines(timeline: Timeline, found: NotFound) -> Iterator[str]:
    last = timeline.acts[0].note if timeline.acts else None
    if last is not None and last.action == "delete":
        yield f"{last.who} deleted the job {timeline.jid}."
        if last.place == "dead":
            yield f"To put it back: restbroker dead restore {timeline.jid}"
        return
    if timeline.unseen:
        yield f"The job {timeline.jid} was not found. Not every place was searched to the end: it may still be in one."
    elif not timeline.refused:
        yield (
            f"The job {timeline.jid} is in none of these places: it was delivered or deleted, it expired, it was a"
            ' duplicate, it failed and its own "dead": false discarded it, or it was never pushed here.'
        )
        if last is None or last.action not in SENT:
            yield f"If it died and Sidekiq trimmed the dead set: restbroker dead restore {timeline.jid}"
    if found.namespaces:
        names = ", ".join(name or "none" for name in found.namespaces)
        yield f"Other namespaces on this Redis have queues ({names}): RedisNamespace chooses the one that is searched."
    yield from _history_text(found.history)
    yield (
        "The log of the broker (LogLevel info, the default) has a line job.failed for each accepted job that died,"
        " and with LogLevel debug one for each delivered job. Refused jobs (for their form or token) are counted there:"
        " only the first with its code in ten seconds has a line."
    )


def _history_text(kept: HistoryExtent) -> Iterator[str]:
    if kept.for_s is None:
        yield 'restbroker does not record how jobs end. With "History": "24h" in env.json it does, for a day.'
    elif kept.since_s is None:
        yield "History is on, but nothing has been recorded yet."
    else:
        oldest = f"the oldest of {kept.ends:,} is of {local(kept.since_s)}"
        yield f"Finished jobs are recorded for {duration_text(kept.for_s)}; {oldest}."
