"""`restbroker enqueue`: push one command into the queue, and with --wait print the server's answer; or many commands.

Always holds: neither Trio nor an HTTP client is imported, so that it may stand in a shell loop; nothing is pushed if
the command line has a mistake in it.
"""

from pathlib import Path
from typing import Final

import attrs
import typer

from restbroker.cli.enqueue_one import OneJob
from restbroker.cli.enqueue_options import (
    AnswerOption,
    ArgumentWords,
    CommandWord,
    Keys,
    Many,
    OkIfExists,
    QueueOption,
    ReplyIdOption,
    RetryOption,
    When,
    retry,
)
from restbroker.cli.enqueue_words import join_command_words
from restbroker.console.groups import Output, command
from restbroker.console.options import AnyOption, TargetOption, TimeoutOption
from restbroker.console.waiting import waiting_s
from restbroker.operate.enqueue import JobRequest
from restbroker.operate.request import target_of

app = typer.Typer(add_completion=False)

_EACH_ITS_OWN: Final = "-"
"""In the place of a command: each row of a file names its own."""


@command(app)
def enqueue(
    context: typer.Context,
    command: CommandWord,
    words: ArgumentWords = None,
    target: TargetOption = None,
    queue: QueueOption = None,
    *,
    when: When,
    keys: Keys,
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
    command, given = join_command_words(settings.targets, command, words or [])
    keys.require_keys()
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
        command=command,
        file=bulk,
        order=request,
        target=target,
        queue=queue,
        any_command=any_command,
        timeout_s=timeout_s,
        rejects=many.rejects,
        rate=many.rate,
    )
    run(settings, options, [*given, *(many.const or [])], dry_run=many.dry_run, as_json=how.json)
