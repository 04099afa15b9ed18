"""`restbroker enqueue --chain`: the commands of a file, pushed at once with one order key, done one after the other.

Called by `enqueue`. Always holds: all of them are pushed in one step, or none; a mistake in one of them costs them all;
neither Trio nor an HTTP client is imported.
"""

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Final, NoReturn

import attrs
import typer

from restbroker.bulk import files as bulk_files
from restbroker.bulk import push
from restbroker.bulk import store as bulk
from restbroker.bulk.command import SignalReceived, raise_on_signals
from restbroker.bulk.command_batch import BatchOptions, makers_of, reader_of, require_valid
from restbroker.bulk.command_input import open_input
from restbroker.bulk.command_show import Rejects
from restbroker.bulk.push_jobs import BATCH_DIGITS, jid_of, row_of
from restbroker.bulk.read import BadFile, Table
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.console.times import local
from restbroker.errors import StoreNotNow, StoreRefused, StoreUnavailable, UsageError
from restbroker.job import display, rubyjson
from restbroker.job.fairness import BETWEEN
from restbroker.job.json_types import Json
from restbroker.job.order import key_in
from restbroker.operate import order_wait
from restbroker.operate.connect import open_store
from restbroker.operate.context import context_of
from restbroker.operate.enqueue import find_process_if_known, pause_of
from restbroker.operate.order_wait import OrderWait
from restbroker.store.client import Client

_MOST: Final = 500
_QUEUED: Final[Mapping[str, Json]] = {"outcome": "queued"}
_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
_HELD_S: Final = 2.0
_EXAMPLE: Final = "For example: --order-key bob@example.org"


@attrs.frozen
class Chain:
    """Commands that are to be done one after the other. `raws`: their jobs. `key`: theirs, as order knows it.

    `notes`: why they will wait, in sentences.
    """

    batch: str
    target: Target
    queue: str
    key: str
    raws: Sequence[bytes]
    commands: Sequence[str]
    notes: Sequence[str] = ()

    @property
    def jids(self) -> list[str]:
        """The ids of the jobs."""
        return [jid_of(self.batch, row) for row in range(1, len(self.raws) + 1)]

    @property
    def shown_key(self) -> str:
        """The key for people."""
        return self.key.replace(BETWEEN, " | ")

    def as_json(self, ends: Mapping[int, Mapping[str, Json]] | None) -> dict[str, Json]:
        """Return what is known of it; `ends`: the answers by the rows, None if nobody waits for any."""
        jobs: list[Json] = []
        for row, (jid, command) in enumerate(zip(self.jids, self.commands, strict=True), start=1):
            end: Mapping[str, Json] = {} if ends is None else ends.get(row, _QUEUED)
            jobs.append({**end, "jid": jid, "command": command})
        return {"target": self.target.name, "queue": self.queue, "key": self.shown_key, "jobs": jobs}


def run(settings: Config, options: BatchOptions) -> NoReturn:
    """Push the rows of `options.file` as a chain, or check them with `dry_run`, print their ids, and exit.

    With --wait print what became of each. Exit with 0: pushed, or all done; 7: not all are done; 1: none is; 6: an
    answer did not come in time. Raise `UsageError` if a row, the key or the target cannot be used: nothing was pushed;
    raise `StoreUnavailable` or `StoreRefused`.
    """
    typed = arguments.read(options.argument_words)
    with raise_on_signals(), open_input(options.file, None) as found:
        try:
            table = bulk_files.open_table(found.source)
        except BadFile as error:
            raise UsageError(f"{found.name} {error.why}.", error.hint) from None
        with open_store(settings, 1.0) if options.dry_run else open_store(settings) as client:
            chain = _read(settings, options, typed, client=client, table=table)
            for note in chain.notes:
                output.say(note)
            if options.dry_run:
                _print(chain, None, as_json=options.as_json, dry_run=True)
                raise typer.Exit(Exit.OK)
            _push(client, chain)
            if not options.order.wants_reply:
                _print(chain, None, as_json=options.as_json)
                raise typer.Exit(Exit.OK)
            _wait(client, settings, chain, timeout_s=options.timeout_s, as_json=options.as_json)


