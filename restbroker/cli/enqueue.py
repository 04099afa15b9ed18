"""`restbroker enqueue`: push one command into the queue, and with --wait print the server's answer; or many commands.

Always holds: neither Trio nor an HTTP client is imported, so that it may stand in a shell loop; nothing is pushed if
the command line has a mistake in it.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import attrs
import typer

from restbroker.cli.enqueue_one import OneJob
from restbroker.config.target import Target
from restbroker.console import completion, output
from restbroker.console.options import (
    AnyOption,
    AtOption,
    InOption,
    Output,
    RateOption,
    TargetOption,
    TimeoutOption,
    argument,
    command,
    option,
)
from restbroker.console.times import at_s, duration_s, local, waiting_s
from restbroker.errors import UsageError
from restbroker.job import claims
from restbroker.job.claims import Lock
from restbroker.light import frozen
from restbroker.operate.enqueue import JobRequest
from restbroker.operate.request import target_of

CommandWord = Annotated[str, argument("COMMAND", "The server's command, e.g. register.", completion.commands)]
ArgumentWords = Annotated[
    list[str] | None,
    argument(
        "[ARGUMENT]...",
        "NAME=TEXT, NAME:=JSON, NAME=@FILE, or NAME=- for standard input. With --bulk: of all rows.",
        completion.plain_words,
    ),
]
OkIfExists = Annotated[bool, option("--ok-if-exists", "Count it as done if it was done before.")]
QueueOption = Annotated[
    str | None, option("--queue QUEUE", "Another queue than the target's first one.", completion.queues)
]
RetryOption = Annotated[str, option("--retry N", "How often to try again: a number, true (25) or false.")]
ReplyIdOption = Annotated[str | None, option("TEXT", "The id to send back with the answer on the response queue.")]
AnswerOption = Annotated[bool, option("--wait", "Wait, and print the server's answer.")]

app = typer.Typer(add_completion=False)

_EACH_ITS_OWN: Final = "-"
"""In the place of a command or key: each row of a file names its own."""


def retry(text: str) -> bool | int:
    """Return what --retry says, as a job has it. Raise `UsageError` if it is neither a number nor true nor false."""
    if text in ("true", "false"):
        return text == "true"
    if text.isascii() and text.isdigit() and len(text) <= 6:
        return int(text)
    raise UsageError("--retry takes a number, true or false.", "For example: --retry 3")


@frozen
class When:
    """When the job is due, and until when it is worth doing."""

    delay: InOption = None
    at: AtOption = None
    expire: Annotated[
        str | None,
        option(
            "--expire DURATION",
            "Drop it unless it is sent within this time, e.g. 5m, 2h, after the push, or after --in or --at.",
        ),
    ] = None

    def times(self) -> tuple[float | None, float | None]:
        """Return when the job is due (epoch seconds; None: now), and how many seconds later it expires (None: never).

        Raise `UsageError` for what is no time, and if the job would have expired when it is pushed.
        """
        due_s = at_s(self.delay, self.at)
        expire_s = None if self.expire is None else duration_s("--expire", self.expire, 366)
        if due_s is not None and expire_s is not None and due_s + expire_s <= time.time():
            when = local(due_s + expire_s)
            raise UsageError(
                f"--expire {self.expire} after --at {self.at} is {when}, which is past: the job would never be sent.",
                "Name a later --at, or leave it out: then --expire counts from now.",
            )
        return due_s, expire_s


@frozen
class JobKeys:
    """The keys by which jobs are told from others, take turns, and are kept in order."""

    unique: Annotated[
        str | None,
        option("--unique KEY", "Queue nothing if a job with this key is queued already; needs --unique-for."),
    ] = None
    unique_for: Annotated[
        str | None,
        option(
            "--unique-for DURATION",
            "How long the key counts at most, e.g. 10m, after the push, or after --in or --at. With --bulk, keys "
            "are in the column _unique.",
        ),
    ] = None
    fair_key: Annotated[
        str | None,
        option(
            "--fair-key KEY",
            'The key by which it takes turns in its queue, with FairBy "fair_key". With --bulk: of rows without '
            "one in the column _fair_key.",
        ),
    ] = None
    order_key: Annotated[
        str | None,
        option(
            "--order-key KEY",
            'Jobs with one such key are done one after the other, with OrderBy "order_key". With --bulk: of rows '
            "without one in the column _order_key.",
        ),
    ] = None

    def lock(self, *, is_bulk: bool) -> Lock | None:
        """Return the lock that is wanted, without its name; None for none. Raise `UsageError`."""
        example = "For example: restbroker enqueue --unique nightly --unique-for 10m"
        key, lasts = self.unique, self.unique_for
        if is_bulk and key is not None:
            raise UsageError("--unique is for one job; --bulk pushes many.", "Put the keys into a column _unique.")
        if is_bulk and lasts is not None:
            key = _EACH_ITS_OWN
        if key is None and lasts is None:
            return None
        if key is None or lasts is None:
            raise UsageError("--unique needs --unique-for: how long the key counts at most.", example)
        if not claims.is_key(key):
            raise UsageError(f"--unique takes a string of 1 to {claims.MOST_BYTES} bytes.", example)
        return Lock("", key, duration_s("--unique-for", lasts, 366))

    def note_vain_keys(self, places: Sequence[Target], *, is_bulk: bool) -> None:
        """Say so if no target of these reads a key; with --bulk a vain --order-key is refused later."""
        names = ", ".join(place.name for place in places)
        if self.fair_key is not None and not any(place.takes_fair_key for place in places):
            output.say(f'note: --fair-key has no effect: no "FairBy": "fair_key" in this configuration of {names}.')
        if self.order_key is not None and not is_bulk and not any(place.takes_order_key for place in places):
            output.say(f'note: --order-key has no effect: no "OrderBy": "order_key" in this configuration of {names}.')


@frozen
class Many:
    """Many jobs from a file."""

    bulk: Annotated[
        Path | None,
        option("--bulk FILE", "Push one job for each row: CSV or NDJSON; - is standard input.", completion.paths),
    ] = None
    rejects: Annotated[
        Path | None,
        option("--rejects FILE", "With --bulk: write rows that cannot be used to this file.", completion.paths),
    ] = None
    rate: RateOption = None
    dry_run: Annotated[bool, option("--dry-run", "With a file: check all rows, push none.")] = False

    def require_one_job(self) -> None:
        """Raise `UsageError` if an option was given that only --bulk has."""
        options = {"dry-run": self.dry_run, "rejects": self.rejects, "rate": self.rate}
        if named := next((option for option, value in options.items() if value), None):
            raise UsageError(f"--{named} is for --bulk.", "For example: restbroker enqueue register --bulk users.csv")


@command(app)
def enqueue(
    context: typer.Context,
    command: CommandWord,
    words: ArgumentWords = None,
    target: TargetOption = None,
    queue: QueueOption = None,
    *,
    when: When,
    keys: JobKeys,
    retries: RetryOption = "true",
    reply_id: ReplyIdOption = None,
    ok_if_exists: OkIfExists = False,
    any_command: AnyOption = False,
    many: Many,
    wait_for_answer: AnswerOption = False,
    timeout: TimeoutOption = "30s",
    how: Output,
) -> None:
    """Queue one command for the server and print the job's id; with --wait, print the answer.

    Strings become integers and lists where the command takes these. With --bulk each row of a file becomes a job; with
    the command - each row names its own command, and rows come from standard input unless --bulk names a file. With
    --order-key its commands are done one after the other, in a target with OrderBy. Exits with 0: done; 1: the server
    refused, or the job died; 2: wrong command line or configuration, nothing was queued; 3: Redis is unreachable; 4:
    the token, the login or the command was not accepted; 6: the job is queued, but its answer did not come in time or
    could not be read or printed, so do not push it again: `restbroker explain JID` shows what happened to it; 7: some
    rows of a file failed; 130: Ctrl-C while waiting, still queued.
    """
    bulk = Path("-") if command == _EACH_ITS_OWN and many.bulk is None else many.bulk
    timeout_s = waiting_s(context, timeout, waits=wait_for_answer)
    settings = how.settings()
    given = words or []
    at_s, expire_s = when.times()
    request = JobRequest(
        command,
        {},
        "",
        settings.tokens[0],
        retry=retry(retries),
        reply_id=reply_id,
        wants_reply=wait_for_answer,
        ok_if_exists=ok_if_exists,
        at_s=at_s,
        expire_s=expire_s,
        lock=keys.lock(is_bulk=bulk is not None),
        fair_key=keys.fair_key,
        order_key=keys.order_key,
    )
    if keys.fair_key is not None or keys.order_key is not None:
        each = settings.targets if command == _EACH_ITS_OWN else [target_of(settings.targets, target, queue, command)]
        keys.note_vain_keys(each, is_bulk=bulk is not None)
    if bulk is None:
        many.require_one_job()
        place = target_of(settings.targets, target, queue, command)
        one = OneJob(settings, place, attrs.evolve(request, queue=queue or place.queues[0]), any_command=any_command)
        one.push(given, timeout_s=timeout_s, as_json=how.json)
        return
    from restbroker.bulk.batch import run
    from restbroker.bulk.jobs import BatchOptions

    options = BatchOptions(
        file=bulk,
        request=request,
        target=target,
        queue=queue,
        any_command=any_command,
        timeout_s=timeout_s,
        rejects=many.rejects,
        rate=many.rate,
    )
    run(settings, options, given, dry_run=many.dry_run, as_json=how.json)
