"""`restbroker enqueue`: push one command into the queue, and with --wait print the server's answer.

Always holds: neither Trio nor an HTTP client is imported, so that it may stand in a shell loop; nothing is pushed if
the command line has a mistake in it.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import attrs
import typer

from restbroker.cli.enqueue_wait import AnswerWait, print_answer, require_report
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, completion, output, panels
from restbroker.console.exits import Exit
from restbroker.console.load_config import ConfigOption, load_quietly
from restbroker.console.options import (
    AnswerOption,
    AnyOption,
    AtOption,
    BulkDryRunOption,
    BulkRateOption,
    InOption,
    JsonOption,
    TargetOption,
    TimeoutOption,
)
from restbroker.console.order import fit_arguments, join_command_words, signatures_of, target_of, token_of
from restbroker.console.times import at_s, duration_s, local
from restbroker.errors import StoreUnavailable, UsageError
from restbroker.job import claims
from restbroker.job.claims import Lock
from restbroker.job.command import Command
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import JobRequest, ServingProcess, find_process_if_known, pause_of, push

app = typer.Typer(add_completion=False)

CommandWord = Annotated[
    str,
    typer.Argument(metavar="COMMAND", help="The server's command, e.g. register.", autocompletion=completion.commands),
]
ArgumentWords = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ARGUMENT]...",
        help="NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input.",
        autocompletion=completion.plain_words,
    ),
]
OkIfExists = Annotated[
    bool, typer.Option("--ok-if-exists", help="Count it as done if it was done before.", rich_help_panel=panels.WHAT)
]

# For many jobs at once.
BulkOption = Annotated[
    Path | None,
    typer.Option(
        "--bulk",
        metavar="FILE",
        autocompletion=completion.paths,
        help="Push one job for each row: CSV or NDJSON; - is standard input.",
        rich_help_panel=panels.BULK,
    ),
]
ConstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--const", metavar="NAME=TEXT", help="With --bulk: an argument for all rows.", rich_help_panel=panels.BULK
    ),
]
RejectsOption = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        autocompletion=completion.paths,
        help="With --bulk: write invalid rows to this file.",
        rich_help_panel=panels.BULK,
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        autocompletion=completion.paths,
        help="With --bulk: where to note the progress. [default: beside the input]",
        rich_help_panel=panels.BULK,
    ),
]
AgainOption = Annotated[
    bool,
    typer.Option("--again", help="With --bulk: also push rows that were pushed before.", rich_help_panel=panels.BULK),
]

_OF_EACH_ROW = "-"
"""Stands for the keys of a file's rows."""