def _read(
    settings: Config, options: BatchOptions, typed: arguments.TypedArguments, *, client: Client, table: Table
) -> Chain:
    """Return the chain of the table's rows. Raise `UsageError` if there is a mistake in any of them."""
    batch = secrets.token_hex(BATCH_DIGITS // 2)
    makers = makers_of(
        settings, options, typed, client=client, order=attrs.evolve(options.order, reply_to=bulk.reply_to(batch))
    )
    notes: list[str] = []
    makers.say = notes.append  # said of a chain that can be pushed only
    require_valid(makers, options, table)
    rejects = Rejects(table, None)
    reader = reader_of(makers, options, table, rejects=rejects, batch=batch)
    with closing(rejects):
        chunks = list(reader.chunks())
    if reader.bad:
        what = "1 row is" if reader.bad == 1 else f"{reader.bad} rows are"
        raise UsageError(f"{what} wrong, so nothing was queued.", "A chain is pushed whole; correct its file.")
    if len(chunks) != 1:
        raise UsageError(
            f"A chain is pushed at once: it has at most {_MOST} commands, and 512 KiB.", "Push a shorter one."
        )
    places = {target.name: target for target in settings.targets if target.name in reader.targets}
    if len(places) != 1 or len(chunks[0].jobs) != 1:
        raise UsageError(
            f"The commands of a chain go to one target; these go to {', '.join(places)}.", "Name it with --target."
        )
    ((queue, raws),) = chunks[0].jobs.items()
    (target,) = places.values()
    members = [rubyjson.object_of(raw) or {} for raw in raws]
    key = _key(target, members)
    commands = [display.command_of(fields) or "" for fields in members]
    return Chain(batch, target, queue, key, raws=raws, commands=commands, notes=notes)


def _key(target: Target, members: Sequence[Mapping[str, Json]]) -> str:
    """Return the key of jobs of these members. Raise `UsageError` if they have not one and the same."""
    order = target.order
    if order is None:
        raise UsageError(
            f"The target {target.name} does no jobs in order, so a chain would not wait for anything.",
            f'Write "OrderBy": "order_key" into env.json, where {target.name} is configured, and reload all processes.',
        )
    if order.on_dead != "stop":
        raise UsageError(
            f"If a command of the chain died, the next one would start: {target.name} has not OnDead stop.",
            f'Write "OnDead": "stop" into env.json, where {target.name} is configured, and reload all processes.',
        )
    keys = [key_in(order, fields) for fields in members]
    for line, key in enumerate(keys, start=1):
        if not key and order.names:
            names = ", ".join(order.names)
            raise UsageError(
                f"Command {line} has no order key: {target.name} has OrderBy {names}.", f"Give it text for {names}."
            )
        if not key:
            raise UsageError(f"Command {line} has no order key.", _EXAMPLE)
        if key != keys[0]:
            one, other = (str(text).replace(BETWEEN, " | ") for text in (keys[0], key))
            raise UsageError(
                f"Command {line} has the order key {other}, and the first one {one}.",
                "All commands of a chain have the same: push one chain for each key.",
            )
    return str(keys[0])


def _push(client: Client, chain: Chain) -> None:
    chunk = push.Chunk(last=len(chain.raws), jobs={chain.queue: [*chain.raws]}, rows=len(chain.raws))
    try:
        bulk.read_batch(client, chain.batch)
    except StoreUnavailable as error:
        raise StoreNotNow(f"{error.message} Nothing was queued.", error.hint) from error
    try:
        push.push(client, chain.batch, chunk, before=0, at_s=None)
    except (StoreUnavailable, StoreRefused) as error:
        known = push.read_last_record(client, chain.batch)
        if known is None:
            raise StoreUnavailable(
                f"{error.message} The chain may or may not have been queued; its first job is {chain.jids[0]}.",
                "Look for that job before you push it again: restbroker explain",
            ) from error
        if not known.row and isinstance(error, StoreUnavailable):
            raise StoreNotNow(f"{error.message} Nothing was queued.", error.hint) from error
        if not known.row:
            raise


def _wait(client: Client, settings: Config, chain: Chain, *, timeout_s: float, as_json: bool) -> NoReturn:
    """Wait until all jobs have ended, the chain is stopped, or none has ended for as long as the time-out says."""
    ends: dict[int, Mapping[str, Json]] = {}
    stopped: OrderWait | None = None
    try:
        stopped = _collect(client, settings, chain, ends=ends, timeout_s=timeout_s)
    except SignalReceived as received:
        output.say(_waits_on(client, settings, chain, ends=ends))
        raise typer.Exit(128 + received.number) from None
    except (StoreUnavailable, StoreRefused) as error:
        output.say(f"The chain was queued: do not push it again. restbroker cannot wait for its answers.\n{error}")
    _print(chain, ends, as_json=as_json)
    if stopped is not None:
        left = len(chain.raws) - len(ends)
        output.say(f"{output.jobs(left)} of the chain: held {stopped.behind(local)}.")
        for step in stopped.next_steps:
            output.say(step)
    done = sum(end.get("outcome") == "delivered" for end in ends.values())
    if len(ends) < len(chain.raws) and stopped is None:
        raise typer.Exit(Exit.WAITING)
    if done == len(chain.raws):
        raise typer.Exit(Exit.OK)
    raise typer.Exit(Exit.PARTLY if done else Exit.FAILED)


def _waits_on(client: Client, settings: Config, chain: Chain, ends: Mapping[int, Mapping[str, Json]]) -> str:
    """Return what is true of the jobs that have not ended, for who stops waiting for them."""
    jids = [jid for row, jid in enumerate(chain.jids, start=1) if row not in ends]
    if not jids:
        return "All jobs of the chain have ended."
    held: OrderWait | None = None
    why = ""
    with suppress(StoreUnavailable, StoreRefused):
        held = order_wait.of_key(client, context_of(settings), chain.target, chain.key, jid=None)
        why = _hindrance(client, chain)
    is_own = held is None or row_of(chain.batch, held.jid) is not None
    what = output.jobs(len(jids))
    were, go, wait = ("was", "goes", "waits") if len(jids) == 1 else ("were", "go", "wait")
    then = f"{go} on"
    if held is not None and (held.state == "stopped" or not is_own):
        then = f"{wait}, held {held.behind(local)}"
    elif why:
        then = f"{wait}: {why.splitlines()[0]}"
    return f"{what} {were} queued and {then.removesuffix('.')}. `restbroker explain {jids[0]}` says more."


def _hindrance(client: Client, chain: Chain) -> str:
    """Return why no job of the chain is done now; "" if nothing is known of it. Raise `StoreUnavailable`."""
    if (paused := pause_of(client, chain.queue, chain.target.name)) is not None:
        return f"{paused.text} Resume it: {paused.resume_command}"
    found = find_process_if_known(client, chain.queue)
    if found is None:
        return f"No running process serves the queue {chain.queue}."
    return f"The server gets no jobs now: {found.hindrance}" if found.hindrance else ""


def _collect(
    client: Client, settings: Config, chain: Chain, *, ends: dict[int, Mapping[str, Json]], timeout_s: float
) -> OrderWait | None:
    """Put the answers into `ends` as they come, by the rows. Return what stopped the chain; None if nothing did."""
    known, ended_s, pause_s, is_told = context_of(settings), time.monotonic(), _PAUSE_S, False
    is_why_told, why = bool(chain.notes), ""
    while True:
        came = _answers(client, chain)
        ends |= came
        if len(ends) == len(chain.raws):
            return None
        silent_s = time.monotonic() - ended_s
        is_late = silent_s >= timeout_s
        failed = any(end.get("outcome") != "delivered" for end in came.values())
        if failed or is_late or (silent_s >= _HELD_S and not is_told):
            held = order_wait.of_key(client, known, chain.target, chain.key, jid=None)
            is_own = held is not None and row_of(chain.batch, held.jid) is not None
            if held is not None and is_own and held.state == "stopped":
                return held
            if held is not None and not is_own and not is_told:
                output.say("\n".join((f"The chain is held {held.behind(local)}.", *held.next_steps)))
                is_told = True
            why = _hindrance(client, chain)
            if why and not is_why_told:
                output.say(why)
                is_why_told = True
        if is_late:
            then = "" if held is None or not is_own else f" Its next command is held {held.behind(local)}."
            waits = "it waits" if why or (held is not None and not is_own) else "it goes on"
            output.say(f"No answer for {duration_text(timeout_s)}.{then} Do not push it again: {waits}.")
            return None
        if came:
            ended_s, pause_s = time.monotonic(), _PAUSE_S
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def _answers(client: Client, chain: Chain) -> dict[int, Mapping[str, Json]]:
    """Take the answers that have come out of Redis; print those that are no success."""
    replies = bulk.answers(client, chain.batch, _MOST)
    came: dict[int, Mapping[str, Json]] = {}
    for raw in replies:
        details = rubyjson.object_of(raw) or {}
        row = row_of(chain.batch, details.get("jid"))
        if row is not None:
            came[row] = details
    codes: list[tuple[int, str]] = []
    for row in sorted(came):
        end = push.read_reply(row, came[row])
        codes.append((row, end.code))
        if end.code:
            output.say(f"{chain.commands[row - 1]}: {end.code}: {end.message} (job {end.jid})")
    bulk.count(client, chain.batch, replies, codes)
    return came


def _print(
    chain: Chain, ends: Mapping[int, Mapping[str, Json]] | None, *, as_json: bool, dry_run: bool = False
) -> None:
    """Print the ids of the jobs; with `ends` a line for each with its outcome too."""
    if as_json:
        output.as_json({**chain.as_json(ends), "dry_run": dry_run})
    elif dry_run:
        commands = "1 command" if len(chain.raws) == 1 else f"{len(chain.raws)} commands"
        output.say(f"{commands} of the key {chain.shown_key} would go to the queue {chain.queue}.")
    elif ends is None:
        for jid in chain.jids:
            output.data(jid)
    else:
        rows = [
            (jid, command, str(ends.get(row, _QUEUED).get("outcome")))
            for row, (jid, command) in enumerate(zip(chain.jids, chain.commands, strict=True), start=1)
        ]
        output.table(("JID", "COMMAND", "OUTCOME") if sys.stdout.isatty() else (), rows)
