"""`restbroker enqueue` of one command: pushes the job, and with --wait prints the answer.

Called by `cli.enqueue`. Always holds: nothing is pushed if the command line has a mistake in it.
"""

import os
import time
from collections.abc import Sequence
from typing import NoReturn

import attrs
import typer

from restbroker.cli.enqueue_wait import AnswerWait, print_answer, require_report
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit
from restbroker.console.order import fit_arguments, signatures_of, token_of
from restbroker.console.times import local
from restbroker.errors import StoreUnavailable
from restbroker.job import claims
from restbroker.job.command import Command
from restbroker.job.order import ORDER_KEY
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import JobRequest, QueuedBefore, ServingProcess, find_process_if_known, pause_of, push


@attrs.frozen
class OneJob:
    """One command that is to be pushed to a queue of `target`. `request`: all of it but its arguments and token."""

    settings: Config
    target: Target
    request: JobRequest
    any_command: bool = attrs.field(kw_only=True)

    def push(self, words: Sequence[str], *, timeout_s: float, as_json: bool) -> None:
        """Push it with the arguments that were typed as `words`; print its id or the answer, and end the command.

        Raise `UsageError` if an argument is wrong, and `StoreUnavailable` or `StoreRefused`.
        """
        _push(self, arguments.read(words), timeout_s=timeout_s, as_json=as_json)

    def order(self, typed: arguments.TypedArguments, found: ServingProcess | None) -> JobRequest:
        """Return the job for the server's version that `found` says. Raise `UsageError` if it takes no such arguments.

        End the command with 4 if no token allows it.
        """
        target, queue, command = self.target, self.request.queue, self.request.command
        version = None if found is None else found.server_version
        signatures = signatures_of(target, version, command, any_command=self.any_command)
        spec, values = fit_arguments(signatures, typed, target.default_host, any_command=self.any_command)
        token = token_of(self.settings.tokens, target, queue, spec=spec, command=Command(command, values))
        lock = self.request.lock
        if lock is not None:
            lock = attrs.evolve(lock, name=claims.lock_name(target.name, token.name, lock.key))
        return attrs.evolve(self.request, arguments=values, token=token, lock=lock)


def _push(one: OneJob, typed: arguments.TypedArguments, *, timeout_s: float, as_json: bool) -> None:
    settings, queue, target = one.settings, one.request.queue, one.target.name
    jid = os.urandom(12).hex()
    with open_store(settings) as client:
        # Asked first: were it asked after the push, its failure would look like the push's.
        try:
            found = find_process_if_known(client, queue)
        except StoreUnavailable:
            one.order(typed, None)  # a mistake in the command line is one without Redis, too
            raise
        order = one.order(typed, found)
        if found is None:
            output.say(f"note: no running process serves the queue {queue}; the job will wait for one.")
        elif found.quiet:
            output.say(f"note: {found.hindrance} No other process serves the queue {queue}; the job will wait.")
        if order.at_s is None and (paused := pause_of(client, queue, target)) is not None:
            output.say(f"note: {paused.text} The job will wait: {paused.resume_command}")
        other = push(client, order, jid, pushed_at_s := time.time())
        if other is not None:
            _print_queued(order, other, as_json=as_json)
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
                key=_key(one.target, order),
                expires_at_s=expires_at_s,
                as_json=as_json,
            )
            details = waiting.answer(timeout_s, is_explained=told)
            print_answer(jid, details, as_json=as_json)


def _print_queued(order: JobRequest, other: QueuedBefore, *, as_json: bool) -> NoReturn:
    """Say that nothing was queued, since the job `other` has the key, and end the command."""
    jid, holder = other.jid, other.certainty
    answer = ", whose answer goes to the one who queued it" if order.wants_reply else ""
    output.say(f"already queued as {jid} ({holder}){answer}; nothing was queued.")
    output.as_json({"jid": jid, "outcome": "queued before", "holder": holder}) if as_json else output.data(jid)
    raise typer.Exit(Exit.WAITING if order.wants_reply else Exit.OK)


def _key(target: Target, order: JobRequest) -> str:
    """Return the key by which the job is kept in order; "" if it has none."""
    if target.order is None:
        return ""
    return target.order.key_of({ORDER_KEY: order.order_key}, order.arguments) or ""