@app.command()
def enqueue(
    command: CommandWord,
    words: ArgumentWords = None,
    target: TargetOption = None,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue",
            metavar="QUEUE",
            help="Another queue than the target's first one.",
            autocompletion=completion.queues,
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    delay: InOption = None,
    at: AtOption = None,
    expire: Annotated[
        str | None,
        typer.Option(
            "--expire",
            metavar="DURATION",
            help="Drop it unless it is sent within this time, e.g. 5m, 2h, after the push, or after --in or --at.",
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    unique: Annotated[
        str | None,
        typer.Option(
            "--unique",
            metavar="KEY",
            help="Queue nothing if a job with this key is queued already; needs --unique-for.",
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    unique_for: Annotated[
        str | None,
        typer.Option(
            "--unique-for",
            metavar="DURATION",
            help="How long the key counts at most, e.g. 10m, after the push, or after --in or --at. With --bulk, keys "
            "are in the column _unique.",
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--unique-until",
            metavar="WHEN",
            help="The key counts until the job's success (or death; the default), start, or end of --unique-for.",
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    fail_if_queued: Annotated[
        bool,
        typer.Option(
            "--fail-if-queued", help="With --unique: exit with 7 if it is queued already.", rich_help_panel=panels.WHAT
        ),
    ] = False,
    fair_key: Annotated[
        str | None,
        typer.Option(
            "--fair-key",
            metavar="KEY",
            help='The key by which it takes turns in its queue, with FairBy "fair_key". With --bulk: of rows without '
            "one in the column _fair_key.",
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    order_key: Annotated[
        str | None,
        typer.Option(
            "--order-key",
            metavar="KEY",
            help='Jobs with one such key are done one after the other, with OrderBy "order_key".',
            rich_help_panel=panels.WHAT,
        ),
    ] = None,
    retry: Annotated[
        str,
        typer.Option(
            "--retry",
            metavar="N",
            help="How often to try again: a number, true (25) or false.",
            rich_help_panel=panels.WHAT,
        ),
    ] = "true",
    reply_id: Annotated[
        str | None,
        typer.Option(help="The id to send back with the answer on the response queue.", rich_help_panel=panels.ANSWER),
    ] = None,
    ok_if_exists: OkIfExists = False,
    any_command: AnyOption = False,
    bulk: BulkOption = None,
    const: ConstOption = None,
    rejects: RejectsOption = None,
    rate: BulkRateOption = None,
    state: StateOption = None,
    again: AgainOption = False,
    wait_for_answer: AnswerOption = False,
    timeout: TimeoutOption = "30s",
    dry_run: BulkDryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Queue one command for the server and print the job's id; with --wait, print the answer.

    Strings become integers and lists where the command takes these. With --bulk each row of a file becomes a job; with
    the command - each row names its own command, and rows come from standard input unless --bulk names a file. Exits
    with 0: done; 1: the server refused, or the job died; 2: wrong command line or configuration, nothing was queued; 3:
    Redis is unreachable; 4: the token, the login or the command was not accepted; 6: the job is queued, but its answer
    did not come in time or could not be read or printed, so do not push it again: `restbroker explain JID` shows what
    happened to it; 7: some rows of a file failed, or --fail-if-queued; 130: Ctrl-C while waiting, still queued.
    """
    if command == "-" and bulk is None:
        bulk = Path("-")
    settings = load_quietly(config)
    command, given = join_command_words(settings.targets, command, words or [])
    wait_s, due_s = duration_s("--timeout", timeout), at_s(delay, at)
    lasting = _lock(unique, unique_for, until, fail_if_queued=fail_if_queued, is_bulk=bulk is not None)
    order = partial(
        JobRequest,
        retry=_retry(retry),
        reply_id=reply_id,
        wants_reply=wait_for_answer,
        ok_if_exists=ok_if_exists,
        at_s=due_s,
        expire_s=None if expire is None else duration_s("--expire", expire),
        fair_key=_key("--fair-key", fair_key),
        order_key=_key("--order-key", order_key),
    )
    if fair_key is not None:
        _note_vain_key(settings.targets if command == "-" else [target_of(settings.targets, target, queue, command)])
    if bulk is not None:
        from restbroker.bulk.command import run
        from restbroker.bulk.command_batch import BatchOptions

        common = order(command, {}, "", settings.tokens[0], lock=lasting)
        asked = BatchOptions(
            command=command,
            argument_words=[*given, *(const or [])],
            file=bulk,
            order=common,
            target=target,
            queue=queue,
            any_command=any_command,
            timeout_s=wait_s,
            rejects=rejects,
            rate=_rate(rate),
            state=state,
            dry_run=dry_run,
            again=again,
            as_json=json,
        )
        run(settings, asked)
    _require_one_job(
        {"const": const, "dry-run": dry_run, "rejects": rejects, "rate": rate, "state": state, "again": again}
    )
    place = target_of(settings.targets, target, queue, command)
    typed = arguments.read(given)
    goes_to = queue or place.queues[0]

    def make(found: ServingProcess | None) -> JobRequest:
        version = None if found is None else found.server_version
        signatures = signatures_of(place, version, command, any_command=any_command)
        spec, values = fit_arguments(signatures, typed, place.default_host, any_command=any_command)
        token = token_of(settings.tokens, place, goes_to, spec=spec, command=Command(command, values))
        lock = None
        if lasting is not None:
            lock = attrs.evolve(lasting, name=claims.lock_name(place.name, token.name, lasting.key))
        return order(command, values, goes_to, token, lock=lock)

    _push(settings, goes_to, place.name, make, timeout_s=wait_s, fail_if_queued=fail_if_queued, as_json=json)


def _require_one_job(options: Mapping[str, object]) -> None:
    if named := next((option for option, value in options.items() if value), None):
        raise UsageError(f"--{named} is for --bulk.", "For example: restbroker enqueue register --bulk users.csv")


def _key(option: str, typed: str | None) -> str | None:
    """Return the key that was typed with an option. Raise `UsageError` if it cannot be one."""
    from restbroker.job.fairness import LONGEST_KEY_BYTES, is_key

    if typed is not None and not is_key(typed):
        raise UsageError(
            f"{option} takes a string of 1 to {LONGEST_KEY_BYTES} bytes without control characters.",
            f"For example: {option} customer-7",
        )
    return typed


def _note_vain_key(places: Sequence[Target]) -> None:
    """Say so if in none of these targets jobs take turns by a key of their own."""
    if not any(place.takes_fair_key for place in places):
        names = ", ".join(place.name for place in places)
        output.say(f'note: --fair-key has no effect: no "FairBy": "fair_key" in this configuration of {names}.')


def _lock(key: str | None, lasts: str | None, until: str | None, *, fail_if_queued: bool, is_bulk: bool) -> Lock | None:
    """Return the lock that these options ask for, without its name; None for none. Raise `UsageError`."""
    example = "For example: restbroker enqueue --unique nightly --unique-for 10m"
    if key is None and is_bulk and lasts is not None and not fail_if_queued:
        key = _OF_EACH_ROW
    elif is_bulk and key is not None:
        raise UsageError("--unique is for one job; --bulk pushes many.", "Put the keys into a column _unique.")
    if key is None:
        given = {"unique-for": lasts, "unique-until": until, "fail-if-queued": fail_if_queued}
        if (named := next((name for name, value in given.items() if value), None)) is not None:
            raise UsageError(f"--{named} is for --unique.", example)
        return None
    if lasts is None:
        raise UsageError("--unique needs --unique-for: how long the key counts at most.", example)
    if not claims.is_key(key):
        raise UsageError(f"--unique takes a string of 1 to {claims.MOST_BYTES} bytes.", example)
    for known in claims.UNTIL:
        if until in (known, None):
            return Lock("", key, duration_s("--unique-for", lasts, 366), known)
    raise UsageError(f"--unique-until takes one of {', '.join(claims.UNTIL)}.", "For example: --unique-until start")


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e9:
        raise UsageError("--rate takes a number: rows per second.", "For example: --rate 200")
    return rate


def _push(
    settings: Config,
    queue: str,
    target: str,
    make: Callable[[ServingProcess | None], JobRequest],
    *,
    timeout_s: float,
    fail_if_queued: bool,
    as_json: bool,
) -> None:
    jid = os.urandom(12).hex()
    with open_store(settings) as client:
        # Asked first: were it asked after the push, its failure would look like the push's.
        try:
            found = find_process_if_known(client, queue)
        except StoreUnavailable:
            make(None)  # a mistake in the command line is one without Redis, too
            raise
        order = make(found)
        if found is None:
            output.say(f"note: no running process serves the queue {queue}; the job will wait for one.")
        elif found.quiet:
            output.say(f"note: {found.hindrance} No other process serves the queue {queue}; the job will wait.")
        if order.at_s is None and (paused := pause_of(client, queue, target)) is not None:
            output.say(f"note: {paused.text} The job will wait: {paused.resume_command}")
        other = push(client, order, jid, pushed_at_s := time.time())
        if other is not None:
            _print_queued(order, other, fail_if_queued=fail_if_queued, as_json=as_json)
        with require_report(jid):
            if not order.wants_reply:
                output.as_json({"jid": jid}) if as_json else output.data(jid)
                return
            told = found is not None and found.quiet
            due_s = pushed_at_s if order.at_s is None else order.at_s
            expires_at_s = None if order.expire_s is None else due_s + order.expire_s
            if due_s - pushed_at_s >= timeout_s:
                output.say(f"note: it runs at {local(due_s)}; --wait gives up after {duration_text(timeout_s)}.")
            waiting = AnswerWait(
                client=client,
                settings=settings,
                queue=queue,
                target=target,
                jid=jid,
                expires_at_s=expires_at_s,
                as_json=as_json,
            )
            details = waiting.answer(timeout_s, is_explained=told)
            print_answer(jid, details, as_json=as_json)


def _print_queued(order: JobRequest, jid: str, *, fail_if_queued: bool, as_json: bool) -> NoReturn:
    """Say that nothing was queued, since the job `jid` has the key, and end the command."""
    if order.wants_reply:
        output.say(f"already queued as {jid}, whose answer goes to the one who queued it; nothing was queued.")
    else:
        output.say(f"already queued as {jid}; nothing was queued.")
    output.as_json({"jid": jid, "outcome": "queued before"}) if as_json else output.data(jid)
    code = Exit.WAITING if order.wants_reply else Exit.OK
    raise typer.Exit(Exit.PARTLY if fail_if_queued else code)


def _retry(text: str) -> bool | int:
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError("--retry takes a number, true or false.", "For example: --retry 3")
