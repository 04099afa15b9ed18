"""`restbroker enqueue` of one command: pushes the job, and with --wait prints the answer, with its exit code.

Called by `cli.enqueue`. Always holds: nothing is pushed if the command line has a mistake in it; if the answer does not
come, the job's id is printed, and that it is queued; neither Trio nor an HTTP client is imported.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

import attrs
import typer

from restbroker.cli.answers import answer_or_end, token_of
from restbroker.cli.enqueue_words import fit_arguments
from restbroker.config.core import Config
from restbroker.config.target import Target
from restbroker.config.values import duration_text
from restbroker.console import arguments, output
from restbroker.console.exits import Exit, no
from restbroker.console.times import local
from restbroker.errors import OutputLost, StoreUnavailable
from restbroker.job import claims
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.order import ORDER_KEY
from restbroker.operate.answer import AnswerWait
from restbroker.operate.connect import open_store
from restbroker.operate.enqueue import (
    JobRequest,
    QueuedBefore,
    ServingProcess,
    find_process_if_known,
    pause_of,
    push,
    waiting_notes,
)
from restbroker.operate.request import signatures_of

_ANSWER_S = 2.0
"""How many seconds behind its expiry a job's answer may come, or say that it expired."""
_DEAD: Final = frozenset({"rejected", "failed", "uncertain", "cancelled"})
"""Outcomes after which a job of this command is in the dead set: it never has `"dead": false`."""


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
        typed = arguments.read(words)
        settings, queue, target = self.settings, self.request.queue, self.target.name
        jid = os.urandom(12).hex()
        with open_store(settings) as client:
            # Asked first: were it asked after the push, its failure would look like the push's.
            try:
                found = find_process_if_known(client, queue)
            except StoreUnavailable:
                self._order(typed, None)  # a mistake in the command line is one without Redis, too
                raise
            order = self._order(typed, found)
            for note in waiting_notes(found, pause_of(client, queue, target) if order.at_s is None else None, queue):
                output.say(note)
            other = push(client, order, jid, pushed_at_s := time.time())
            if other is not None:
                _print_queued(order, other, as_json=as_json)
            with _require_report(jid):
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
                    say=output.say,
                    local=local,
                    key=_key(self.target, order),
                    expires_at_s=expires_at_s,
                )
                if expires_at_s is not None:
                    timeout_s = min(timeout_s, max(0.0, expires_at_s - time.time()) + _ANSWER_S)
                details = answer_or_end(waiting, timeout_s, is_explained=told, as_json=as_json)
                _print_answer(jid, details, as_json=as_json)

    def _order(self, typed: arguments.TypedArguments, found: ServingProcess | None) -> JobRequest:
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


@contextmanager
def _require_report(jid: str) -> Iterator[None]:
    """Run the block, which reports a pushed job on stdout; if that cannot be written, say on stderr that it was pushed.

    End the command with 6 then: otherwise a user who sees only a full disk would push the job again.
    """
    try:
        with output.require_written():
            yield
    except OutputLost as error:
        output.say(f"The job {jid} was queued, do not push it again. {error.message}")
        raise typer.Exit(Exit.WAITING) from None


def _print_answer(jid: str, details: Mapping[str, Json], *, as_json: bool) -> NoReturn:
    """Print the answer, or everything that is known of it, and end with its exit code."""
    error = details.get("error")
    if as_json:
        output.as_json(details)
    elif error is None:
        output.data(_plain(details))
        if details.get("outcome") == "negative" and sys.stdout.isatty():
            output.say("note: The server's answer is no.")
    if str(details.get("note")).startswith("already done"):
        output.say("note: it was done before; this counts as done.")
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(error, Mapping):
        parts = (f"{code}: {error.get('message')}", error.get("cure"))
        output.say("\n".join(str(part) for part in parts if part))
    outcome = details.get("outcome")
    if outcome in _DEAD:
        output.say(f"The job {jid} is dead. `restbroker explain {jid}` says what you can do.")
    if outcome == "delivered":
        raise typer.Exit(Exit.OK)
    raise typer.Exit(no(str(outcome), str(code)))


def _plain(details: Mapping[str, Json]) -> str:
    """Return the answer as a script wants it: a number or a string alone, anything else as the server sent it.

    A number or string is also taken out of the envelope that ejabberd up to 23.10 puts it in (`{"num_sessions":3}`).
    """
    answer = details.get("answer")
    if isinstance(answer, Mapping) and len(answer) == 1:
        (answer,) = answer.values()
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        return str(answer)
    return str(details.get("text"))
