"""`restbroker enqueue`: push one command into the queue, and with --wait print the server's answer; or many commands.

Always holds: neither Trio nor an HTTP client is imported, so that it may stand in a shell loop; nothing is pushed if
the command line has a mistake in it.
"""

from pathlib import Path
from typing import Final

import attrs
import typer

from restbroker.cli import enqueue_values as values
from restbroker.cli.enqueue_one import OneJob
from restbroker.cli.enqueue_options import (
    ArgumentWords,
    BulkOption,
    CommandWord,
    ConstOption,
    ExpireOption,
    FairKeyOption,
    OkIfExists,
    OrderKeyOption,
    QueueOption,
    RejectsOption,
    ReplyIdOption,
    RetryOption,
    UniqueForOption,
    UniqueOption,
)
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
from restbroker.console.times import at_s, duration_s
from restbroker.console.waiting import waiting_s
from restbroker.operate.enqueue import JobRequest
from restbroker.operate.request import target_of

app = typer.Typer(add_completion=False)

_EACH_ITS_OWN: Final = "-"
"""In the place of a command: each row of a file names its own."""


@app.command()
def enqueue(
    context: typer.Context,
    command: CommandWord,
    words: ArgumentWords = None,
    target: TargetOption = None,
    queue: QueueOption = None,
    delay: InOption = None,
    at: AtOption = None,
    expire: ExpireOption = None,
    unique: UniqueOption = None,
    unique_for: UniqueForOption = None,
    fair_key: FairKeyOption = None,
    order_key: OrderKeyOption = None,
    retry: RetryOption = "true",
    reply_id: ReplyIdOption = None,
    ok_if_exists: OkIfExists = False,
    any_command: AnyOption = False,
    bulk: BulkOption = None,
    const: ConstOption = None,
    rejects: RejectsOption = None,
    rate: BulkRateOption = None,
    wait_for_answer: AnswerOption = False,
    timeout: TimeoutOption = "30s",
    dry_run: BulkDryRunOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
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
    if command == _EACH_ITS_OWN and bulk is None:
        bulk = Path("-")
    timeout_s = waiting_s(context, timeout, waits=wait_for_answer)
    settings = load_quietly(config)
    command, given = values.join_command_words(settings.targets, command, words or [])
    request = JobRequest(
        command,
        {},
        "",
        settings.tokens[0],
        retry=values.retry(retry),
        reply_id=reply_id,
        wants_reply=wait_for_answer,
        ok_if_exists=ok_if_exists,
        at_s=at_s(delay, at),
        expire_s=None if expire is None else duration_s("--expire", expire, 366),
        lock=values.lock(unique, unique_for, is_bulk=bulk is not None),
        fair_key=values.key("--fair-key", fair_key),
        order_key=values.key("--order-key", order_key),
    )
    values.require_future_expiry(request, expire, at)
    if fair_key is not None or order_key is not None:
        each = settings.targets if command == _EACH_ITS_OWN else [target_of(settings.targets, target, queue, command)]
        values.note_vain_keys(request if bulk is None else attrs.evolve(request, order_key=None), each)
    if bulk is None:
        values.require_one_job({"const": const, "dry-run": dry_run, "rejects": rejects, "rate": rate})
        place = target_of(settings.targets, target, queue, command)
        one = OneJob(settings, place, attrs.evolve(request, queue=queue or place.queues[0]), any_command=any_command)
        one.push(given, timeout_s=timeout_s, as_json=json)
        return
    from restbroker.bulk.batch import BatchOptions, run

    options = BatchOptions(
        command=command,
        file=bulk,
        order=request,
        target=target,
        queue=queue,
        any_command=any_command,
        timeout_s=timeout_s,
        rejects=rejects,
        rate=values.rate(rate),
    )
    run(settings, options, [*given, *(const or [])], dry_run=dry_run, as_json=json)
